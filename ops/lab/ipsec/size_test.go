package ipsec

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// fullSize sends packets of the size that the subscriber was offered, each way, over a wire of 1,500
// octets: they arrive in one piece, and what is larger is answered.
func (l *lab) fullSize(t *testing.T, x *lac) {
	for _, alg := range []string{"aes128gcm16-ecp256", "chacha20poly1305-x25519", "aes256-sha256-ecp256", "aes256-sha512-ecp256"} {
		for _, encap := range []bool{false, true} {
			c := conn{name: "size", version: 2, psk: sharedKey, esp: alg, encap: encap}
			t.Run(fmt.Sprintf("%s encap=%v", alg, encap), func(t *testing.T) { l.fullSizeOf(t, x, c) })
		}
	}
}

func (l *lab) fullSizeOf(t *testing.T, x *lac, c conn) {
	r := l.report.row(t)
	// The core's kernel remembers for minutes what was said of the row before, and subscribers' addresses are given again:
	// it would fragment its answers itself.
	_, err := l.sh("lns", 10*time.Second, "ip route flush cache")
	must(t, err)
	l.up(r, x, c)
	defer l.clean(t, x, c)
	var mtu int
	var address string
	r.check("MRU offered", func() error {
		text, err := l.sh("direct", 10*time.Second, "read pid dev rest < %s/direct/up; cat /sys/class/net/$dev/mtu; echo $rest", dir)
		if err == nil {
			_, err = fmt.Sscan(text, &mtu, &address)
		}
		return err
	})
	r.note = fmt.Sprintf("MTU %d", mtu)
	before, err := l.fragments()
	must(t, err)
	must(t, l.captureFragments())
	for _, way := range []struct{ name, ns, from, to string }{
		{"up", "direct", address, coreAddr}, {"down", "lns", coreAddr, address},
	} {
		r.check("full size "+way.name, func() error {
			p, text, err := l.ping(way.ns, 30*time.Second, "-from %s -to %s -size %d -count 3", way.from, way.to, mtu)
			if err == nil && p.received != 3 {
				err = fmt.Errorf("packets of %d octets: %s", mtu, text)
			}
			return err
		})
	}
	r.check("larger is answered", func() error {
		p, text, err := l.ping("lns", 30*time.Second, "-from %s -to %s -size %d -count 1 -wait 1s", coreAddr, address, mtu+1)
		if err == nil && p.mtu != mtu {
			err = fmt.Errorf("a packet of %d octets: %s", mtu+1, text)
		}
		return err
	})
	r.check("TCP", func() error { return l.tcp("direct", 200_000) })
	r.check("no fragments", func() error {
		after, err := l.fragments()
		if err == nil && after != before {
			text, _ := l.sh("wan", 20*time.Second, "tcpdump -nn -tttt -v -r %s/wire-fragments.pcap 2>/dev/null | head -20", dir)
			err = fmt.Errorf("%w: %d fragments: %s", errNot, after-before, text)
		}
		return err
	})
	// Nor is room given away: the padding apart, a packet of this size fills the wire.
	r.check("wire filled", func() error {
		return l.fills(mtu, address)
	})
}

// captureFragments captures what is in pieces on the wire.
func (l *lab) captureFragments() error {
	_, err := l.sh("wan", 15*time.Second, `cd %s && { [ ! -f fragments.pid ] || kill $(cat fragments.pid); } ; rm -f tcpdump-fragments.log; (setsid tcpdump -n -p -U -i lns0 -w wire-fragments.pcap 'ip[6:2] & 0x3fff != 0' >tcpdump-fragments.log 2>&1 </dev/null & echo $! > fragments.pid); for i in $(seq 300); do grep -q listening tcpdump-fragments.log && exit 0; sleep 0.1; done; exit 1`, dir)
	return err
}

// fills captures the largest packet on the wire while a full-size ping passes.
func (l *lab) fills(mtu int, address string) error {
	_, err := l.sh("wan", 15*time.Second, `cd %s && rm -f size.pcap && (setsid timeout 20 tcpdump -n -p -c 1 -i lns0 -w size.pcap 'less 1514 and greater 1490 and (esp or udp port 4500)' >tcpdump-size.log 2>&1 </dev/null &); for i in $(seq 300); do grep -q listening tcpdump-size.log && exit 0; sleep 0.1; done; exit 1`, dir)
	if err != nil {
		return err
	}
	if _, _, err := l.ping("lns", 30*time.Second, "-from %s -to %s -size %d -count 2", coreAddr, address, mtu); err != nil {
		return err
	}
	return until(5*time.Second, func() error {
		n, err := (&wire{l}).count("size")
		_ = n
		text, _ := l.sh("wan", 5*time.Second, "stat -c %%s %s/size.pcap 2>/dev/null || echo 0", dir)
		if err == nil && (strings.TrimSpace(text) == "0" || strings.TrimSpace(text) == "24") {
			err = fmt.Errorf("no packet of more than %d octets was on the wire", 1490-14)
		}
		return err
	})
}

// fragments counts what the hosts of the lab have fragmented.
func (l *lab) fragments() (n int, err error) {
	for _, ns := range []string{"lns", "wan", "direct"} {
		text, err := l.sh(ns, 10*time.Second, "grep '^Ip:' /proc/net/snmp")
		if err != nil {
			return 0, err
		}
		lines := strings.Split(strings.TrimSpace(text), "\n")
		names, values := strings.Fields(lines[0]), strings.Fields(lines[1])
		for i, name := range names {
			if name == "FragCreates" {
				v := 0
				_, _ = fmt.Sscan(values[i], &v)
				n += v
			}
		}
	}
	return n, nil
}
