package ipsec

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// envRekey is for how long the SA is rekeyed under traffic; 90 s where it says nothing.
const envRekey = "CULVERT_IPSEC_REKEY"

// pingEvery is short: with IKEv1 it is in the some milliseconds in which charon reads one message that packets come too early.
const pingEvery = 10 * time.Millisecond

// rekeying has two LACs, one with IKEv2 and one with IKEv1, make new keys again and again at the same time, and wants no
// packet lost.
func (l *lab) rekeying(t *testing.T, x *lac) {
	d := 90 * time.Second
	if s := os.Getenv(envRekey); s != "" {
		var err error
		d, err = time.ParseDuration(s)
		must(t, err)
	}
	other, err := l.startLAC("other", 1701)
	must(t, err)
	t.Run("at once", func(t *testing.T) {
		for _, k := range []rekeyed{
			{x, directAddr, d, conn{version: 1, psk: sharedKey}},
			{other, otherAddr, d, conn{version: 2, psk: "another key", id: "other@north.example.net"}},
		} {
			k.c.name, k.c.child = "rekey", "rekey_time = 20s\n      life_time = 10m\n      rand_time = 0s"
			t.Run(fmt.Sprintf("IKEv%d", k.c.version), func(t *testing.T) {
				t.Parallel()
				l.rekeyingOf(t, &k)
			})
		}
	})
	must(t, l.noTunnels(30*time.Second))
}

// rekeyed is a LAC that makes new keys.
type rekeyed struct {
	x       *lac
	address string
	d       time.Duration
	c       conn
}

func (l *lab) rekeyingOf(t *testing.T, k *rekeyed) {
	r := l.report.row(t)
	l.up(r, k.x, k.c)
	defer func() {
		_ = k.x.hangUp()
		k.x.swan.drop(k.c.name)
		must(t, k.x.reset())
	}()
	tun, err := k.x.tunnel(k.address)
	must(t, err)
	drops, err := l.xfrmDrops(k.x.ns)
	must(t, err)
	keys, err := k.keys()
	must(t, err)
	var p pinged
	var text string
	r.check("traffic", func() (err error) {
		p, text, err = l.ping(k.x.ns, 2*k.d+2*time.Minute, "-to %s -count 65536 -every %v -during %v -silence 30s", coreAddr, pingEvery, k.d)
		return err
	})
	now, err := l.xfrmDrops(k.x.ns)
	must(t, err)
	after, err := k.keys()
	must(t, err)
	dropped, times := since(drops, now), after-keys
	r.note = fmt.Sprintf("%d rekeyings in %v, %d of %d pings lost, the kernels dropped %v", times, k.d, p.sent-p.received, p.sent, dropped)
	r.check("no packet lost", func() error {
		if lost := p.sent - p.received; lost > 0 {
			return fmt.Errorf("%d pings are lost, in %d rekeyings; the kernels dropped %v: %s", lost, times, dropped, text)
		}
		return nil
	})
	r.check("rekeyed", func() error {
		if min := int(k.d/(30*time.Second)) - 1; times < min {
			return fmt.Errorf("%d rekeyings in %v, want %d", times, k.d, min)
		}
		return nil
	})
	r.check("the same tunnel", func() error {
		now, err := k.x.tunnel(k.address)
		if err == nil && now.ID != tun.ID {
			err = fmt.Errorf("tunnel %d, was %d", now.ID, tun.ID)
		}
		return err
	})
}

// keys counts how often the LAC's charon has got keys.
func (k *rekeyed) keys() (n int, err error) {
	text, err := k.x.l.sh(k.x.ns, 10*time.Second, "grep ' CHILD_SA l2tp{.* established with SPIs' %s/charon.log | grep -vc inbound", k.x.swan.dir)
	if err == nil {
		_, err = fmt.Sscan(text, &n)
	}
	return n, err
}

// xfrmDrops are the counters of what both ends' kernels dropped in IPsec.
func (l *lab) xfrmDrops(lac string) (map[string]int, error) {
	list := map[string]int{}
	for _, ns := range []string{"lns", lac} {
		text, err := l.sh(ns, 10*time.Second, "cat /proc/net/xfrm_stat")
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(text) {
			name, v := "", 0
			if _, err := fmt.Sscan(line, &name, &v); err != nil {
				return nil, fmt.Errorf("xfrm_stat of %s: %q: %w", ns, line, err)
			}
			list[ns+" "+name] = v
		}
	}
	return list, nil
}

// since leaves of counters what has grown.
func since(before, now map[string]int) map[string]int {
	grown := map[string]int{}
	for name, v := range now {
		if v != before[name] {
			grown[name] = v - before[name]
		}
	}
	return grown
}
