package link

import (
	"fmt"
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

// ProxyPolicy says what becomes of a Proxy.
type ProxyPolicy uint8

// The policies. Whatever can be taken under one is used as it is: no second
// LCP, no second challenge.
const (
	// ProxyOnMismatch takes what we would have agreed to. LCP is negotiated
	// anew when its options are not that, the authentication when its
	// AVPs are of no use.
	ProxyOnMismatch ProxyPolicy = iota
	// ProxyAccept also takes options that we would not have agreed to and
	// can live with: an MRU larger than ours, compression that we refuse.
	ProxyAccept
	// ProxyStrict ends a link whose proxy is not what we would have agreed to.
	ProxyStrict
	// ProxyAlways takes nothing: LCP and authentication are always done anew.
	ProxyAlways
)

// flaw is what is wrong with a proxy.
type flaw struct {
	// why says it in words; empty is no flaw.
	why string
	// tolerable flaws are those that ProxyAccept lives with.
	tolerable bool
}

// adopt does with the LAC's negotiation what the policy says, and reports
// whether it has dealt with LCP; if not, nothing has been sent.
func (l *Link) adopt(now time.Duration, p *Proxy, fx *Effects) bool {
	policy := l.cfg.Proxy
	if policy == ProxyAlways {
		return false
	}
	sent, received, lcp := l.proxiedLCP(p)
	m := methodOf(sent.Auth)
	creds, auth := proxiedAuth(p, m)
	if policy == ProxyStrict && lcp.why+auth.why != "" {
		why := lcp.why
		if why == "" {
			why = auth.why
		}
		fx.Detail = "proxy: " + why
		l.finish(ReasonProxyMismatch, fx)
		return true
	}
	if lcp.why != "" && !(policy == ProxyAccept && lcp.tolerable) {
		if m != MethodNone && slices.Contains(l.cfg.Auth, m) {
			// The peer has agreed to this method once.
			l.neg.want.Auth = sent.Auth
		}
		return false
	}
	lim := l.limits()
	l.lcp.Adopt(&lim)
	l.neg.want, l.neg.peer = sent, received
	l.agree()
	if creds == nil {
		l.startAuth(now, fx)
	} else {
		l.adoptAuth(creds, fx)
	}
	return true
}

// adoptAuth takes the LAC's authentication as this link's: its identifier
// and challenge are what the verdict will answer.
func (l *Link) adoptAuth(creds *Credentials, fx *Effects) {
	l.phase, l.method, l.authID = PhaseAuthenticating, creds.Method, creds.ID
	if len(creds.Challenge) == len(l.neg.challenge) {
		copy(l.neg.challenge[:], creds.Challenge)
	}
	l.ask(creds, fx)
}

// proxiedLCP reads and judges the options both ways. Ours are what the LAC sent
// last, the peer's what it received last; the LAC acknowledged one and got
// the other acknowledged.
func (l *Link) proxiedLCP(p *Proxy) (sent, received ppp.LCPConfig, f flaw) {
	var err error
	if sent, err = ppp.ParseLCPConfig(p.LastSent); err != nil {
		return sent, received, flaw{why: fmt.Sprintf("Last Sent LCP CONFREQ: %v", err)}
	}
	if p.LastSent == nil {
		return sent, received, flaw{why: "Last Sent LCP CONFREQ is absent"}
	}
	if p.LastReceived == nil {
		return sent, received, flaw{why: "Last Received LCP CONFREQ is absent"}
	}
	if received, err = ppp.ParseLCPConfig(p.LastReceived); err != nil {
		return sent, received, flaw{why: fmt.Sprintf("Last Received LCP CONFREQ: %v", err)}
	}
	if f = l.judgeProxySent(&sent); f.why == "" || f.tolerable {
		if g := l.judgeProxyReceived(&received); f.why == "" || g.why != "" && !g.tolerable {
			f = g
		}
	}
	if sent.Magic != 0 && sent.Magic == received.Magic {
		f = flaw{why: "the same magic number both ways"}
	}
	return sent, received, f
}

// judgeProxySent judges what the LAC asked for in our name.
func (l *Link) judgeProxySent(c *ppp.LCPConfig) flaw {
	mru := c.MRU
	if mru == 0 {
		mru = ppp.DefaultMRU
	}
	m := methodOf(c.Auth)
	switch known := slices.Contains(l.cfg.Auth, m) || len(l.cfg.Auth) == 0 && c.Auth == (ppp.Auth{}); {
	case !known:
		return flaw{why: fmt.Sprintf("authentication by %v, which is not asked for here", c.Auth)}
	case c.Quality != 0:
		return flaw{why: "link quality reports"}
	case mru < minMRU:
		return flaw{why: fmt.Sprintf("MRU %d is less than %d", mru, minMRU)}
	case mru > l.cfg.MRU:
		return flaw{fmt.Sprintf("MRU %d is more than %d", mru, l.cfg.MRU), true}
	}
	return flaw{}
}

// judgeProxyReceived judges what the LAC acknowledged in our name.
func (l *Link) judgeProxyReceived(c *ppp.LCPConfig) flaw {
	switch {
	case c.Auth != (ppp.Auth{}):
		return flaw{why: "the peer wants us to authenticate"}
	case c.Quality != 0:
		return flaw{why: "the peer wants link quality reports"}
	case c.MRU != 0 && c.MRU < minMRU:
		return flaw{why: fmt.Sprintf("the peer's MRU %d is less than %d", c.MRU, minMRU)}
	case c.PFC && l.cfg.RejectPFC:
		return flaw{"protocol field compression is refused here", true}
	case c.ACFC && l.cfg.RejectACFC:
		return flaw{"address and control field compression is refused here", true}
	}
	return flaw{}
}

// proxiedAuth makes credentials of the LAC's authentication, which has to fit
// the method m that LCP agreed on. They are nil when the peer is still to be
// asked: without a flaw where the LAC did no authentication.
func proxiedAuth(p *Proxy, m Method) (*Credentials, flaw) {
	c := &Credentials{Method: m, User: string(p.AuthName), ID: uint8(p.AuthID)}
	fits := false
	switch p.AuthType {
	case ProxyAuthAbsent, ProxyAuthNone:
		return nil, flaw{}
	case ProxyAuthPAP:
		c.Password = append([]byte{}, p.AuthResponse...)
		fits = m == MethodPAP && p.AuthResponse != nil
	case ProxyAuthCHAP:
		c.Challenge = append([]byte{}, p.AuthChallenge...)
		c.Response = append([]byte{}, p.AuthResponse...)
		fits = len(c.Challenge) > 0 && len(c.Response) == responseLen(m) &&
			(m == MethodCHAP || m == MethodMSCHAPv2 && len(c.Challenge) == 16)
	}
	if !fits {
		return nil, flaw{why: fmt.Sprintf("Proxy Authen Type %d with %d octets of challenge and %d of response does not fit %v",
			p.AuthType, len(p.AuthChallenge), len(p.AuthResponse), m)}
	}
	return c, flaw{}
}
