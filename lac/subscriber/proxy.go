package subscriber

import (
	"time"

	"culvert/proto/l2tp"
	"culvert/proto/ppp"
)

// Proxy is what a LAC that negotiated with the client tells the LNS (RFC 2661
// sections 4.4.5 and 6.8), and what the client must know to go on.
type Proxy struct {
	// Auth is what the LAC asked the client for.
	Auth ppp.Auth
	// Authenticated: the client has answered too, not only agreed to LCP.
	Authenticated bool
	// LACName is the name in the LAC's challenge, Challenge its value and ID its identifier.
	Challenge [16]byte
	ID        uint8
}

// proxiedPAPDelay is how long a client whose LCP was proxied waits for the call to be up
// before it sends its PAP request.
const proxiedPAPDelay = 20 * time.Millisecond

// StartProxied begins a link whose LCP a LAC has negotiated, and fills the proxy
// AVPs in m. With p.Authenticated the LAC has the client's credentials as
// well, and the client waits for the LNS's verdict. MS-CHAPv2 cannot be proxied: RFC 2661
// has no type for it.
func (c *Client) StartProxied(now time.Duration, cfg *Config, user, password string, rnd Random, p *Proxy, m *l2tp.Message) {
	c.reset(cfg, user, password, rnd)
	ours := c.appendOptions(nil, ppp.ProtocolLCP)
	lac := ppp.LCPConfig{MRU: 1492, Auth: p.Auth, Magic: c.newMagic()}
	c.takeLCP(&lac)
	c.lcp.Adopt(&cfg.Limits)
	m.InitialLCP, m.LastReceivedLCP, m.LastSentLCP = ours, ours, lac.Append(nil)
	m.Set(l2tp.AVPInitialLCP, l2tp.AVPLastReceivedLCP, l2tp.AVPLastSentLCP)
	c.phase, c.authDeadline = PhaseAuth, now+cfg.AuthRetry
	switch {
	case p.Authenticated:
		c.proxyAuth(p, m)
	case p.Auth == ppp.AuthPAP:
		// The request goes out by Tick, once the call is up.
		c.authID, c.authDeadline = 1, now+proxiedPAPDelay
	}
}

func (c *Client) proxyAuth(p *Proxy, m *l2tp.Message) {
	c.proxied, c.authID = true, p.ID
	m.ProxyAuthName, m.ProxyAuthID = []byte(c.user), uint16(p.ID)
	m.Set(l2tp.AVPProxyAuthType, l2tp.AVPProxyAuthName, l2tp.AVPProxyAuthID, l2tp.AVPProxyAuthResponse)
	if p.Auth == ppp.AuthPAP {
		m.ProxyAuthType, m.ProxyAuthResponse = l2tp.ProxyAuthPAP, []byte(c.password)
		return
	}
	value := ppp.CHAPMD5(p.ID, c.password, p.Challenge[:])
	m.ProxyAuthType, m.ProxyAuthResponse = l2tp.ProxyAuthCHAP, value[:]
	m.ProxyAuthChallenge = append([]byte(nil), p.Challenge[:]...)
	m.Set(l2tp.AVPProxyAuthChallenge)
}
