package interop

import (
	"fmt"
	"strings"
	"syscall"
)

// oneCall brings a call up for an operator to end, with a little traffic.
func (l *lab) oneCall(x *row, name string) *call {
	x.t.Helper()
	ln := lineOf(name, "chap")
	lac := l.lacFor(x, secured(name, "kernel", ln))
	c := l.up(x, lac, ln)
	x.check("ping", func() error { return c.ping(coreAddr) })
	l.started(x, c)
	return c
}

// hungUpByPeer checks that pppd was told of the end by LCP.
func (c *call) hungUpByPeer() error {
	_, err := c.lac.host.Wait(patience, c.lac.dir+"/"+c.line.name+".pppd", "LCP terminated by peer")
	return err
}

// ctlDisconnect ends a session by lnsctl.
func (l *lab) ctlDisconnect(x *row) {
	c := l.oneCall(x, "ctl")
	x.check("end", func() error {
		list, err := l.lnsd.sessions()
		if err != nil {
			return err
		}
		for _, s := range list {
			if s.ID == c.sessionID && s.User == c.line.user && s.Address == c.addr {
				_, err := l.lnsd.ctl("session", "disconnect", c.sessionID, "--reason", "interop")
				return err
			}
		}
		return fmt.Errorf("lnsctl session list has no %s: %+v", c.sessionID, list)
	})
	x.check("end", c.hungUpByPeer)
	l.ended(x, c, byOperator)
}

// ctlTunnelStop ends a tunnel by lnsctl.
func (l *lab) ctlTunnelStop(x *row) {
	c := l.oneCall(x, "ctl-tunnel")
	x.check("end", func() error {
		list, err := l.lnsd.tunnels()
		if err != nil {
			return err
		}
		for _, t := range list {
			if t.PeerName == c.line.name && t.State == established {
				_, err := l.lnsd.ctl("tunnel", "stop", fmt.Sprintf("%s/%d", t.Local, t.ID), "--yes")
				return err
			}
		}
		return fmt.Errorf("lnsctl tunnel list has none of %s: %+v", c.line.name, list)
	})
	l.ended(x, c, byOperator)
}

// disconnectRequest ends a session by RADIUS, named by one attribute.
func (l *lab) disconnectRequest(x *row, by string) {
	c := l.oneCall(x, "dm-"+strings.ToLower(by))
	value := map[string]string{
		"Acct-Session-Id":   fmt.Sprintf("%q", c.sessionID),
		"User-Name":         fmt.Sprintf("%q", c.line.user),
		"Framed-IP-Address": c.addr,
	}[by]
	x.check("end", func() error {
		if report := disconnectRequest(x.t, by+" = "+value); !strings.Contains(report, "Received Disconnect-ACK") {
			return fmt.Errorf("radclient: no Disconnect-ACK: %s", report)
		}
		return nil
	})
	x.check("end", c.hungUpByPeer)
	l.ended(x, c, byDisconnect)
}

// disconnectNobody sends a Disconnect-Request for a session that does not exist.
func (l *lab) disconnectNobody(x *row) {
	x.check("end", func() error {
		report := disconnectRequest(x.t, `Acct-Session-Id = "lns1-nobody"`)
		if !strings.Contains(report, "Received Disconnect-NAK") || !strings.Contains(report, "Error-Cause = Session-Context-Not-Found") {
			return fmt.Errorf("radclient: no Disconnect-NAK with Session-Context-Not-Found: %s", report)
		}
		return nil
	})
}

// gracefulStop ends lnsd while a call is up.
func (l *lab) gracefulStop(x *row) {
	c := l.oneCall(x, "stop")
	x.check("end", func() error { return l.lnsd.Stop(syscall.SIGTERM, patience) })
	l.ended(x, c, byShutdown)
}
