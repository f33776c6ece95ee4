package interop

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
)

// twoTunnels opens two tunnels from one address and port. Not by the kernel's
// L2TP: xl2tpd gives each tunnel a socket of its own with the same addresses, and the
// kernel hands all that comes to one of them.
func (l *lab) twoTunnels(x *row) {
	a, b := lineOf("tunnel-a", "chap"), lineOf("tunnel-b", "pap")
	lac := l.lacFor(x, secured("two", "userspace", a, b))
	ca, cb := l.up(x, lac, a), l.up(x, lac, b)
	x.check("up", func() error { return l.checkTunnels("two", 2) })
	x.check("ping", func() error { return errors.Join(ca.ping(coreAddr), cb.ping(otherCoreAddr)) })
	l.started(x, ca)
	l.started(x, cb)
	// The end of one must not touch the other.
	x.check("end", ca.hangUp)
	l.ended(x, ca, byUser)
	x.check("ping", func() error { return cb.ping(otherCoreAddr) })
	x.check("end", cb.hangUp)
	l.ended(x, cb, byUser)
}

// checkTunnels checks that a LAC has n tunnels, all from its one address and port.
func (l *lab) checkTunnels(lac string, n int) error {
	list, err := l.lnsd.tunnels()
	if err != nil {
		return err
	}
	var got []string
	for _, t := range list {
		if t.PeerName == lac && t.State == established {
			got = append(got, t.Peer)
		}
	}
	want := slices.Repeat([]string{securedAddr + ":1701"}, n)
	if !slices.Equal(got, want) {
		return fmt.Errorf("lnsctl tunnel list has tunnels of %s from %v, want %v", lac, got, want)
	}
	return nil
}

// lacHangsUp ends a call by xl2tpd's own command, which sends StopCCN and no
// CDN; pppd's Terminate-Request comes when the tunnel is gone.
func (l *lab) lacHangsUp(x *row) {
	ln := lineOf("lac-hangs-up", "chap")
	lac := l.lacFor(x, secured("lac-hangs-up", "kernel", ln))
	c := l.up(x, lac, ln)
	l.started(x, c)
	x.check("end", func() error { return lac.tell("d " + ln.name) })
	l.ended(x, c, byTunnel)
}

// fourCalls has four subscribers up at once, with traffic side by side.
func (l *lab) fourCalls(x *row) {
	var lines []line
	for i, method := range []string{"chap", "pap", "chap", "pap"} {
		lines = append(lines, lineOf(fmt.Sprintf("four-%d", i+1), method))
	}
	lac := l.lacFor(x, secured("four", "userspace", lines...))
	var calls []*call
	seen := map[string]bool{}
	for _, ln := range lines {
		c := l.up(x, lac, ln)
		if seen[c.addr] {
			x.t.Errorf("%s has %s, which another has", ln.name, c.addr)
		}
		seen[c.addr] = true
		calls = append(calls, c)
	}
	x.check("tcp", func() error {
		// Two at once: each core address has a route to one of them.
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for i, target := range []string{coreAddr, otherCoreAddr} {
			wg.Go(func() {
				if errs[i] = calls[i].ping(target); errs[i] == nil {
					errs[i] = calls[i].transfer(l.core, target)
				}
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	})
	for _, c := range calls {
		x.check("ping", func() error { return c.ping(coreAddr) })
		l.started(x, c)
	}
	for _, c := range calls {
		x.check("end", c.hangUp)
		l.ended(x, c, byUser)
	}
}

// hold brings a call up that stays during the whole run, next to everything else.
func (l *lab) hold(t *testing.T) *call {
	t.Helper()
	ln := line{name: "held", user: heldUser, password: password, method: "chap"}
	cfg := secured("held", "kernel", ln)
	cfg.addr = heldAddr
	lac, err := startLAC(l.guest, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lac.stop(); err != nil {
			t.Error(err)
		}
	})
	c, err := lac.dial(ln)
	if err == nil {
		err = errors.Join(c.ping(heldCoreAddr), c.transfer(l.core, heldCoreAddr))
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// interimOf checks the interim records of the held call: what pppd had counted
// before the first came, then more of the same, and at the end the Stop.
func (l *lab) interimOf(x *row, c *call) {
	l.started(x, c)
	x.check("acct", func() error {
		sent, received, err := c.counted()
		if err != nil {
			return err
		}
		rec, err := l.radius.await(c.line.user, "Interim-Update")
		if err != nil {
			return err
		}
		if in, out := rec.octets("Input"), rec.octets("Output"); in != sent || out != received {
			return fmt.Errorf("accounting: Interim-Update has %d octets in and %d out, pppd's device sent %d and received %d", in, out, sent, received)
		}
		if got := rec.first("Acct-Session-Id"); got != c.sessionID {
			return fmt.Errorf("accounting: Interim-Update of session %s, want %s", got, c.sessionID)
		}
		if age := rec.number("Acct-Session-Time"); age < uint64(interim.Seconds())-2 || age > uint64(interim.Seconds())+10 {
			return fmt.Errorf("accounting: the first Interim-Update came after %d s, want %v", age, interim)
		}
		return nil
	})
	x.check("ping", func() error { return c.ping(heldCoreAddr) })
	x.check("end", c.hangUp)
	l.ended(x, c, byUser)
}
