package interop

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
)

// modes are xl2tpd's ways to pass frames: the kernel's L2TP, or pppd's pty.
var modes = []string{"kernel", "userspace"}

// TestInterop is the suite: one lab, many calls through it.
func TestInterop(t *testing.T) {
	needsInside(t)
	l := newLab(t)
	t.Cleanup(func() { l.finish(t) })
	held := l.hold(t)
	for _, mode := range modes {
		for _, method := range []string{"chap", "pap", "mschapv2"} {
			for _, secret := range []string{"secret", "open"} {
				l.run(t, fmt.Sprintf("%s/%s/%s", mode, method, secret), func(x *row) {
					l.wholeCall(x, mode, method, secret == "secret")
				})
			}
		}
	}
	for _, mode := range modes {
		for _, secret := range []string{"wrong", "missing"} {
			l.run(t, fmt.Sprintf("%s/chap/%s", mode, secret), func(x *row) { l.refusedTunnel(x, mode, secret) })
		}
	}
	for _, method := range []string{"chap", "pap", "mschapv2"} {
		l.run(t, "bad-password/"+method, func(x *row) { l.refusedUser(x, method) })
	}
	for _, method := range eapMethods {
		for _, mode := range modes {
			l.run(t, mode+"/"+method, func(x *row) { l.eapCall(x, mode, method) })
		}
		l.run(t, "bad-credentials/"+method, func(x *row) { l.refusedByEAP(x, method) })
	}
	for _, q := range quirks {
		for _, mode := range q.modes() {
			l.run(t, mode+"/quirk-"+q.name, func(x *row) { l.quirkyCall(x, mode, q) })
		}
	}
	for _, h := range l.habits() {
		l.run(t, h.name, h.test)
	}
	l.run(t, "quirk-12-14-l2tpns", l.l2tpnsCalls)
	l.run(t, "lnsctl/session-trace", l.sessionTrace)
	l.run(t, "framed-address", l.framedAddress)
	l.run(t, "two-tunnels", l.twoTunnels)
	l.run(t, "four-calls", l.fourCalls)
	l.run(t, "lac-hangs-up", l.lacHangsUp)
	l.run(t, "lnsctl/session-disconnect", l.ctlDisconnect)
	l.run(t, "lnsctl/tunnel-stop", l.ctlTunnelStop)
	for _, by := range []string{"Acct-Session-Id", "User-Name", "Framed-IP-Address"} {
		l.run(t, "radclient/"+by, func(x *row) { l.disconnectRequest(x, by) })
	}
	l.run(t, "radclient/unknown", l.disconnectNobody)
	l.run(t, "held-call/interim", func(x *row) { l.interimOf(x, held) })
	for _, mode := range modes {
		l.run(t, mode+"/lnsd-killed", func(x *row) { l.killed(x, mode) })
	}
	l.run(t, "lnsd-stops", l.gracefulStop)
}

// run runs a case as a subtest with a row in the table.
func (l *lab) run(t *testing.T, name string, test func(*row)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { test(l.report.row(t, name)) })
}

// lacFor starts the LAC of a case.
func (l *lab) lacFor(x *row, cfg lacConfig) *xl2tpd {
	x.t.Helper()
	lac, err := startLAC(l.guest, cfg)
	must(x.t, err)
	x.t.Cleanup(func() {
		if err := lac.stop(); err != nil {
			x.t.Error(err)
		}
	})
	return lac
}

// secured is a LAC with the right secret.
func secured(name, mode string, lines ...line) lacConfig {
	return lacConfig{name: name, addr: securedAddr, userspace: mode == "userspace", secret: tunnelSecret, challenge: true, lines: lines}
}

// lineOf is a line whose subscriber is known to RADIUS.
func lineOf(name, method string) line {
	return line{name: name, user: name + "@isp.example", password: password, method: method}
}

// wholeCall is one call from SCCRQ to the Stop record.
func (l *lab) wholeCall(x *row, mode, method string, withSecret bool) {
	id := fmt.Sprintf("%s-%s-%t", mode, method, withSecret)
	ln := lineOf(id, method)
	cfg := secured(id, mode, ln)
	if !withSecret {
		cfg = lacConfig{name: id, addr: openAddr, userspace: mode == "userspace", lines: cfg.lines}
	}
	lac := l.lacFor(x, cfg)
	c := l.up(x, lac, ln)
	x.wantSetup = true
	x.check("dns", c.checkDNS)
	x.check("ping", func() error { return c.ping(coreAddr) })
	x.check("tcp", func() error { return c.transfer(l.core, coreAddr) })
	l.started(x, c)
	x.check("end", c.hangUp)
	l.ended(x, c, byUser)
}

// up dials and checks the address.
func (l *lab) up(x *row, lac *xl2tpd, ln line) *call {
	x.t.Helper()
	var c *call
	if !x.check("up", func() (err error) {
		if c, err = lac.dial(ln); err != nil {
			return err
		}
		if a, err := netip.ParseAddr(c.addr); ln.user != fixedUser && (err != nil || !pool.Contains(a)) {
			return fmt.Errorf("the subscriber has %s, which is not of the pool %s", c.addr, pool)
		}
		if c.peer != gatewayAddr {
			return fmt.Errorf("the other end's address is %s, want %s", c.peer, gatewayAddr)
		}
		return nil
	}) {
		x.t.FailNow()
	}
	return c
}

// started checks what is written down of a call that is up.
func (l *lab) started(x *row, c *call) {
	x.t.Helper()
	x.check("acct", func() error { return l.checkStart(c) })
	x.check("sql", func() error { return l.lnsd.checkRow(c, c.sessionID) })
}

// cause is why a call ended: as Acct-Terminate-Cause, and as the history has it.
type cause struct{ radius, history string }

var (
	byUser       = cause{"User-Request", "user-request"}
	byTunnel     = cause{"Lost-Carrier", "tunnel-down"}
	byOperator   = cause{"Admin-Reset", "admin-reset"}
	byDisconnect = cause{"Admin-Reset", "radius-disconnect"}
	byShutdown   = cause{"Admin-Reboot", "shutdown"}
)

// ended waits for a call's end at the subscriber and checks what is written down of it.
func (l *lab) ended(x *row, c *call, why cause) {
	x.t.Helper()
	if !x.check("end", func() (err error) {
		c.used, err = c.ended()
		return err
	}) {
		return
	}
	x.calls = append(x.calls, c)
	var rec record
	if x.check("acct", func() (err error) {
		rec, err = l.checkStop(c, why.radius)
		return err
	}) {
		x.check("sql", func() error {
			return l.lnsd.checkHistory(c.sessionID, rec.octets("Input"), rec.octets("Output"), why.history)
		})
	}
}

// checkStart checks a call's accounting Start.
func (l *lab) checkStart(c *call) error {
	rec, err := l.radius.await(c.line.user, "Start")
	if err != nil {
		return err
	}
	c.sessionID = rec.first("Acct-Session-Id")
	if c.sessionID == "" || rec.first("Framed-IP-Address") != c.addr {
		return fmt.Errorf("accounting: Start has session %q and address %q, the subscriber has %s", c.sessionID, rec.first("Framed-IP-Address"), c.addr)
	}
	return nil
}

// checkStop checks a call's accounting Stop against what pppd counted, and
// that it came once, as did the Start.
func (l *lab) checkStop(c *call, cause string) (record, error) {
	rec, err := l.radius.await(c.line.user, "Stop")
	if err != nil {
		return nil, err
	}
	c.in, c.out = rec.octets("Input"), rec.octets("Output")
	if c.in != c.used.sent {
		return rec, fmt.Errorf("accounting: Stop has %d octets in, pppd sent %d", c.in, c.used.sent)
	}
	// By the pty pppd loses packets that it has no room for; the capture
	// tells whether they were sent (wire).
	if c.out != c.used.received && (!c.lac.userspace || c.out < c.used.received) {
		return rec, fmt.Errorf("accounting: Stop has %d octets out, pppd received %d", c.out, c.used.received)
	}
	if got := rec.first("Acct-Terminate-Cause"); got != cause {
		return rec, fmt.Errorf("accounting: Acct-Terminate-Cause is %s, want %s", got, cause)
	}
	if n := l.radius.count(c.line.user); n["Start"] != 1 || n["Stop"] != 1 {
		return rec, fmt.Errorf("accounting: %d Start and %d Stop records, want one of each", n["Start"], n["Stop"])
	}
	return rec, nil
}

// refusedTunnel is a LAC whose tunnel secret is not ours.
func (l *lab) refusedTunnel(x *row, mode, secret string) {
	id := mode + "-" + secret
	ln := lineOf(id, "chap")
	cfg := secured(id, mode, ln)
	// A LAC that challenged us would find us out before we find it out.
	cfg.secret, cfg.challenge = "not-"+tunnelSecret, false
	told := "Connection closed"
	if secret == "missing" {
		cfg.secret, told = "", "No secret"
	}
	lac := l.lacFor(x, cfg)
	x.refused("up", func() error {
		if err := lac.refused(ln, "/log", told); err != nil {
			return err
		}
		return l.nothingOf(ln)
	})
}

// refusedUser is a subscriber with a wrong password.
func (l *lab) refusedUser(x *row, method string) {
	id := "bad-" + method
	ln := lineOf(id, method)
	ln.password = "not-" + password
	lac := l.lacFor(x, secured(id, "kernel", ln))
	x.refused("up", func() error {
		if err := lac.refused(ln, "/"+ln.name+".pppd", "authentication failed"); err != nil {
			return err
		}
		return l.nothingOf(ln)
	})
}

// nothingOf checks that a subscriber who was refused is gone, once the link has said goodbye, and in no record.
func (l *lab) nothingOf(ln line) error {
	err := await(patience, l.lnsd.Daemon, func() error {
		list, err := l.lnsd.sessions()
		for _, s := range list {
			if s.User == ln.user {
				err = fmt.Errorf("lnsctl session list has a subscriber who was refused: %+v", s)
			}
		}
		return err
	})
	if n := l.radius.count(ln.user); len(n) != 0 {
		err = errors.Join(err, fmt.Errorf("accounting has records of a subscriber who was refused: %v", n))
	}
	return err
}

// framedAddress is a subscriber whose address comes from RADIUS.
func (l *lab) framedAddress(x *row) {
	ln := line{name: "fixed", user: fixedUser, password: password, method: "chap"}
	lac := l.lacFor(x, secured("fixed", "kernel", ln))
	c := l.up(x, lac, ln)
	x.wantSetup = true
	x.check("up", func() error {
		if c.addr != fixedAddr {
			return fmt.Errorf("the subscriber has %s, RADIUS gave %s", c.addr, fixedAddr)
		}
		return nil
	})
	x.check("ping", func() error { return c.ping(coreAddr) })
	l.started(x, c)
	x.check("end", c.hangUp)
	l.ended(x, c, byUser)
}
