package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// l2tpns is Debian's LNS in lnsd's place, for telling whose fault a failure is.
type l2tpns struct{ *daemon }

func (l2tpns) name() string      { return "l2tpns" }
func (l2tpns) methods() []string { return []string{"chap", "pap"} }

// startL2TPNS starts l2tpns, which has its configuration in /etc/l2tpns only.
func startL2TPNS(t *testing.T, out string) lns {
	t.Helper()
	dir := filepath.Join(out, "l2tpns")
	must(t, os.MkdirAll(dir, 0o755))
	for name, text := range map[string]string{
		"ip_pool": pool.String() + "\n",
		"users":   "",
		"startup-config": fmt.Sprintf(`set debug 3
set log_file "%s/l2tpns.txt"
set pid_file "%s/pid"
set hostname "l2tpns"
set l2tp_secret "%s"
set primary_dns 192.0.2.53
set secondary_dns 192.0.2.54
set primary_radius 127.0.0.1
set radius_secret "%s"
set radius_authtypes "chap,pap"
set radius_accounting yes
set radius_interim %d
set bind_address %s
set peer_address %s
set cluster_hb_timeout 10
set cluster_interface lo
`, dir, dir, tunnelSecret, radiusSecret, int(interim.Seconds()), lnsAddr, gatewayAddr),
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	must(t, syscall.Mount(dir, "/etc/l2tpns", "", syscall.MS_BIND, ""))
	d, err := startDaemon(out, "l2tpns", "l2tpns")
	must(t, err)
	t.Cleanup(func() {
		if err := d.stop(syscall.SIGKILL, 10*time.Second); err != nil {
			t.Error(err)
		}
	})
	must(t, await(20*time.Second, d, func() error {
		b, err := os.ReadFile(filepath.Join(dir, "l2tpns.txt"))
		if err == nil && !strings.Contains(string(b), "master") {
			err = fmt.Errorf("l2tpns is not master: %s", b)
		}
		return err
	}))
	return l2tpns{d}
}
