package link

import (
	"slices"
	"time"

	"culvert/proto/ppp"
)

// Proxy is what the LAC told about its own negotiation with the peer
// (RFC 2661 sections 4.4.5 and 6.8): AVPs 26 to 33. The slices are only read
// during Start; a nil one is an AVP that was absent.
type Proxy struct {
	// InitialReceived, LastSent and LastReceived are LCP options of
	// Configure-Requests: the peer's first, the LAC's last, the peer's last.
	InitialReceived, LastSent, LastReceived []byte
	// AuthType is the Proxy Authen Type.
	AuthType uint16
	// AuthName, AuthChallenge, AuthID and AuthResponse are as their AVPs.
	AuthName, AuthChallenge []byte
	AuthID                  uint16
	AuthResponse            []byte
}

// The values of the Proxy Authen Type AVP (RFC 2661 section 4.4.5).
const (
	ProxyAuthAbsent   uint16 = 0
	ProxyAuthTextual  uint16 = 1
	ProxyAuthCHAP     uint16 = 2
	ProxyAuthPAP      uint16 = 3
	ProxyAuthNone     uint16 = 4
	ProxyAuthMSCHAPv1 uint16 = 5
)

// adopt takes the LAC's negotiation as this link's, if all of it is what we
// could have agreed to ourselves; else it changes nothing.
func (l *Link) adopt(now time.Duration, p *Proxy, fx *Effects) bool {
	sent, received, ok := l.proxiedLCP(p)
	if !ok {
		return false
	}
	creds, ok := l.proxiedAuth(p, methodOf(sent.Auth))
	if !ok {
		return false
	}
	lim := l.limits()
	l.lcp.Adopt(&lim)
	l.neg.want, l.neg.peer = sent, received
	l.agree()
	if creds == nil {
		l.startAuth(now, fx)
		return true
	}
	l.phase, l.method, l.authID = PhaseAuthenticating, creds.Method, creds.ID
	if len(creds.Challenge) == len(l.neg.challenge) {
		copy(l.neg.challenge[:], creds.Challenge)
	}
	l.ask(creds, fx)
	return true
}

// proxiedLCP checks the options both ways. Ours are what the LAC sent last,
// the peer's what it received last; the LAC acknowledged one and got the
// other acknowledged.
func (l *Link) proxiedLCP(p *Proxy) (sent, received ppp.LCPConfig, ok bool) {
	if p.LastSent == nil || p.LastReceived == nil {
		return sent, received, false
	}
	sent, err := ppp.ParseLCPConfig(p.LastSent)
	if err != nil {
		return sent, received, false
	}
	received, err = ppp.ParseLCPConfig(p.LastReceived)
	if err != nil {
		return sent, received, false
	}
	mru := sent.MRU
	if mru == 0 {
		mru = ppp.DefaultMRU
	}
	m := methodOf(sent.Auth)
	known := slices.Contains(l.cfg.Auth, m) || len(l.cfg.Auth) == 0 && sent.Auth == ppp.Auth{}
	ok = known && mru >= minMRU && mru <= l.cfg.MRU && sent.Quality == 0 && l.couldAgree(&received) &&
		(sent.Magic == 0 || sent.Magic != received.Magic)
	return sent, received, ok
}

// couldAgree reports whether we would have acknowledged the peer's options.
func (l *Link) couldAgree(c *ppp.LCPConfig) bool {
	return c.Auth == ppp.Auth{} && c.Quality == 0 && (c.MRU == 0 || c.MRU >= minMRU) &&
		!(c.PFC && l.cfg.RejectPFC) && !(c.ACFC && l.cfg.RejectACFC)
}

// proxiedAuth makes credentials of the LAC's authentication; nil when it
// did none and the peer is still to be asked. ok is unset when they do not
// fit the method that LCP agreed on.
func (l *Link) proxiedAuth(p *Proxy, m Method) (c *Credentials, ok bool) {
	c = &Credentials{
		Method: m, User: string(p.AuthName), ID: uint8(p.AuthID),
	}
	switch p.AuthType {
	case ProxyAuthAbsent, ProxyAuthNone:
		return nil, true
	case ProxyAuthPAP:
		c.Password = append([]byte{}, p.AuthResponse...)
		return c, m == MethodPAP && p.AuthResponse != nil
	case ProxyAuthCHAP:
		c.Challenge = append([]byte{}, p.AuthChallenge...)
		c.Response = append([]byte{}, p.AuthResponse...)
		fits := len(c.Challenge) > 0 && len(c.Response) == responseLen(m)
		return c, fits && (m == MethodCHAP || m == MethodMSCHAPv2 && len(c.Challenge) == 16)
	}
	return nil, false
}
