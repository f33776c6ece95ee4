package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"culvert/aaa/radius/radtest"
	"culvert/ops/lab/proc"
)

// l2tpnsConfig makes l2tpns 2.4 pass on the subscribers whose names have "@forwarded" in them, as a LAC: it
// answers their LCP and takes their PAP, then calls lnsd, from a port of its own. Its tunnel secret is
// that of the LNS as well as its own: it answers an LNS's challenge by l2tp_secret, and checks the LNS's
// answer by the secret of setforward. Without another node in its cluster it takes no callers
// until cluster_hb_timeout, tenths of a second, is over.
const l2tpnsConfig = `set debug 2
set log_file "%[1]s/l2tpns.txt"
set pid_file "%[1]s/pid"
set hostname "l2tpns"
set l2tp_secret "%[2]s"
set primary_dns 9.9.9.9
set primary_radius 127.0.0.1
set radius_secret "unused"
set radius_authtypes "pap"
set radius_accounting no
set radius_dae_port 3798
set bind_address %[3]s
set bind_address_remotelns %[3]s
set peer_address 100.70.0.1
set tundevicename l2tpns0
set cluster_hb_timeout 31
set cluster_interface lo
setforward @forwarded %[4]s 1701 %[2]s
`

// startL2TPNS starts l2tpns, which reads its configuration in /etc/l2tpns only.
func (l *lab) startL2TPNS(x *row) {
	x.t.Helper()
	radtest.Need(x.t, "/usr/sbin/l2tpns", "l2tpns")
	// Where a router reads /etc/l2tpns, its own subscribers' users are in the folder too.
	dir := filepath.Join(l.out, "l2tpns")
	must(x.t, os.MkdirAll(dir, 0o755))
	for name, text := range map[string]string{
		"ip_pool": "100.70.0.0/24\n", "users": "",
		"startup-config": fmt.Sprintf(l2tpnsConfig, dir, tunnelSecret, l2tpnsAddr, lnsAddr),
	} {
		must(x.t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	must(x.t, proc.IP("addr add "+l2tpnsAddr+"/32 dev lo"))
	must(x.t, syscall.Mount(dir, "/etc/l2tpns", "", syscall.MS_BIND, ""))
	x.t.Cleanup(func() { _ = syscall.Unmount("/etc/l2tpns", syscall.MNT_DETACH) })
	d, err := proc.Start(dir, "l2tpns", nil, "/usr/sbin/l2tpns")
	must(x.t, err)
	x.t.Cleanup(func() { _ = d.Stop(syscall.SIGKILL, patience) })
	must(x.t, await(patience, d, func() error {
		b, err := os.ReadFile(filepath.Join(dir, "l2tpns.txt"))
		if err == nil && !strings.Contains(string(b), "the master") {
			err = fmt.Errorf("l2tpns is not master: %s", b)
		}
		return err
	}))
}

// l2tpnsCalls has l2tpns call lnsd as a LAC, for a subscriber of lacsim. Its ICRQ says two ids and nothing
// else, its ICCN a speed and no proxy AVPs, and the subscriber has negotiated LCP and said its password before: with
// lnsd it begins LCP again. It says goodbye by LCP: l2tpns 2.4.1 does not pass its CDN on.
func (l *lab) l2tpnsCalls(x *row) {
	l.startL2TPNS(x)
	user, report := "alice@forwarded", filepath.Join(l.out, "l2tpns", "lacsim.json")
	x.check("up", func() error {
		out, err := output(2*patience, filepath.Join(l.bin, "lacsim"), "run", "-q", "--json", report, "--lns", l2tpnsAddr,
			"--source", "127.0.0.1", "--user", user, "--password", password, "--auth", "pap", "--called-number", "1234", "--hangup", "lcp",
			"--traffic", "ping", "--target", coreAddr, "--packets", "5", "--packet-rate", "20")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	x.check("ping", func() error {
		var r struct {
			Packets struct{ Sent, Answered int }
		}
		b, err := os.ReadFile(report)
		if err == nil {
			err = json.Unmarshal(b, &r)
		}
		if err == nil && (r.Packets.Sent != 5 || r.Packets.Answered != 5) {
			err = fmt.Errorf("of 5 packets %d were sent and %d answered", r.Packets.Sent, r.Packets.Answered)
		}
		return err
	})
	x.check("acct", func() error {
		start, err := l.radius.await(user, "Start")
		if err != nil {
			return err
		}
		if start.first("Tunnel-Client-Endpoint:0") != l2tpnsAddr || start.first("Calling-Station-Id") != "" || start.first("Called-Station-Id") != "" {
			return fmt.Errorf("accounting: the Start says %v", start)
		}
		stop, err := l.radius.await(user, "Stop")
		if err == nil && stop.number("Acct-Input-Packets") != 5 {
			err = fmt.Errorf("accounting: the Stop has %s packets", stop.first("Acct-Input-Packets"))
		}
		return err
	})
	x.check("end", func() error {
		told, err := l.traceOf(user)
		if err == nil && strings.Contains(told, "proxy") {
			err = fmt.Errorf("l2tpns tells of its own negotiation after all, and this case can show more:\n%s", told)
		}
		return err
	})
	x.check("end", func() error {
		return l.wantTrace(line{user: user, password: password}, "recv SCCRQ", "recv ICRQ session", "recv ICCN tx ", "LCP: send Configure-Request",
			"PAP: recv Authenticate-Request", "Access-Accept", "IPCP opened")
	})
}
