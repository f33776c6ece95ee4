// Package subscriber is the far end of a PPP link: what a customer's router
// does with its provider. LCP, PAP, CHAP-MD5, MS-CHAPv2 and EAP as the one who is
// authenticated, IPCP with DNS servers, echo replies and termination. It has no
// clock, I/O or goroutine: a step takes the time and an event and puts what it
// wants done into Effects.
package subscriber

import (
	"net/netip"
	"time"

	"culvert/proto/ppp"
)

// Never is the Deadline of a client that waits for nothing.
const Never = ppp.Never

// Config is shared by many clients and not changed once one has it.
type Config struct {
	// Auth are the authentication protocols the client agrees to; the first
	// is what it proposes instead of another. With none it refuses all.
	Auth []ppp.Auth
	// EAP are the methods of EAP that the client agrees to, the preferred one first; none
	// means all that EAPPeer knows.
	EAP []ppp.EAPType
	// MRU goes into LCP unless it is 0, in octets.
	MRU uint16
	// Compress asks for ACFC and PFC, and uses them where the peer asked.
	Compress bool
	// DNS asks for two DNS servers.
	DNS bool
	// Limits are the negotiation's timers and counters.
	Limits ppp.Limits
	// AuthRetry is the time after which a PAP request is repeated, and AuthTries how
	// often it is sent. CHAP waits for a challenge and for its result just as long
	// altogether.
	AuthRetry time.Duration
	AuthTries int
}

// DefaultConfig agrees to every protocol and asks for DNS servers.
func DefaultConfig() Config {
	return Config{
		Auth: []ppp.Auth{ppp.AuthCHAP, ppp.AuthMSCHAPv2, ppp.AuthPAP}, MRU: 1492, DNS: true,
		Limits: ppp.DefaultLimits(), AuthRetry: 3 * time.Second, AuthTries: 10,
	}
}

// Phase is where a link stands.
type Phase uint8

// The phases, in the order of a link's life.
const (
	PhaseIdle Phase = iota
	PhaseLCP
	PhaseAuth
	PhaseNetwork
	PhaseUp
	PhaseClosing
	PhaseDown
)

// String gives the phase's name.
func (p Phase) String() string {
	return [...]string{"idle", "LCP", "authentication", "IPCP", "up", "closing", "down"}[min(p, PhaseDown)]
}

// Random yields unpredictable numbers; math/rand/v2's generators do.
type Random interface{ Uint64() uint64 }

// Client is one subscriber's link. The zero value is ready for Start, and one
// that is down may be started again. It belongs to one goroutine.
type Client struct {
	cfg            *Config
	rnd            Random
	user, password string

	lcp, ipcp ppp.Automaton
	phase     Phase
	// closing is the reason of Down, known before it when a Terminate-Request is to be answered first.
	closing Reason

	// What LCP settled.
	magic, peerMagic uint32
	peerMRU          uint16
	peerAuth         ppp.Auth
	skip             options // of ours, that the peer rejected
	acfc, pfc        bool    // what the peer asked for

	// Authentication.
	authID       uint8
	authTries    uint8
	proxied      bool // the LAC has answered for us
	authDeadline time.Duration
	proof        *proof // what MS-CHAPv2's Success must prove
	eap          *EAPPeer

	// What IPCP settled.
	address, peerAddress [4]byte
	dns                  [2][4]byte

	nextID uint8 // for packets that are no automaton's requests
}

// options is a set of options of both protocols.
type options uint8

const (
	optMRU options = 1 << iota
	optMagic
	optPFC
	optACFC
	optDNS1
	optDNS2
	optAddress
)

// Start begins the negotiation. rnd is kept.
func (c *Client) Start(now time.Duration, cfg *Config, user, password string, rnd Random, fx *Effects) {
	c.reset(cfg, user, password, rnd)
	c.phase = PhaseLCP
	c.step(now, ppp.ProtocolLCP, ppp.Open, answer{}, fx)
	c.step(now, ppp.ProtocolLCP, ppp.Up, answer{}, fx)
}

func (c *Client) reset(cfg *Config, user, password string, rnd Random) {
	*c = Client{cfg: cfg, rnd: rnd, user: user, password: password, peerMRU: ppp.DefaultMRU}
	c.magic = c.newMagic()
	if cfg.MRU == 0 {
		c.skip |= optMRU
	}
	if !cfg.Compress {
		c.skip |= optPFC | optACFC
	}
	if !cfg.DNS {
		c.skip |= optDNS1 | optDNS2
	}
}

func (c *Client) newMagic() uint32 { return max(uint32(c.rnd.Uint64()), 1) }

// Receive takes one PPP frame from the peer. An IPv4 packet ends up in fx.Packet
// when the link is up.
func (c *Client) Receive(now time.Duration, frame []byte, fx *Effects) {
	if c.phase == PhaseIdle || c.phase == PhaseDown {
		return
	}
	f, err := ppp.ParseFrame(frame)
	if err != nil {
		fx.Malformed++
		return
	}
	switch f.Protocol {
	case ppp.ProtocolIPv4:
		if c.phase == PhaseUp {
			fx.Packet = f.Payload
		}
	case ppp.ProtocolLCP:
		c.control(now, f, fx)
	case ppp.ProtocolIPCP:
		// A Success may have been lost (RFC 3748 section 4.2).
		if c.phase == PhaseAuth && (c.proxied || c.eap != nil && c.eap.Done()) {
			c.authenticated(now, fx)
		}
		if c.phase == PhaseNetwork || c.phase == PhaseUp {
			c.control(now, f, fx)
		}
	case ppp.ProtocolPAP:
		c.receivePAP(now, f.Payload, fx)
	case ppp.ProtocolCHAP:
		c.receiveCHAP(now, f.Payload, fx)
	case ppp.ProtocolEAP:
		c.receiveEAP(now, f.Payload, fx)
	default:
		c.rejectProtocol(f, fx)
	}
}

// rejectProtocol answers a protocol that the client does not speak (RFC 1661 section 5.7).
func (c *Client) rejectProtocol(f ppp.Frame, fx *Effects) {
	if c.lcp.State() != ppp.Opened {
		return
	}
	c.nextID++
	b := fx.begin(c, ppp.ProtocolLCP)
	fx.end(ppp.AppendProtocolReject(b, c.nextID, f.Protocol, f.Payload, int(c.peerMRU)))
}

// Tick does what is due: retransmissions and giving up.
func (c *Client) Tick(now time.Duration, fx *Effects) {
	if c.phase == PhaseIdle || c.phase == PhaseDown {
		return
	}
	for _, p := range [...]ppp.Protocol{ppp.ProtocolLCP, ppp.ProtocolIPCP} {
		if e, due := c.automaton(p).Timeout(now, &c.cfg.Limits); due {
			c.step(now, p, e, answer{}, fx)
		}
	}
	if c.authDeadline != 0 && now >= c.authDeadline && c.phase == PhaseAuth {
		c.authTimeout(now, fx)
	}
}

// Deadline is when Tick is wanted next.
func (c *Client) Deadline() time.Duration {
	if c.phase == PhaseIdle || c.phase == PhaseDown {
		return Never
	}
	d := min(c.lcp.Deadline(), c.ipcp.Deadline())
	if c.authDeadline != 0 {
		d = min(d, c.authDeadline)
	}
	return d
}

// Close ends the link with a Terminate-Request. Down follows when the peer has
// acknowledged, or does not answer.
func (c *Client) Close(now time.Duration, fx *Effects) { c.close(now, ReasonLocal, fx) }

func (c *Client) close(now time.Duration, r Reason, fx *Effects) {
	if c.phase == PhaseIdle || c.phase >= PhaseClosing {
		return
	}
	c.phase, c.closing, c.authDeadline = PhaseClosing, r, 0
	c.step(now, ppp.ProtocolIPCP, ppp.Down, answer{}, fx)
	c.step(now, ppp.ProtocolLCP, ppp.Close, answer{}, fx)
}

// down is the end of the link.
func (c *Client) down(r Reason, fx *Effects) {
	if c.phase == PhaseDown {
		return
	}
	if c.closing != ReasonNone {
		r = c.closing
	}
	c.phase, c.closing, c.proof = PhaseDown, r, nil
	fx.Down, fx.Reason = true, r
}

// Send appends a frame with an IPv4 packet to fx. The link is up.
func (c *Client) Send(packet []byte, fx *Effects) {
	fx.end(append(fx.begin(c, ppp.ProtocolIPv4), packet...))
}

// AppendHeader appends the header of a frame with an IPv4 packet, for who builds the
// packet behind it.
func (c *Client) AppendHeader(dst []byte) []byte {
	return c.appendHeader(dst, ppp.ProtocolIPv4)
}

func (c *Client) appendHeader(dst []byte, p ppp.Protocol) []byte {
	short := c.cfg.Compress && c.lcp.State() == ppp.Opened
	return ppp.AppendHeader(dst, p, short && c.acfc, short && c.pfc)
}

// Reason is why the link has ended or is being ended.
func (c *Client) Reason() Reason { return c.closing }

// Phase is where the link stands.
func (c *Client) Phase() Phase { return c.phase }

// Auth is the authentication protocol that the peer asked for.
func (c *Client) Auth() ppp.Auth { return c.peerAuth }

// PeerMRU is the longest packet that the peer takes, in octets.
func (c *Client) PeerMRU() uint16 { return c.peerMRU }

// Address is the client's IPv4 address, PeerAddress its peer's and DNS its servers;
// each is 0.0.0.0 where there is none.
func (c *Client) Address() netip.Addr { return netip.AddrFrom4(c.address) }

// PeerAddress is the peer's IPv4 address.
func (c *Client) PeerAddress() netip.Addr { return netip.AddrFrom4(c.peerAddress) }

// DNS are the DNS servers.
func (c *Client) DNS() [2]netip.Addr {
	return [2]netip.Addr{netip.AddrFrom4(c.dns[0]), netip.AddrFrom4(c.dns[1])}
}
