package interop

import (
	"cmp"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"culvert/ops/lab/guest"
)

// scriptDir is where the guest's files of the suite are.
const scriptDir = "/run/interop"

// prepareGuest sets the guest's network up and writes what pppd runs.
func prepareGuest(h *guest.Host) error {
	script := "ip link set vec0 up"
	for _, a := range guestAddrs {
		script += " && ip addr add " + a + "/24 dev vec0"
	}
	if _, err := h.Run(patience, script); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"/etc/ppp/options":      "",
		"/etc/ppp/pap-secrets":  "",
		"/etc/ppp/chap-secrets": "",
		// Arguments: device tty speed local remote ipparam. A file appears
		// whole, by rename.
		// Before the device has carried any IP, its counters are noted.
		"/etc/ppp/ip-up": "#!/bin/sh\ncd /sys/class/net/$1/statistics && cat tx_bytes rx_bytes > " + scriptDir + "/$6.base\n" +
			"echo \"$PPPD_PID $1 $4 $5 $DNS1 $DNS2\" > " + scriptDir + "/$6.tmp && " +
			"mv " + scriptDir + "/$6.tmp " + scriptDir + "/$6.up\n",
		scriptDir + "/ready": "",
	} {
		if err := h.Put(name, text, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// xl2tpd is a running xl2tpd in the guest: a LAC with an address of its own.
type xl2tpd struct {
	host *guest.Host
	dir  string
	addr string
	// userspace is as in lacConfig.
	userspace bool

	mu   sync.Mutex
	last time.Time // when it was last told something
}

// lacConfig says how a LAC is set up.
type lacConfig struct {
	// name names its folder and is its Host Name AVP.
	name string
	addr string
	// userspace passes frames through pppd's pty rather than the kernel's L2TP.
	userspace bool
	// secret is the tunnel's; empty is none. challenge makes it challenge the LNS.
	secret    string
	challenge bool
	// lines are the calls that can be dialled.
	lines []line
	// extra are more lines of each call's section.
	extra string
	// host is the Host Name AVP where it is not the name; lns is who is called where it is not lnsAddr, and port
	// where it calls from, where that is not 1701.
	host, lns string
	port      int
}

// line is a subscriber's line: what pppd is told for its call.
type line struct {
	name     string
	user     string
	password string
	method   string // "pap", "chap", "mschapv2", or one of eapMethods
	// certificate is the name of the certificate for EAP-TLS; "" is the right one.
	certificate string
	// extra are more options for pppd, a line each.
	extra string
}

// startLAC starts an xl2tpd.
func startLAC(h *guest.Host, cfg lacConfig) (*xl2tpd, error) {
	x := &xl2tpd{host: h, dir: path.Join(scriptDir, cfg.name), addr: cfg.addr, userspace: cfg.userspace}
	conf := fmt.Sprintf("[global]\nlisten-addr = %s\nport = %d\nauth file = %s/secrets\n", cfg.addr, cmp.Or(cfg.port, 1701), x.dir)
	if cfg.userspace {
		conf += "force userspace = yes\n"
	}
	for _, l := range cfg.lines {
		conf += fmt.Sprintf("\n[lac %s]\nlns = %s\nhostname = %s\nlength bit = yes\npppoptfile = %s/%s.options\nppp debug = yes\n",
			l.name, cmp.Or(cfg.lns, lnsAddr), cmp.Or(cfg.host, cfg.name), x.dir, l.name)
		if cfg.challenge {
			conf += "challenge = yes\n"
		}
		conf += cfg.extra
		if err := h.Put(path.Join(x.dir, l.name+".options"), l.options(x.dir), 0o600); err != nil {
			return nil, err
		}
	}
	secrets := ""
	if cfg.secret != "" {
		secrets = "* * " + cfg.secret + "\n"
	}
	if err := h.Put(path.Join(x.dir, "secrets"), secrets, 0o600); err != nil {
		return nil, err
	}
	if err := h.Put(path.Join(x.dir, "conf"), conf, 0o600); err != nil {
		return nil, err
	}
	_, err := h.Run(patience, fmt.Sprintf(
		"cd %s && (xl2tpd -D -c conf -p pid -C control </dev/null >log 2>&1 &) ; for i in $(seq 100); do [ -p control ] && exit 0; sleep 0.2; done; cat log; exit 1", x.dir))
	return x, err
}

// options are pppd's for the line.
func (l line) options(dir string) string {
	refuse := map[string]string{
		"pap":      "refuse-eap\nrefuse-chap\nrefuse-mschap\nrefuse-mschap-v2\n",
		"chap":     "refuse-eap\nrefuse-pap\nrefuse-mschap\nrefuse-mschap-v2\n",
		"mschapv2": "refuse-eap\nrefuse-pap\nrefuse-chap\nrefuse-mschap\n",
	}[l.method]
	if isEAP(l.method) {
		refuse = eapOptions(l.method, cmp.Or(l.certificate, "client"))
	}
	return refuse + fmt.Sprintf("noauth\nuser %s\npassword %s\nusepeerdns\nnoipdefault\nipcp-accept-local\nipcp-accept-remote\n"+
		"nodefaultroute\nipparam %s\nlogfile %s/%s.pppd\ndebug\nmaxfail 1\n", l.user, l.password, l.name, dir, l.name) + l.extra
}

// tell writes a command to xl2tpd, which loses what comes too fast.
func (x *xl2tpd) tell(command string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	time.Sleep(time.Until(x.last.Add(250 * time.Millisecond)))
	_, err := x.host.Run(patience, fmt.Sprintf("echo '%s' > %s/control", command, x.dir))
	x.last = time.Now()
	return err
}

// stop ends xl2tpd; its pppds end with it.
func (x *xl2tpd) stop() error {
	_, err := x.host.Run(patience, fmt.Sprintf(
		"cd %s && p=$(cat pid) && kill $p && for i in $(seq 300); do [ -d /proc/$p ] || exit 0; sleep 0.1; done; kill -9 $p", x.dir))
	return err
}

// logs is what xl2tpd and the pppd of a line have written.
func (x *xl2tpd) logs(name string) string {
	a, _ := x.host.Get(path.Join(x.dir, "log")) // for people, who see what is missing
	b, _ := x.host.Get(path.Join(x.dir, name+".pppd"))
	return "--- xl2tpd\n" + tail(a, 40) + "\n--- pppd\n" + tail(b, 40)
}

// call is a subscriber's call that is up.
type call struct {
	lac    *xl2tpd
	line   line
	pid    string // pppd's
	device string
	// addr is the subscriber's address, peer the other end's, dns what IPCP gave.
	addr, peer string
	dns        []string
	began      time.Time // before it was dialled

	// sessionID is the Acct-Session-Id, in and out the octets of the Stop record (checkStart, checkStop).
	sessionID string
	in, out   uint64
	// used is what pppd counted (ended).
	used octets
}

// dial dials a line and waits until pppd is up.
func (x *xl2tpd) dial(l line) (*call, error) {
	up := path.Join(scriptDir, l.name+".up")
	if _, err := x.host.Run(patience, "rm -f "+up); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := x.tell("c " + l.name); err != nil {
		return nil, err
	}
	text, err := x.host.Wait(patience, up, "\n")
	if err != nil {
		return nil, fmt.Errorf("%s did not come up: %w\n%s", l.name, err, x.logs(l.name))
	}
	f := strings.Fields(text)
	if len(f) < 4 {
		return nil, fmt.Errorf("ip-up wrote %q", text)
	}
	return &call{lac: x, line: l, pid: f[0], device: f[1], addr: f[2], peer: f[3], dns: f[4:], began: began}, nil
}

// refused dials a line and waits for a text in a file of the LAC's folder
// that tells of the refusal; a call that comes up is an error.
func (x *xl2tpd) refused(l line, file, text string) error {
	if err := x.tell("c " + l.name); err != nil {
		return err
	}
	if _, err := x.host.Wait(patience, x.dir+file, text); err != nil {
		return fmt.Errorf("%s was not refused: %w\n%s", l.name, err, x.logs(l.name))
	}
	if _, err := x.host.Get(path.Join(scriptDir, l.name+".up")); err == nil {
		return fmt.Errorf("%s came up", l.name)
	}
	return nil
}

// counted is what pppd's device has counted so far, less what IPCP took.
func (c *call) counted() (sent, received uint64, err error) {
	stats := "/sys/class/net/" + c.device + "/statistics/"
	out, err := c.lac.host.Run(patience, "cat "+stats+"tx_bytes "+stats+"rx_bytes "+path.Join(scriptDir, c.line.name+".base"))
	if err != nil {
		return 0, 0, err
	}
	var n [4]uint64
	if _, err := fmt.Sscan(out, &n[0], &n[1], &n[2], &n[3]); err != nil {
		return 0, 0, fmt.Errorf("counters %q: %w", out, err)
	}
	return n[0] - n[2], n[1] - n[3], nil
}

// hangUp ends a call from the subscriber's side: pppd says LCP
// Terminate-Request, then xl2tpd CDN.
func (c *call) hangUp() error {
	_, err := c.lac.host.Run(patience, "kill "+c.pid)
	return err
}

// octets are what pppd counted.
type octets struct{ sent, received uint64 }

// ended waits until pppd has taken the call down, and reads from its log what it counted.
func (c *call) ended() (octets, error) {
	text, err := c.lac.host.Wait(patience, path.Join(c.lac.dir, c.line.name+".pppd"), "Connection terminated.")
	if err != nil {
		return octets{}, fmt.Errorf("%s did not go down: %w\n%s", c.line.name, err, c.lac.logs(c.line.name))
	}
	var n octets
	_, text, _ = strings.Cut(text, "\nSent ")
	if _, err := fmt.Sscanf(text, "%d bytes, received %d bytes", &n.sent, &n.received); err != nil {
		return octets{}, fmt.Errorf("%s: no byte counts in pppd's log: %w\n%s", c.line.name, err, c.lac.logs(c.line.name))
	}
	return n, nil
}
