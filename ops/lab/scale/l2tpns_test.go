package scale

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/aaa/radius/radtest"
	"culvert/ops/lab/proc"
)

// l2tpnsConfig has l2tpns log as little as it can; Debian's default of 3 costs it another
// third. Without another node in its cluster it ignores callers until
// cluster_hb_timeout (tenths of a second, 31 at least) is over.
const l2tpnsConfig = `set debug 0
set log_file "%[1]s/l2tpns.txt"
set pid_file "%[1]s/pid"
set hostname "l2tpns"
set l2tp_secret "unused"
set primary_dns 9.9.9.9
set secondary_dns 149.112.112.112
set primary_radius %[2]s
set primary_radius_port %[3]d
set radius_secret "%[4]s"
set radius_authtypes "pap"
set radius_accounting no
set bind_address %[5]s
set peer_address %[6]s
set cluster_hb_timeout 31
set cluster_interface lo
`

// startL2TPNS starts l2tpns, which has its configuration in /etc/l2tpns only.
func startL2TPNS(t *testing.T, dir string, radius netip.AddrPort) *proc.Daemon {
	t.Helper()
	radtest.Need(t, "/usr/sbin/l2tpns", "l2tpns")
	for name, text := range map[string]string{
		"ip_pool":        strings.Replace(pool, "/14", "/16", 1) + "\n",
		"users":          "",
		"startup-config": fmt.Sprintf(l2tpnsConfig, dir, radius.Addr(), radius.Port(), radiusSecret, lnsAddr, gatewayAddr),
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	must(t, syscall.Mount(dir, "/etc/l2tpns", "", syscall.MS_BIND, ""))
	t.Cleanup(func() { _ = syscall.Unmount("/etc/l2tpns", syscall.MNT_DETACH) })
	d, err := proc.Start(dir, "l2tpns", nil, "/usr/sbin/l2tpns")
	must(t, err)
	t.Cleanup(func() { _ = d.Stop(syscall.SIGKILL, 10*time.Second) })
	must(t, proc.Await(20*time.Second, 20*time.Millisecond, d, func() error {
		b, err := os.ReadFile(filepath.Join(dir, "l2tpns.txt"))
		if err == nil && !strings.Contains(string(b), "the master") {
			err = fmt.Errorf("l2tpns is not master: %s", b)
		}
		return err
	}))
	return d
}
