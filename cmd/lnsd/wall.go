package main

import (
	"fmt"
	"net"
	"time"

	"culvert/lns/dataplane"
	"culvert/lns/ipsec"
)

// wallCmd is about the kernel policies that keep clear L2TP out while lnsd and charon are down.
type wallCmd struct {
	Remove bool `help:"Take all of them away, and nothing else: to go back to L2TP without IPsec, or when lnsd is taken off this host. A lnsd that starts sets those that its LAC profiles want."`
}

// Run shows or removes the policies.
func (c *wallCmd) Run() error {
	if c.Remove {
		n, err := ipsec.RemoveWall()
		fmt.Printf("%d kernel policies removed\n", n)
		return err
	}
	list, _, err := ipsec.WallState(nil, nil, false)
	if err != nil {
		return err
	}
	for _, s := range list {
		fmt.Println("dropped:", s)
	}
	fmt.Printf("%d kernel policies of lnsd's are in force\n", len(list))
	return nil
}

// checkIPsec says how this host is prepared for what the configuration wants of IPsec.
func checkIPsec(set *settings) []string {
	if set.ipsec == nil {
		return nil
	}
	var list []string
	say := func(format string, args ...any) { list = append(list, "ipsec: "+fmt.Sprintf(format, args...)) }
	marks := dataplane.ProbeMarks()
	if marks != nil {
		say("sockets cannot tell SAs apart here: %v. One LAC for each address and port is served, and kernel policies alone keep clear L2TP out", marks)
	} else {
		say("sockets tell SAs apart by their marks")
	}
	if c, err := net.DialTimeout("unix", set.ipsec.Socket, time.Second); err != nil {
		say("charon does not answer at %s: %v. Start strongSwan (systemctl start strongswan), and give lnsd access to its socket", set.ipsec.Socket, err)
	} else {
		c.Close()
		say("charon is there, at %s", set.ipsec.Socket)
	}
	switch there, missing, err := ipsec.WallState(set.plane.Listen, set.lacs, marks == nil); {
	case err != nil:
		say("the kernel's policies cannot be read: %v", err)
	case !set.ipsec.Wall:
		say("wall is off: lnsd alone keeps clear L2TP out, and nothing while it is down")
	case missing > 0:
		say("%d of the kernel policies against clear L2TP are not in force; lnsd sets them when it starts", missing)
	default:
		say("%d kernel policies against clear L2TP are in force (`lnsd wall` lists them)", len(there))
	}
	return list
}
