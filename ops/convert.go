package ops

import (
	"net/netip"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"culvert/aaa"
	"culvert/lns"
	culvertv1 "culvert/proto/culvert/v1"
	"culvert/proto/l2tp"
)

// The words of lns and their numbers in the API.
var (
	sessionStates = map[string]culvertv1.SessionState{
		"dialling":       culvertv1.SessionState_SESSION_STATE_DIALLING,
		"idle":           culvertv1.SessionState_SESSION_STATE_LCP,
		"lcp":            culvertv1.SessionState_SESSION_STATE_LCP,
		"authenticating": culvertv1.SessionState_SESSION_STATE_AUTHENTICATING,
		"network":        culvertv1.SessionState_SESSION_STATE_NETWORK,
		"up":             culvertv1.SessionState_SESSION_STATE_UP,
		"closing":        culvertv1.SessionState_SESSION_STATE_CLOSING,
		"down":           culvertv1.SessionState_SESSION_STATE_CLOSING,
	}
	tunnelStates = map[string]culvertv1.TunnelState{
		l2tp.TunnelIdle.String():        culvertv1.TunnelState_TUNNEL_STATE_CONNECTING,
		l2tp.TunnelWaitReply.String():   culvertv1.TunnelState_TUNNEL_STATE_CONNECTING,
		l2tp.TunnelWaitConn.String():    culvertv1.TunnelState_TUNNEL_STATE_CONNECTING,
		l2tp.TunnelEstablished.String(): culvertv1.TunnelState_TUNNEL_STATE_ESTABLISHED,
		l2tp.TunnelStopping.String():    culvertv1.TunnelState_TUNNEL_STATE_CLOSING,
	}
	eventKinds = map[lns.EventKind]culvertv1.EventKind{
		lns.EventTunnelUp:      culvertv1.EventKind_EVENT_KIND_TUNNEL_UP,
		lns.EventTunnelDown:    culvertv1.EventKind_EVENT_KIND_TUNNEL_DOWN,
		lns.EventSessionUp:     culvertv1.EventKind_EVENT_KIND_SESSION_UP,
		lns.EventSessionDown:   culvertv1.EventKind_EVENT_KIND_SESSION_DOWN,
		lns.EventSessionReject: culvertv1.EventKind_EVENT_KIND_SESSION_REJECT,
		lns.EventLost:          culvertv1.EventKind_EVENT_KIND_LOST,
	}
	authMethods = map[aaa.Method]culvertv1.AuthMethod{
		aaa.MethodPAP:      culvertv1.AuthMethod_AUTH_METHOD_PAP,
		aaa.MethodCHAP:     culvertv1.AuthMethod_AUTH_METHOD_CHAP,
		aaa.MethodMSCHAPv2: culvertv1.AuthMethod_AUTH_METHOD_MSCHAPV2,
		aaa.MethodEAP:      culvertv1.AuthMethod_AUTH_METHOD_EAP,
	}
)

func tunnelProto(t *lns.TunnelInfo) *culvertv1.Tunnel {
	p := &culvertv1.Tunnel{
		Local: addrPort(t.Local), Peer: addrPort(t.Peer),
		Id: uint32(t.ID), PeerId: uint32(t.PeerID),
		PeerName: text(t.PeerName), PeerVendor: text(t.PeerVendor),
		Lac: t.Profile, State: tunnelStates[t.State], Since: timestamp(t.Since),
		Sessions: uint32(t.Sessions), Ns: uint32(t.Ns), Nr: uint32(t.Nr),
		Window: uint32(t.Window), Retransmissions: t.Retransmissions, Ipsec: saProto(t.SA),
	}
	if f := t.Failover; f.Offered() {
		p.Failover = &culvertv1.TunnelFailover{Control: f.Control, Data: f.Data, RecoveryTime: durationpb.New(f.RecoveryTime)}
	}
	if f := t.Failed; f != nil {
		p.Failed = &culvertv1.TunnelFailed{
			Kind: tunnelFailures[f.Kind], At: timestamp(f.At), Asked: uint32(f.Asked), Cleared: uint32(f.Cleared), Unsure: uint32(f.Unsure),
		}
	}
	return p
}

// tunnelFailures are the names that lns has for how a tunnel has lived on.
var tunnelFailures = map[string]culvertv1.TunnelFailureKind{
	"silent":     culvertv1.TunnelFailureKind_TUNNEL_FAILURE_KIND_SILENT,
	"recovering": culvertv1.TunnelFailureKind_TUNNEL_FAILURE_KIND_RECOVERING,
	"recovered":  culvertv1.TunnelFailureKind_TUNNEL_FAILURE_KIND_RECOVERED,
	"peer":       culvertv1.TunnelFailureKind_TUNNEL_FAILURE_KIND_PEER,
}

func sessionProto(s *lns.SessionInfo) *culvertv1.Session {
	p := &culvertv1.Session{
		Id: s.ID, Local: addrPort(s.Local), Peer: addrPort(s.Peer),
		TunnelId: uint32(s.Tunnel), SessionId: uint32(s.Session),
		PeerTunnelId: uint32(s.PeerTunnel), PeerSessionId: uint32(s.PeerSession),
		Lac: s.Profile, User: text(s.User),
		State: sessionStates[s.State], AuthMethod: authMethods[s.Method],
		CallingStation: text(s.CallingStation), CalledStation: text(s.CalledStation),
		ConnectInfo: text(s.ConnectInfo), CallSerial: s.CallSerial,
		Mru: uint32(s.MRU), Mtu: uint32(s.MTU), Since: timestamp(s.Since),
		SessionTimeout: duration(s.SessionTimeout), IdleTimeout: duration(s.IdleTimeout),
		Interim: duration(s.Interim),
		Counters: &culvertv1.Counters{
			InOctets: s.Counters.InOctets, InPackets: s.Counters.InPackets,
			OutOctets: s.Counters.OutOctets, OutPackets: s.Counters.OutPackets,
			SpoofedPackets: s.Counters.Spoofed,
		},
	}
	if s.Address.IsValid() {
		p.Address = s.Address.String()
	}
	if q := s.Sequencing; q != nil {
		p.Sequencing = &culvertv1.Sequencing{
			Required: q.Required, Numbered: q.Numbered, Late: q.Late, Lost: q.Lost, Reordered: q.Reordered,
		}
	}
	p.Outgoing = s.Outgoing
	p.PrivateGroup, p.AccessLine, p.CallErrors = text(s.PrivateGroup), lineProto(s.Line), errorsProto(s.CallErrors)
	for _, r := range s.Routes {
		p.Routes = append(p.Routes, r.String())
	}
	return p
}

func eventProto(e *lns.Event) *culvertv1.Event {
	p := &culvertv1.Event{
		At: timestamp(e.At), Kind: eventKinds[e.Kind], Cause: e.Cause, Detail: text(e.Detail),
	}
	switch {
	case e.Kind == lns.EventLost:
	case isTunnelEvent(e.Kind):
		p.Session = &culvertv1.Session{
			Local: addrPort(e.Session.Local), Peer: addrPort(e.Session.Peer),
			TunnelId: uint32(e.Session.Tunnel), PeerTunnelId: uint32(e.Session.PeerTunnel),
			Lac: e.Session.Profile,
		}
	default:
		p.Session = sessionProto(&e.Session)
	}
	return p
}

func isTunnelEvent(k lns.EventKind) bool {
	return k == lns.EventTunnelUp || k == lns.EventTunnelDown
}

func addrPort(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// timestamp of the zero time is unset.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// duration of zero is unset: "no such limit".
func duration(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
