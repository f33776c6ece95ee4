package lactest

import (
	"net/netip"
	"slices"
	"time"

	"culvert/lac/probe"
	"culvert/proto/l2tp"
	"culvert/proto/ppp"
	"culvert/proto/ppp/mschap"
)

// session is one call and the LNS's end of its PPP link.
type session struct {
	tunnel  *tunnel
	l2tp    l2tp.Call
	last    []byte // the last data message sent
	ns      uint16
	address netip.Addr

	lcpAsked, lcpAgreed bool // they asked and were acknowledged; we were
	ipAsked, ipAgreed   bool
	authenticated       bool
	challenge           [16]byte
}

// connected: the ICCN is in. Proxied authentication is believed if the password is right.
func (l *LNS) connected(s *session, iccn *l2tp.Message) {
	if l.Mute {
		return
	}
	if !iccn.Has(l2tp.AVPLastSentLCP) {
		return // the subscriber's Configure-Request comes
	}
	l.Proxies = append(l.Proxies, iccn.ProxyAuthType)
	s.lcpAsked, s.lcpAgreed = true, true
	id := uint8(iccn.ProxyAuthID)
	switch iccn.ProxyAuthType {
	case l2tp.ProxyAuthPAP:
		l.verdict(s, ppp.ProtocolPAP, id, string(iccn.ProxyAuthName), string(iccn.ProxyAuthResponse) == l.Password, "")
	case l2tp.ProxyAuthCHAP:
		want := ppp.CHAPMD5(id, l.Password, iccn.ProxyAuthChallenge)
		l.verdict(s, ppp.ProtocolCHAP, id, string(iccn.ProxyAuthName), slices.Equal(want[:], iccn.ProxyAuthResponse), "")
	default:
		l.lcpUp(s)
	}
}

func (l *LNS) askLCP(s *session) {
	cfg := ppp.LCPConfig{MRU: 1500, Auth: l.Auth, Magic: 0x11223344}
	b := cfg.Append(ppp.BeginPacket(nil, ppp.ConfigureRequest, 1))
	l.sendPPP(s, ppp.ProtocolLCP, ppp.EndPacket(b, 0))
}

func (l *LNS) frame(now time.Duration, s *session, frame []byte) {
	f, err := ppp.ParseFrame(frame)
	if err != nil || l.Mute {
		return
	}
	if f.Protocol == ppp.ProtocolIPv4 {
		l.packet(s, slices.Clone(f.Payload))
		return
	}
	p, err := ppp.ParsePacket(f.Payload)
	if err != nil {
		return
	}
	switch f.Protocol {
	case ppp.ProtocolLCP:
		l.lcp(now, s, p)
	case ppp.ProtocolPAP:
		if user, password, err := ppp.ParsePAPRequest(p.Data); err == nil {
			l.verdict(s, ppp.ProtocolPAP, p.ID, string(user), string(password) == l.Password, "")
		}
	case ppp.ProtocolCHAP:
		l.chap(s, p)
	case ppp.ProtocolIPCP:
		l.ipcp(s, p)
	}
}

func (l *LNS) lcp(now time.Duration, s *session, p ppp.Packet) {
	switch p.Code {
	case ppp.ConfigureRequest:
		l.sendPPP(s, ppp.ProtocolLCP, ppp.AppendPacket(nil, ppp.ConfigureAck, p.ID, p.Data))
		if s.lcpAsked = true; !s.lcpAgreed {
			l.askLCP(s)
			return
		}
		l.lcpUp(s)
	case ppp.ConfigureAck:
		if s.lcpAgreed = true; s.lcpAsked {
			l.lcpUp(s)
		}
	case ppp.ConfigureNak:
		if cfg, err := ppp.ParseLCPConfig(p.Data); err == nil && cfg.Auth.Protocol != 0 {
			l.Auth = cfg.Auth
			l.askLCP(s)
		}
	case ppp.TerminateRequest:
		l.sendPPP(s, ppp.ProtocolLCP, ppp.AppendPacket(nil, ppp.TerminateAck, p.ID, nil))
	case ppp.TerminateAck:
		s.l2tp.Close(l2tp.Result{Code: l2tp.CDNAdministrative}, nil, &l.call)
		l.sendCall(now, s)
		l.forget(s)
		l.settle(now, s.tunnel)
	}
}

func (l *LNS) lcpUp(s *session) {
	switch {
	case l.Auth.Protocol == ppp.ProtocolCHAP:
		for i := range s.challenge {
			s.challenge[i] = byte(l.rnd.Uint64())
		}
		l.sendPPP(s, ppp.ProtocolCHAP, ppp.AppendCHAPValue(nil, ppp.CHAPChallenge, 77, s.challenge[:], "lns"))
	case l.Auth == ppp.Auth{}:
		s.authenticated = true
	}
}

func (l *LNS) chap(s *session, p ppp.Packet) {
	value, name, err := ppp.ParseCHAPValue(p.Data)
	if err != nil || p.Code != ppp.CHAPResponse || s.authenticated {
		return
	}
	if l.Auth == ppp.AuthCHAP {
		want := ppp.CHAPMD5(p.ID, l.Password, s.challenge[:])
		l.verdict(s, ppp.ProtocolCHAP, p.ID, string(name), slices.Equal(want[:], value), "")
		return
	}
	r, err := ppp.ParseMSCHAPv2Response(value)
	if err != nil {
		return
	}
	ok := mschap.NTResponse(s.challenge, r.PeerChallenge, string(name), l.Password) == r.NTResponse
	proof := mschap.AuthenticatorResponse(s.challenge, r.PeerChallenge, r.NTResponse, string(name), l.Password)
	l.verdict(s, ppp.ProtocolCHAP, p.ID, string(name), ok, proof+" M=welcome")
}

// verdict tells the subscriber.
func (l *LNS) verdict(s *session, p ppp.Protocol, id uint8, user string, ok bool, message string) {
	var b []byte
	switch {
	case p == ppp.ProtocolPAP && ok:
		b = ppp.AppendPAPReply(nil, ppp.PAPAck, id, message)
	case p == ppp.ProtocolPAP:
		b = ppp.AppendPAPReply(nil, ppp.PAPNak, id, "wrong password")
	case ok:
		b = ppp.AppendCHAPReply(nil, ppp.CHAPSuccess, id, message)
	default:
		b = ppp.AppendCHAPReply(nil, ppp.CHAPFailure, id, "E=691 R=0 V=3 M=wrong password")
	}
	l.sendPPP(s, p, b)
	switch {
	case !ok:
		l.Refused++
		return
	case s.authenticated:
		return
	}
	s.authenticated = true
	l.Users = append(l.Users, user)
}

func (l *LNS) askIPCP(s *session) {
	cfg := ppp.IPCPConfig{Address: Local}
	l.sendPPP(s, ppp.ProtocolIPCP, ppp.EndPacket(cfg.Append(ppp.BeginPacket(nil, ppp.ConfigureRequest, 1)), 0))
}

func (l *LNS) ipcp(s *session, p ppp.Packet) {
	if !s.authenticated {
		return
	}
	was := s.ipAsked && s.ipAgreed
	switch p.Code {
	case ppp.ConfigureRequest:
		l.judgeIPCP(s, p)
		if s.ipAsked && !s.ipAgreed {
			l.askIPCP(s)
		}
	case ppp.ConfigureAck:
		s.ipAgreed = true
	}
	if !was && s.ipAsked && s.ipAgreed {
		l.Up++
		if l.Terminate {
			l.sendPPP(s, ppp.ProtocolLCP, ppp.AppendPacket(nil, ppp.TerminateRequest, 99, nil))
		}
	}
}

// judgeIPCP gives address and servers by Configure-Nak.
func (l *LNS) judgeIPCP(s *session, p ppp.Packet) {
	want, err := ppp.ParseIPCPConfig(p.Data)
	if err != nil {
		return
	}
	if !s.address.IsValid() {
		s.address = l.nextAddress()
		l.byAddr[s.address] = s
	}
	var nak ppp.IPCPConfig
	if want.Address != s.address {
		nak.Address = s.address
	}
	for i, a := range want.DNS {
		if a.IsValid() && a != DNS[i] {
			nak.DNS[i] = DNS[i]
		}
	}
	if nak == (ppp.IPCPConfig{}) {
		s.ipAsked = true
		l.sendPPP(s, ppp.ProtocolIPCP, ppp.AppendPacket(nil, ppp.ConfigureAck, p.ID, p.Data))
		return
	}
	l.sendPPP(s, ppp.ProtocolIPCP, ppp.EndPacket(nak.Append(ppp.BeginPacket(nil, ppp.ConfigureNak, p.ID)), 0))
}

// packet goes to the session whose address it is for, or is answered.
func (l *LNS) packet(s *session, b []byte) {
	if len(b) < 20 {
		return
	}
	to := s
	if other := l.byAddr[netip.AddrFrom4([4]byte(b[16:20]))]; other != nil {
		to = other
	} else if !probe.Reflect(b) {
		return
	}
	if l.Mangle != nil {
		b = l.Mangle(b)
	}
	if b != nil {
		l.sendPPP(to, ppp.ProtocolIPv4, b)
	}
}
