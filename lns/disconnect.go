package lns

import (
	"culvert/lns/link"
	"culvert/proto/l2tp"
	"culvert/proto/ppp"
)

// pppCauses is what a LAC is told of PPP when a session ends (RFC 3145), by the cause.
// Causes that are not here have nothing to do with PPP, and nothing is told.
var pppCauses = map[Cause]l2tp.PPPDisconnect{
	CauseUserRequest:      {Code: l2tp.DisconnectNormal, Protocol: uint16(ppp.ProtocolLCP), Direction: l2tp.DirectionPeer},
	CauseEchoTimeout:      {Code: l2tp.DisconnectEchoTimeout, Protocol: uint16(ppp.ProtocolLCP)},
	CauseLoop:             {Code: l2tp.DisconnectLoop, Protocol: uint16(ppp.ProtocolLCP)},
	CauseSessionTimeout:   {Code: l2tp.DisconnectNormal, Protocol: uint16(ppp.ProtocolLCP), Direction: l2tp.DirectionLocal},
	CauseIdleTimeout:      {Code: l2tp.DisconnectNormal, Protocol: uint16(ppp.ProtocolLCP), Direction: l2tp.DirectionLocal},
	CauseAdminReset:       {Code: l2tp.DisconnectAdministrative},
	CauseRADIUSDisconnect: {Code: l2tp.DisconnectAdministrative},
	CauseReplaced:         {Code: l2tp.DisconnectAdministrative},
	CauseNoAddress:        {Code: l2tp.DisconnectNoAddress, Protocol: uint16(ppp.ProtocolIPCP)},
	CauseAddressInUse:     {Code: l2tp.DisconnectNoAddress, Protocol: uint16(ppp.ProtocolIPCP)},
	CauseAuthRejected:     {Code: l2tp.DisconnectAuthFailed, Direction: l2tp.DirectionPeer},
	CauseAuthTimeout:      {Code: l2tp.DisconnectAuthTimeout},
	CauseAuthUnavailable:  {Code: l2tp.DisconnectUnknown},
	CauseSetupTimeout:     {Code: l2tp.DisconnectUnknown},
}

// pppReasons tell more than the cause where a link did not come up.
var pppReasons = map[link.Reason]l2tp.PPPDisconnect{
	link.ReasonLCPTimeout:    {Code: l2tp.DisconnectLCPTimeout, Protocol: uint16(ppp.ProtocolLCP)},
	link.ReasonLCPSilent:     {Code: l2tp.DisconnectNoLCP, Protocol: uint16(ppp.ProtocolLCP)},
	link.ReasonLCPFailed:     {Code: l2tp.DisconnectLCPTimeout, Protocol: uint16(ppp.ProtocolLCP)},
	link.ReasonAuthRefused:   {Code: l2tp.DisconnectAuthRefused, Direction: l2tp.DirectionPeer},
	link.ReasonIPCPFailed:    {Code: l2tp.DisconnectNoNCP, Protocol: uint16(ppp.ProtocolIPCP)},
	link.ReasonProxyMismatch: {Code: l2tp.DisconnectNoProxy, Protocol: uint16(ppp.ProtocolLCP)},
}

// pppDisconnect is what the LAC is told of PPP in the CDN of a session; false for nothing.
func (s *session) pppDisconnect() (l2tp.PPPDisconnect, bool) {
	if s.link.Phase() == link.PhaseIdle {
		return l2tp.PPPDisconnect{}, false // PPP never began
	}
	d, ok := pppCauses[s.cause]
	if s.cause == CauseNegotiationFailed {
		d, ok = pppReasons[s.link.Ending()]
	}
	switch d.Code {
	case l2tp.DisconnectAuthFailed, l2tp.DisconnectAuthTimeout, l2tp.DisconnectAuthRefused:
		d.Protocol = authProtocol(s.link.Method())
	}
	d.Message = []byte(s.cause.String())
	return d, ok
}

// authProtocol is the PPP protocol of an authentication method, 0 for none.
func authProtocol(m link.Method) uint16 {
	switch m {
	case link.MethodPAP:
		return uint16(ppp.ProtocolPAP)
	case link.MethodCHAP, link.MethodMSCHAPv2:
		return uint16(ppp.ProtocolCHAP)
	case link.MethodEAP:
		return uint16(ppp.ProtocolEAP)
	}
	return 0
}

// cdnWords say why a LAC ends a call: its result, and what it tells of PPP.
func cdnWords(m *l2tp.Message) string {
	words := m.Result.CDN()
	if m.Has(l2tp.AVPPPPDisconnect) {
		words += "; PPP: " + m.PPPDisconnect.String()
	}
	return words
}
