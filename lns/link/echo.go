package link

import (
	"time"

	"culvert/proto/ppp"
)

// lcpEcho answers an Echo-Request and takes a reply as a sign of life. One
// with our own magic number is our own: it is not answered, and no sign of life
// (RFC 1661 section 6.4).
func (l *Link) lcpEcho(now time.Duration, p ppp.Packet, fx *Effects) {
	magic, rest, err := ppp.ParseMagic(p.Data)
	if err != nil || l.lcp.State() != ppp.Opened {
		return
	}
	if magic == l.magic && magic != 0 {
		l.looped = true
		return
	}
	l.echoes, l.looped = 0, false
	lim := l.limits()
	acts := l.lcp.Step(now, &lim, ppp.RXR)
	if acts&ppp.SER == 0 || p.Code != ppp.EchoRequest {
		return
	}
	// 8 octets of the reply are its header and the magic number.
	rest = rest[:min(len(rest), int(l.peerMRU)-8)]
	start := fx.begin(l, ppp.ProtocolLCP)
	fx.arena = ppp.AppendMagic(fx.arena, ppp.EchoReply, p.ID, l.magic, rest)
	fx.end(start)
}

// keepalive sends an Echo-Request, or ends a link whose peer has answered
// none of the last ones.
func (l *Link) keepalive(now time.Duration, fx *Effects) {
	if int(l.echoes) >= l.cfg.EchoFailures {
		r := ReasonEchoTimeout
		if l.looped {
			r = ReasonLoop
		}
		l.abandon(now, r, fx)
		return
	}
	l.echoes++
	l.echoAt = armed(now + l.cfg.EchoInterval)
	start := fx.begin(l, ppp.ProtocolLCP)
	fx.arena = ppp.AppendMagic(fx.arena, ppp.EchoRequest, l.id(), l.magic, nil)
	fx.end(start)
}

// startKeepalive begins the echoes of a link that is up.
func (l *Link) startKeepalive(now time.Duration) {
	l.echoes, l.looped, l.echoAt = 0, false, 0
	if l.cfg.EchoInterval > 0 {
		l.echoAt = armed(now + l.cfg.EchoInterval)
	}
}
