package ipsec

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestLife has SAs and tunnels live and die together.
func TestLife(t *testing.T) {
	needs(t)
	l := newLab(t)
	t.Cleanup(func() {
		if err := l.report.writeTo(l.out, "life"); err != nil {
			t.Error(err)
		}
	})
	must(t, l.echo())
	x, err := l.startLAC("direct", 1701)
	must(t, err)
	for _, c := range []struct {
		name string
		test func(*testing.T, *lac)
	}{
		{"full-size packets", l.fullSize}, {"operator stops the tunnel", l.operatorStops},
		{"SA deleted by the LAC", l.deletedByLAC}, {"charon killed", l.charonKilled},
		{"rekeying", l.rekeying}, {"LAC frozen", l.frozen}, {"lnsd and charon dead", l.nobodyThere},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, x) })
	}
}

// up has the LAC make an SA and a call.
func (l *lab) up(r *row, x *lac, c conn) {
	r.check("up", func() error {
		if err := x.swan.configure(c); err != nil {
			return err
		}
		if err := x.swan.initiate(c.name); err != nil {
			return err
		}
		return x.dial()
	})
}

// clean ends all that a LAC has.
func (l *lab) clean(t *testing.T, x *lac, c conn) {
	t.Helper()
	_ = x.hangUp()
	x.swan.drop(c.name)
	must(t, x.reset()) // xl2tpd keeps a tunnel that it could not say goodbye to
	must(t, l.noTunnels(30*time.Second))
}

// noTunnels waits until the LNS has no established tunnel.
func (l *lab) noTunnels(limit time.Duration) error {
	return until(limit, func() error {
		list, err := l.tunnels()
		if err == nil && len(list) > 0 {
			err = fmt.Errorf("tunnels are left: %+v", list)
		}
		return err
	})
}

// flows wants every ping through the call answered.
func (l *lab) flows() error {
	p, text, err := l.ping("direct", 40*time.Second, "-to %s -count 5 -every 50ms", coreAddr)
	if err == nil && p.received != p.sent {
		err = fmt.Errorf("pings: %s", text)
	}
	return err
}

// operatorStops has an operator stop the tunnel: the SA goes with it.
func (l *lab) operatorStops(t *testing.T, x *lac) {
	r := l.report.row(t)
	c := conn{name: "stop", version: 2, psk: sharedKey}
	l.up(r, x, c)
	defer l.clean(t, x, c)
	tun, err := x.tunnel(directAddr)
	must(t, err)
	r.check("new keys for lnsctl", func() error {
		before, err := l.metric("ipsec_rekeyings")
		if err != nil {
			return err
		}
		if _, err := l.ctl(fmt.Sprintf("ipsec rekey %d", tun.IPsec.Mark)); err != nil {
			return err
		}
		if err := until(20*time.Second, func() error {
			after, err := l.metric("ipsec_rekeyings")
			if err == nil && after == before {
				err = fmt.Errorf("%v rekeyings, as before", after)
			}
			return err
		}); err != nil {
			return err
		}
		return l.flows()
	})
	r.check("tunnel stopped", func() error {
		_, err := l.ctl(fmt.Sprintf("tunnel stop --yes %d", tun.ID))
		return err
	})
	r.check("SA gone", func() error { return l.noSA(60 * time.Second) })
}

// noSA waits until the LNS's charon and kernel have no SA.
func (l *lab) noSA(limit time.Duration) error {
	return until(limit, func() error {
		text, err := l.charon.swan(10*time.Second, "--list-sas")
		if err == nil && strings.Contains(text, "ESTABLISHED") {
			err = fmt.Errorf("charon has %s", text)
		}
		if err != nil {
			return err
		}
		text, err = l.sh("lns", 10*time.Second, "ip xfrm state")
		if err == nil && strings.Contains(text, "proto esp") {
			err = fmt.Errorf("the kernel has %s", text)
		}
		return err
	})
}

// deletedByLAC has the LAC take its SA down: tunnel and session go at once, with their cause.
func (l *lab) deletedByLAC(t *testing.T, x *lac) {
	r := l.report.row(t)
	c := conn{name: "delete", version: 2, psk: sharedKey}
	l.up(r, x, c)
	defer l.clean(t, x, c)
	mark := l.mark()
	r.check("SA deleted", func() error { return x.swan.terminate(c.name) })
	r.check("session ended", func() error { return l.logged(15*time.Second, mark, "session down", "cause=ipsec-down", "delete") })
	r.check("tunnel gone", func() error { return l.noTunnels(15 * time.Second) })
	r.check("Stop accounted", func() error { return l.accounted(20 * time.Second) })
}

// accounted waits until no accounting record waits for a server.
func (l *lab) accounted(limit time.Duration) error {
	return until(limit, func() error {
		n, err := l.metric("accounting_pending_records")
		if err == nil && n != 0 {
			err = fmt.Errorf("%v accounting records wait", n)
		}
		return err
	})
}

// charonKilled kills the LNS's charon and starts it again: the LAC's dead-peer detection brings a new
// SA, and the session lives on.
func (l *lab) charonKilled(t *testing.T, x *lac) {
	r := l.report.row(t)
	c := conn{name: "kill", version: 2, psk: sharedKey, more: "dpd_delay = 3s", child: "dpd_action = restart"}
	l.up(r, x, c)
	defer l.clean(t, x, c)
	mark := l.mark()
	tun, err := x.tunnel(directAddr)
	must(t, err)
	r.check("killed", l.charon.kill)
	r.check("packets flow without charon", l.flows)
	r.check("charon started", l.charon.start)
	began := time.Now()
	r.check("LAC came back", func() error {
		return until(110*time.Second, func() error {
			p, text, err := l.ping("direct", 30*time.Second, "-to %s -count 3 -every 50ms -wait 500ms", coreAddr)
			if err == nil && p.received != 3 {
				err = fmt.Errorf("pings: %s", text)
			}
			if err == nil {
				err = l.logged(0, mark, "a LAC has moved")
			}
			return err
		})
	})
	r.note = fmt.Sprintf("back after %.0f s", time.Since(began).Seconds())
	r.check("the same session", func() error {
		now, err := x.tunnel(directAddr)
		if err == nil && (now.ID != tun.ID || now.Sessions != 1) {
			err = fmt.Errorf("tunnel %d with %d sessions, was %d", now.ID, now.Sessions, tun.ID)
		}
		if e := l.logged(0, mark, "session down"); e == nil && err == nil {
			err = fmt.Errorf("%w: a session ended", errNot)
		}
		return err
	})
}
