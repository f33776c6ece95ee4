package lac

import (
	"time"

	"culvert/proto/l2tp"
)

// defaultACCM is what a LAC escapes until the LNS says otherwise (RFC 2661 section 4.4.6).
var defaultACCM = l2tp.ACCM{Send: 0xffffffff, Receive: 0xffffffff}

// ACCM are the control characters to escape towards the subscriber (Send) and to
// take for noise from it (Receive), as the LNS's latest Set-Link-Info has it. They matter
// to a LAC with asynchronous lines.
func (c *Call) ACCM() l2tp.ACCM { return c.accm }

// SetSpeed says how fast the call's line is, in bit/s, tx towards the subscriber. A
// CSURQ is answered with it; 0 is unknown.
func (c *Call) SetSpeed(tx, rx uint32) { c.tx, c.rx = tx, rx }

// ReportErrors tells the LNS of errors on the call's line since it began (WAN-Error-Notify). The
// RFC wants no more than one in 60 s. It does nothing for a call that is not established.
func (e *Engine) ReportErrors(now time.Duration, c *Call, errors l2tp.CallErrors) {
	if !c.Established() {
		return
	}
	t, fx := c.tunnel, e.take()
	m := l2tp.Message{Type: l2tp.MessageWEN, Errors: errors}
	m.Set(l2tp.AVPCallErrors)
	t.l2tp.Send(now, &m, c.l2tp.PeerID(), &fx.tunnel)
	e.settle(now, t, fx)
}

// ReportSpeed tells the LNS the speeds of calls' lines, all of tunnel t, in one
// Connect-Speed-Update-Notification (RFC 5515). Calls that are not established are left out.
func (e *Engine) ReportSpeed(now time.Duration, t *Tunnel, calls ...*Call) {
	m := l2tp.Message{Type: l2tp.MessageCSUN}
	for _, c := range calls {
		if c.tunnel == t && c.Established() {
			m.SpeedUpdates = append(m.SpeedUpdates, l2tp.SpeedUpdate{SessionID: c.l2tp.PeerID(), Tx: c.tx, Rx: c.rx})
		}
	}
	if len(m.SpeedUpdates) == 0 {
		return
	}
	fx := e.take()
	t.l2tp.Send(now, &m, 0, &fx.tunnel)
	e.settle(now, t, fx)
}

// speedRequest answers a CSURQ for those of its calls that are there.
func (e *Engine) speedRequest(now time.Duration, t *Tunnel, m *l2tp.Message) {
	var calls []*Call
	for _, u := range m.SpeedUpdates {
		if c := t.call(u.SessionID); c != nil {
			calls = append(calls, c)
		}
	}
	e.ReportSpeed(now, t, calls...)
}
