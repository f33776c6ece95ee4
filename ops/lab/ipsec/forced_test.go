package ipsec

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// forced has a LAC come that neither asks for ESP in UDP nor is behind a NAT: its profile forces it, by which the LNS has
// the LAC believe in a NAT. Middle boxes that let UDP pass and drop ESP are why operators want it.
func (l *lab) forced(t *testing.T, x *lac, _ *charon) { l.forcedBy(t, x, 2) }

// forcedInOld has it come with IKEv1.
func (l *lab) forcedInOld(t *testing.T, x *lac, _ *charon) { l.forcedBy(t, x, 1) }

// forcedBy is either row.
func (l *lab) forcedBy(t *testing.T, x *lac, version int) {
	r := l.report.row(t)
	l.from(t, x, forcedAddr)
	c := conn{name: "forced", version: version, psk: sharedKey, more: "local_addrs = " + forcedAddr}
	must(t, x.swan.configure(c))
	files := fmt.Sprintf("forced%d-", version)
	must(t, l.captureForced(files))
	r.check("SA", func() error { return x.swan.initiate(c.name) })
	defer x.swan.drop(c.name)
	r.check("session", x.dial)
	defer func() { _ = x.hangUp() }()
	r.check("ping 1300", func() error { return x.ping(10) })
	for _, ns := range []string{"lns", "direct"} {
		r.check("encap in the kernel of "+ns, func() error { return l.encapsulated(ns, forcedAddr) })
	}
	r.check("shown", func() error {
		tun, err := x.tunnel(forcedAddr)
		if err != nil {
			return err
		}
		text, err := l.ctl(fmt.Sprintf("tunnel show %d", tun.ID))
		if err == nil && (tun.LAC != "forced" || !strings.Contains(text, "in UDP")) {
			err = fmt.Errorf("%s", text)
		}
		return err
	})
	r.check("hang up", x.hangUp)
	r.check("SA gone", func() error {
		if err := x.swan.terminate(c.name); err != nil {
			return err
		}
		return l.noSAs()
	})
	// Ten pings and their answers at least; and nothing else, from the first packet of the tunnel to the last.
	r.check("ESP in UDP on the wire", func() error {
		n, err := (&wire{l}).count(files + "udp")
		if err == nil && n < 20 {
			err = fmt.Errorf("%d packets of ESP in UDP", n)
		}
		return err
	})
	for _, kind := range []string{"bare", "clear"} {
		r.check("nothing "+kind, func() error {
			n, err := (&wire{l}).count(files + kind)
			if err == nil && n != 0 {
				err = fmt.Errorf("%w: %d packets in wire-%s%s.pcap", errNot, n, files, kind)
			}
			return err
		})
	}
}

// captureForced captures what the forced LAC sends and gets: ESP in UDP (not IKE, which begins with four octets of 0 there,
// nor keepalives, which are shorter), ESP that is not, and clear L2TP.
func (l *lab) captureForced(files string) error {
	_, err := l.sh("wan", 15*time.Second, `cd %[1]s && for f in "udp:udp port 4500 and udp[8:4] != 0" "bare:ip proto 50" "clear:udp port 1701"; do setsid tcpdump -n -p -U -i lns0 -w wire-%[3]s${f%%%%:*}.pcap "${f#*:} and host %[2]s" >tcpdump-%[3]s${f%%%%:*}.log 2>&1 </dev/null & done; for i in $(seq 300); do [ $(grep -l listening tcpdump-%[3]s*.log | wc -l) = 3 ] && exit 0; sleep 0.1; done; exit 1`, dir, forcedAddr, files)
	return err
}

// encapsulated wants the kernel's states of an address to be there, both ways, and all in UDP.
func (l *lab) encapsulated(ns, address string) error {
	list, text, err := l.states(ns, address)
	if err == nil && len(list) < 2 {
		err = fmt.Errorf("%d states of %s:\n%s", len(list), address, text)
	}
	for _, s := range list {
		if err == nil && !strings.Contains(s, "encap type espinudp") {
			err = fmt.Errorf("%w: ESP is not in UDP:\n%s", errNot, s)
		}
	}
	return err
}

// states are the kernel's states from or to an address, and beside them all it has.
func (l *lab) states(ns, address string) (list []string, all string, err error) {
	all, err = l.sh(ns, 10*time.Second, "ip xfrm state")
	for _, s := range strings.Split("\n"+all, "\nsrc ") {
		ends, _, _ := strings.Cut(s, "\n")
		if strings.HasPrefix(ends, address+" ") || strings.HasSuffix(strings.TrimSpace(ends), " "+address) {
			list = append(list, s)
		}
	}
	return list, all, err
}

// never has a LAC come whose profile never uses IPsec, though a key is left in it: the key opens nothing, and in clear the LAC is served.
func (l *lab) never(t *testing.T, x *lac, _ *charon) {
	r := l.report.row(t)
	l.from(t, x, neverAddr)
	c := conn{name: "never", version: 2, psk: neverKey, more: "local_addrs = " + neverAddr}
	must(t, x.swan.configure(c))
	mark := l.mark()
	r.check("its IKE refused", func() error {
		defer x.swan.drop(c.name)
		if err := x.swan.initiate(c.name); err == nil {
			return fmt.Errorf("%w: its SA came up", errNot)
		}
		return l.logged(30*time.Second, mark, "could not set up its SA", neverAddr)
	})
	r.check("no state", func() error {
		list, _, err := l.states("lns", neverAddr)
		if err == nil && len(list) != 0 {
			err = fmt.Errorf("%w: %q", errNot, list)
		}
		return err
	})
	r.check("session in clear", x.dial)
	defer func() { _ = x.hangUp() }()
	r.check("ping 1300", func() error { return x.ping(4) })
	r.check("shown", func() error {
		tun, err := x.tunnel(neverAddr)
		if err == nil && (tun.LAC != "never" || tun.IPsec != nil) {
			err = fmt.Errorf("%+v, its SA %+v", tun, tun.IPsec)
		}
		return err
	})
	r.check("hung up", x.hangUp)
}

// from gives a LAC another address, which it calls the LNS from until the row ends.
func (l *lab) from(t *testing.T, x *lac, address string) {
	t.Helper()
	_, err := l.sh(x.ns, 20*time.Second, "ip addr add %[1]s/32 dev lo && ip route add %[2]s/32 via 10.3.1.254 src %[1]s && ip netns exec wan ip route replace %[1]s/32 via %[3]s", address, lnsAddr, directAddr)
	must(t, err)
	t.Cleanup(func() {
		_, err := l.sh(x.ns, 20*time.Second, "ip route del %s/32 && ip addr del %s/32 dev lo", lnsAddr, address)
		must(t, err)
		must(t, x.swan.configure())
		must(t, x.reset()) // whatever came of the row
	})
}
