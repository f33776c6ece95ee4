package link

import (
	"io"
	"time"
)

// Proxy is what the LAC told about its own negotiation with the peer
// (RFC 2661 sections 4.4.5 and 6.8): AVPs 26 to 33. The slices are only read during Start.
type Proxy struct {
	// InitialReceived, LastSent and LastReceived are LCP options of
	// Configure-Requests: the peer's first, the LAC's last, the peer's last.
	InitialReceived, LastSent, LastReceived []byte
	// AuthType is the Proxy Authen Type: 0 absent, 1 textual, 2 CHAP, 3 PAP, 4 none, 5 MS-CHAPv1.
	AuthType uint16
	// AuthName, AuthChallenge, AuthID and AuthResponse are as their AVPs.
	AuthName, AuthChallenge []byte
	AuthID                  uint16
	AuthResponse            []byte
}

// Link is one PPP link. The zero value is ready for Start. All methods are
// for the goroutine that owns the session.
type Link struct {
	cfg    *Config
	rnd    io.Reader
	phase  Phase
	method Method
}

// Start begins the link. rnd gives unpredictable octets and is kept. With a
// proxy that is consistent and fits cfg, LCP is taken as negotiated, and
// proxied credentials come in fx.Auth at once; otherwise, or with nil, LCP
// is negotiated with the peer.
func (l *Link) Start(now time.Duration, cfg *Config, rnd io.Reader, proxy *Proxy, fx *Effects) {}

// Receive takes one PPP frame from the peer, with or without address and
// control, with a protocol of one or two octets. It keeps no reference to frame.
func (l *Link) Receive(now time.Duration, frame []byte, fx *Effects) {}

// Tick does what time asks for. A tick before Deadline does nothing.
func (l *Link) Tick(now time.Duration, fx *Effects) {}

// Deadline is when Tick is wanted next; Never when nothing is waited for.
func (l *Link) Deadline() time.Duration { return Never }

// Grant accepts the peer after Effects.Auth. message goes into the PAP
// Authenticate-Ack or CHAP Success; for MS-CHAPv2 it is the "S=..." string
// of RFC 2759 section 5. In other phases it does nothing.
func (l *Link) Grant(now time.Duration, n Network, message string, fx *Effects) {}

// Deny refuses the peer after Effects.Auth, with a message for its eyes
// (for MS-CHAPv2 either the whole "E=..." string of RFC 2759 section 6, or just the text
// in it), and ends the link. In other phases it does nothing.
func (l *Link) Deny(now time.Duration, message string, fx *Effects) {}

// Close ends the link with a Terminate-Request; Effects.Down follows when
// the peer has acknowledged it or does not answer.
func (l *Link) Close(now time.Duration, fx *Effects) {}

// Phase is where the link stands.
func (l *Link) Phase() Phase { return l.phase }

// Method is how the peer was, or is being, authenticated.
func (l *Link) Method() Method { return l.method }

// PeerMRU is the largest information field that the peer takes, in octets.
func (l *Link) PeerMRU() uint16 { return 1500 }

// MTU is the largest IP packet to send to the peer: the least of its MRU
// and what Grant said.
func (l *Link) MTU() uint16 { return 1500 }

// Magic is our magic number; 0 when none was agreed.
func (l *Link) Magic() uint32 { return 0 }

// ACFC and PFC say that frames go to the peer without address and control,
// and with a one-octet protocol where there is one (RFC 1661 sections 6.5 and 6.6).
func (l *Link) ACFC() bool { return false }

// PFC: see ACFC.
func (l *Link) PFC() bool { return false }
