package link

import (
	"io"
	"time"

	"culvert/proto/ppp"
)

// Link is one PPP link. The zero value is ready for Start. All methods are
// for the goroutine that owns the session.
type Link struct {
	// cfg and rnd are as given to Start.
	cfg *Config
	rnd io.Reader
	// neg is what only negotiation needs; nil when the link is up.
	neg *negotiation

	lcp, ipcp ppp.Automaton

	// echoAt is when the keepalive acts next; 0 is never. echoes counts
	// Echo-Requests since the last sign of life.
	echoAt time.Duration
	// magic is ours as agreed, accm the peer's wish, ownACCM ours.
	magic, accm, ownACCM uint32
	// net is what Grant gave, ready for a renegotiation.
	net addresses
	// peerMRU is the peer's as agreed, mtu Grant's.
	peerMRU, mtu uint16
	// serial is that of the last Credentials.
	serial uint16
	// budgetSecond is the second that rejects counts packets in.
	budgetSecond uint32
	rejects      uint8
	echoes       uint8

	phase  Phase
	method Method
	auth   authState
	reason Reason
	// authID is the identifier of the authentication in hand, nextID the
	// one for the next packet that needs any.
	authID, nextID uint8
	// acfc and pfc say how frames go to the peer; looped that an echo came
	// back with our magic number.
	acfc, pfc, looped bool
}

// negotiation is the part of a link that is dropped when it is up. Its times
// are 0 where nothing is waited for.
type negotiation struct {
	// setupAt ends the set-up, authAt the wait for credentials; resendAt
	// repeats the challenge, patienceAt ends a link whose peer terminated
	// in the middle of LCP.
	setupAt, authAt, resendAt, patienceAt time.Duration
	// resends is how many transmissions of the challenge are left.
	resends uint8

	// want is our Configure-Request; peer what we acknowledged of theirs,
	// offered what their last request says.
	want, peer, offered ppp.LCPConfig
	// refused has a bit for each Method that the peer would not use, loops counts
	// requests with our own magic number.
	refused, loops uint8

	// challenge is CHAP's, answer the message that went with our verdict.
	challenge [16]byte
	answer    string
	// eap is set while EAP is the method.
	eap *eapState

	// noAddress says that the peer rejected our IP-Address option, nagged
	// that we asked for the peer's once, heardIPCP that the peer has come
	// to the network phase.
	noAddress, nagged, heardIPCP bool
	// heardLCP says the same of LCP; askedAt is when our Configure-Request was last sent.
	heardLCP bool
	askedAt  time.Duration
}

// Start begins the link. rnd gives unpredictable octets and is kept. Of a
// proxy is taken what cfg.Proxy says: LCP as negotiated, and proxied
// credentials in fx.Auth at once; with the rest, or with nil, the link
// begins as if there were none. cfg has passed Validate.
func (l *Link) Start(now time.Duration, cfg *Config, rnd io.Reader, proxy *Proxy, fx *Effects) {
	*l = Link{cfg: cfg, rnd: rnd, phase: PhaseLCP, peerMRU: ppp.DefaultMRU}
	l.renew(now)
	if proxy != nil && l.adopt(now, proxy, fx) {
		return
	}
	l.stepLCP(now, ppp.Open, incoming{}, fx)
	l.stepLCP(now, ppp.Up, incoming{}, fx)
}

// renew makes the negotiation's part anew, unless it is there: a
// renegotiation before the link was up gets no more time.
func (l *Link) renew(now time.Duration) {
	if l.neg != nil {
		return
	}
	l.neg = &negotiation{setupAt: armed(now + l.cfg.SetupTimeout)}
	l.neg.want = ppp.LCPConfig{MRU: l.cfg.MRU, Magic: l.random32()}
	if l.cfg.MRU == ppp.DefaultMRU {
		l.neg.want.MRU = 0
	}
	if len(l.cfg.Auth) > 0 {
		first := l.cfg.Auth[0]
		if l.method != MethodNone {
			first = l.method
		}
		l.neg.want.Auth = wireAuth(first)
	}
}

// Receive takes one PPP frame from the peer, with or without address and
// control, with a protocol of one or two octets. It keeps no reference to frame.
func (l *Link) Receive(now time.Duration, frame []byte, fx *Effects) {
	if l.phase == PhaseIdle || l.phase == PhaseDown {
		return
	}
	f, err := ppp.ParseFrame(frame)
	if err != nil {
		return
	}
	if f.AddressControl && f.Protocol != ppp.ProtocolLCP {
		// Some LACs put FF 03 on every frame whatever was agreed, and need it back. Who
		// may leave it out may also send it (RFC 1661 section 6.6).
		l.acfc = false
	}
	switch f.Protocol {
	case ppp.ProtocolLCP:
		l.receiveLCP(now, f.Payload, fx)
	case ppp.ProtocolPAP, ppp.ProtocolCHAP, ppp.ProtocolEAP:
		l.receiveAuth(now, f, fx)
	case ppp.ProtocolIPCP:
		l.receiveIPCP(now, f.Payload, fx)
	case ppp.ProtocolIPv4:
		// The plane forwards these; one that comes here came too early.
	default:
		l.rejectProtocol(now, f, fx)
	}
}

// Phase is where the link stands.
func (l *Link) Phase() Phase { return l.phase }

// Method is how the peer was, or is being, authenticated.
func (l *Link) Method() Method { return l.method }

// PeerMRU is the largest information field that the peer takes, in octets.
func (l *Link) PeerMRU() uint16 { return l.peerMRU }

// PeerACCM are the control characters that the peer's line wants escaped, for
// the Set-Link-Info to a LAC with asynchronous lines (RFC 2661 section 6.14).
func (l *Link) PeerACCM() uint32 { return l.accm }

// OwnACCM are the control characters that the peer escapes in what it sends.
func (l *Link) OwnACCM() uint32 { return l.ownACCM }

// MTU is the largest IP packet to send to the peer, in octets: the least of its MRU, what Grant
// said, and the MRU of the configuration, since the way between the two carries no more in one
// direction than in the other.
func (l *Link) MTU() uint16 {
	least := l.peerMRU
	if l.cfg != nil && l.cfg.MRU != 0 { // a link that has not started has none
		least = min(least, l.cfg.MRU)
	}
	if l.mtu != 0 {
		least = min(least, l.mtu)
	}
	return least
}

// Magic is our magic number; 0 when none was agreed.
func (l *Link) Magic() uint32 { return l.magic }

// ACFC and PFC say that frames go to the peer without address and control,
// and with a one-octet protocol where there is one (RFC 1661 sections 6.5 and 6.6).
func (l *Link) ACFC() bool { return l.acfc }

// PFC: see ACFC.
func (l *Link) PFC() bool { return l.pfc }

// limits are the automata's, from the configuration.
func (l *Link) limits() ppp.Limits {
	c := l.cfg
	return ppp.Limits{
		RestartFirst: c.RestartFirst, Restart: c.Restart,
		MaxConfigure: c.MaxConfigure, MaxTerminate: c.MaxTerminate, MaxFailure: c.MaxFailure,
	}
}

// random fills b; it reports false where the source failed.
func (l *Link) random(b []byte) bool {
	_, err := io.ReadFull(l.rnd, b)
	return err == nil
}

// random32 is a magic number: not zero, unless the source of randomness
// failed, and then the option is left out.
func (l *Link) random32() uint32 {
	var b [4]byte
	for range 4 {
		if !l.random(b[:]) {
			return 0
		}
		if v := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]); v != 0 {
			return v
		}
	}
	return 1
}
