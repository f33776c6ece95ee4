package main

import (
	"context"
	"errors"

	"culvert/lns"
	"culvert/lns/dataplane"
	"culvert/lns/ipsec"
)

// prepareIPsec says what of IPsec this kernel gives, before the plane opens its sockets.
func (d *daemon) prepareIPsec() error {
	cfg := d.set.ipsec
	if cfg == nil {
		return nil
	}
	err := dataplane.ProbeMarks()
	switch {
	case err == nil:
		d.set.plane.Marks = true
	case errors.Is(err, dataplane.ErrNoMarks):
		d.log.Warn("this kernel does not tell lnsd which SA a packet came through (SO_RCVMARK, Linux 5.19): the kernel's policies alone keep clear L2TP out, a LAC is told by its address, and of two clients behind one NAT address with the same port only the newest is served")
	default:
		return err
	}
	return nil
}

// makeIPsec makes the key exchange's side of lnsd.
func (d *daemon) makeIPsec() error {
	if d.set.ipsec == nil {
		return nil
	}
	cfg := *d.set.ipsec
	cfg.Listen, cfg.Marks, cfg.Log = d.plane.Listeners(), d.set.plane.Marks, d.log
	m, err := ipsec.New(cfg)
	if err != nil {
		return err
	}
	d.ipsec = m
	return nil
}

// useIPsec puts it into the server's configuration: a nil pointer would be no nil interface.
func (d *daemon) useIPsec(cfg *lns.Config) {
	if d.ipsec != nil {
		cfg.IPsec = d.ipsec
	}
}

// runIPsec begins to look for charon; the server hears of SAs from now on.
func (d *daemon) runIPsec() {
	if d.ipsec == nil {
		return
	}
	d.ipsec.Start()
	d.onAbort(func() { d.closing("IPsec", d.ipsec.Close()) })
}

// adviseIPsec says what lnsd check can see of IPsec that is not wrong, but not right either.
func adviseIPsec(set *settings) []string {
	if set.ipsec == nil {
		return nil
	}
	return ipsec.Advise(context.Background(), *set.ipsec, set.lacs)
}
