package ipsec

import (
	"fmt"
	"testing"
	"time"
)

// TestNAT is about LACs behind one address.
func TestNAT(t *testing.T) {
	needs(t)
	l := newLab(t)
	t.Cleanup(func() {
		if err := l.report.writeTo(l.out, "nat"); err != nil {
			t.Error(err)
		}
	})
	l.behindNAT(t)
}

// behindNAT has two LACs behind one address call at the same time, with different source ports
// of L2TP and with the same one.
func (l *lab) behindNAT(t *testing.T) {
	left, err := l.startLAC("left", 1701)
	must(t, err)
	right, err := l.startLAC("right", 1701)
	must(t, err)
	for _, version := range []int{2, 1} {
		for _, port := range []int{1702, 1701} {
			name := fmt.Sprintf("ikev%d-different-ports", version)
			if port == 1701 {
				name = fmt.Sprintf("ikev%d-same-port", version)
			}
			t.Run(name, func(t *testing.T) { l.twoAtOnce(t, left, right, version, port) })
		}
	}
}

func (l *lab) twoAtOnce(t *testing.T, left, right *lac, version, port int) {
	r := l.report.row(t)
	both := []*lac{left, right}
	r.check("LACs ready", func() error {
		for i, x := range both {
			p := []int{1701, port}[i]
			if err := x.usePort(p); err != nil {
				return err
			}
			if err := x.swan.configure(conn{name: "isp", version: version, psk: sharedKey, id: x.ns + "@lacs.example.net", port: fmt.Sprint(p)}); err != nil {
				return err
			}
		}
		return nil
	})
	for _, x := range both {
		r.check("SA of "+x.ns, func() error { return x.swan.initiate("isp") })
		defer x.swan.drop("isp")
	}
	for _, x := range both {
		r.check("session of "+x.ns, x.dial)
		defer func() { _ = x.hangUp() }()
	}
	r.check("both at once", func() error {
		errs := make(chan error, 2)
		for _, x := range both {
			go func() { errs <- x.ping(10) }()
		}
		for range both {
			if err := <-errs; err != nil {
				return err
			}
		}
		return nil
	})
	r.check("TCP of the first", func() error { return left.transfer(100_000) })
	r.check("told apart", func() error { return l.toldApart(both) })
	for _, x := range both {
		r.check("hang up "+x.ns, x.hangUp)
	}
	r.check("SAs gone", func() error {
		for _, x := range both {
			if err := x.swan.terminate("isp"); err != nil {
				return err
			}
		}
		return l.noSAs()
	})
}

// toldApart wants a tunnel for each LAC, each with its own mark and identity.
func (l *lab) toldApart(list []*lac) error {
	tunnels, err := l.tunnels()
	if err != nil {
		return err
	}
	marks, ids := map[int]bool{}, map[string]bool{}
	for _, x := range tunnels {
		if x.IPsec != nil {
			marks[x.IPsec.Mark], ids[x.IPsec.Identity] = true, true
		}
	}
	for _, x := range list {
		if !ids[x.ns+"@lacs.example.net"] {
			return fmt.Errorf("no tunnel of %s in %+v", x.ns, tunnels)
		}
	}
	if len(marks) != len(list) {
		return fmt.Errorf("%d marks for %d LACs: %+v", len(marks), len(list), tunnels)
	}
	return nil
}

// noSAs waits until the LNS has no SA any more.
func (l *lab) noSAs() error {
	return until(60*time.Second, func() error {
		n, err := l.metric("ipsec_sas")
		if err == nil && n != 0 {
			err = fmt.Errorf("%v SAs are left", n)
		}
		return err
	})
}

// usePort has xl2tpd send from a port.
func (x *lac) usePort(port int) error {
	if x.port == port {
		return nil
	}
	x.port = port
	_, err := x.l.Run(10*time.Second, fmt.Sprintf("sed -i 's/^port = .*/port = %d/' %s/%s/xl2tpd.conf", port, dir, x.ns))
	if err != nil {
		return err
	}
	return x.reset()
}
