package ipsec

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// frozen freezes the LAC with all its daemons: dead-peer detection ends the SA, and with it
// tunnel and session, long before HELLO would.
func (l *lab) frozen(t *testing.T, x *lac) {
	r := l.report.row(t)
	c := conn{name: "freeze", version: 2, psk: sharedKey}
	l.up(r, x, c)
	mark := l.mark()
	before, err := l.metric("ipsec_sas_gone", `"dpd"`)
	must(t, err)
	signal := func(s string) func() error {
		return func() error {
			_, err := l.Run(10*time.Second, "kill -"+s+" $(ip netns pids direct)")
			return err
		}
	}
	r.check("frozen", signal("STOP"))
	began := time.Now()
	// 4 s of silence, then a request and five retransmissions in 1 + 1.4 + 2 + 2.7 + 3.8 + 5.4 s: 20 s; more where the guest gets no processor.
	r.check("session ended", func() error { return l.logged(60*time.Second, mark, "session down", "cause=ipsec-down", "dpd") })
	r.note = fmt.Sprintf("after %.0f s", time.Since(began).Seconds())
	r.check("SA gone", func() error { return l.noSA(15 * time.Second) })
	r.check("tunnel gone", func() error { return l.noTunnels(15 * time.Second) })
	r.check("Stop accounted", func() error { return l.accounted(20 * time.Second) })
	r.check("counted", func() error {
		after, err := l.metric("ipsec_sas_gone", `"dpd"`)
		if err == nil && after != before+1 {
			err = fmt.Errorf("%v SAs have ended by dead-peer detection, were %v", after, before)
		}
		return err
	})
	r.check("one timeline", l.timeline)
	r.check("thawed", signal("CONT"))
}

// timeline wants the last call's timeline to tell of its SA, of L2TP, of PPP and of the SA's end, in this order.
func (l *lab) timeline() error {
	text, err := l.ctl("session trace direct --history -n 1")
	if err != nil {
		return err
	}
	at := 0
	for _, want := range []string{"the tunnel runs in an SA", "ICRQ", "LCP", "IPCP", "SA gone (dpd)"} {
		i := strings.Index(text[at:], want)
		if i < 0 {
			return fmt.Errorf("the timeline does not tell of %q, or not in its place:\n%s", want, text)
		}
		at += i
	}
	return nil
}

// nobodyThere kills lnsd and charon: the kernel goes on to keep clear L2TP out, and in, and touches nothing else.
// Taken away by hand, its policies come back with lnsd.
func (l *lab) nobodyThere(t *testing.T, x *lac) {
	r := l.report.row(t)
	x.swan.drop("freeze") // the LAC does not know yet that it was given up
	must(t, x.reset())
	r.check("killed", func() error {
		if err := l.stopLNSD("KILL"); err != nil {
			return err
		}
		return l.charon.kill()
	})
	for _, way := range []struct{ name, ns, from, to, counter string }{
		{"clear SCCRQ kept out", "other", otherAddr, lnsAddr, "XfrmInPolBlock"},
		{"clear answer kept in", "lns", lnsAddr, otherAddr, "XfrmOutPolBlock"},
	} {
		r.check(way.name, func() error { return l.blocks(way.ns, way.from, way.to, way.counter) })
	}
	r.check("other traffic passes", func() error {
		text, err := l.sh("other", 20*time.Second, "busybox ping -q -c 3 -i 0.2 -W 3 %s", lnsAddr)
		if err != nil {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return err
	})
	r.check("lnsd wall --remove", func() error {
		if text, err := l.sh("lns", 20*time.Second, "%s/lnsd wall --remove 2>&1", l.bin); err != nil {
			return fmt.Errorf("%w: %s", err, text)
		}
		text, err := l.sh("lns", 20*time.Second, "ip xfrm policy list")
		if err == nil && strings.Contains(text, "action block") {
			err = fmt.Errorf("%w: policies are left: %s", errNot, text)
		}
		return err
	})
	r.check("started again", func() error {
		if err := l.charon.start(); err != nil {
			return err
		}
		return l.startLNSD()
	})
	r.check("the wall is back", func() error { return l.blocks("other", otherAddr, lnsAddr, "XfrmInPolBlock") })
	c := conn{name: "again", version: 2, psk: sharedKey}
	l.up(r, x, c)
	defer l.clean(t, x, c)
	r.check("packets flow", l.flows)
}

// portOf is the port of an end that sends clear L2TP: the LAC's own may be its xl2tpd's.
func portOf(address string) int {
	if address == lnsAddr {
		return 1701
	}
	return 1702
}

// blocks sends L2TP in clear, and wants no answer and the kernel to count it.
func (l *lab) blocks(ns, from, to, counter string) error {
	before, err := l.xfrmStat(counter)
	if err != nil {
		return err
	}
	text, err := l.help(ns, 20*time.Second, "udp", fmt.Sprintf("-from %s:%d -to %s:%d -wait 1s %s", from, portOf(from), to, portOf(to), sccrq()))
	if err != nil {
		return err
	}
	if text != "silence" && !strings.HasPrefix(text, "not sent") {
		return fmt.Errorf("%w: an answer came: %s", errNot, text)
	}
	after, err := l.xfrmStat(counter)
	if err == nil && after <= before {
		err = fmt.Errorf("%s is %v, as before", counter, after)
	}
	return err
}
