package main

import (
	"slices"
	"time"

	"culvert/lac/subscriber"
	"culvert/proto/l2tp"
	"culvert/proto/ppp"
)

// proxyFaults are what can be wrong with what a LAC tells of its negotiation, by the names
// of --proxy-fault; each changes an ICCN with proxy AVPs.
var proxyFaults = map[string]func(*l2tp.Message){
	"none": func(*l2tp.Message) {},
	// The LAC offered more than most LNSs carry.
	"mru": func(m *l2tp.Message) { m.LastSentLCP = setOption(m.LastSentLCP, ppp.OptionMRU, []byte{0x07, 0xd0}) },
	// It agreed to no authentication.
	"no-auth": func(m *l2tp.Message) { m.LastSentLCP = setOption(m.LastSentLCP, ppp.OptionAuth, nil) },
	// The magic number is the same both ways, as on a line that is looped back.
	"loop": func(m *l2tp.Message) {
		if magic := findOption(m.LastReceivedLCP, ppp.OptionMagic); magic != nil {
			m.LastSentLCP = setOption(m.LastSentLCP, ppp.OptionMagic, magic)
		}
	},
	// An option ends in the midst.
	"cut": func(m *l2tp.Message) { m.LastSentLCP = m.LastSentLCP[:len(m.LastSentLCP)-1] },
	// Of what the subscriber wanted nothing is told.
	"half": func(m *l2tp.Message) { m.Unset(l2tp.AVPLastReceivedLCP) },
}

// findOption is the value of an LCP option, nil where it is not there.
func findOption(options []byte, t uint8) []byte {
	for len(options) >= 2 && int(options[1]) >= 2 && int(options[1]) <= len(options) {
		if options[0] == t {
			return options[2:options[1]]
		}
		options = options[options[1]:]
	}
	return nil
}

// setOption gives the options with one of them changed, or, without a value, left out.
func setOption(options []byte, t uint8, value []byte) []byte {
	var out []byte
	for len(options) >= 2 && int(options[1]) >= 2 && int(options[1]) <= len(options) {
		if options[0] != t {
			out = append(out, options[:options[1]]...)
		}
		options = options[options[1]:]
	}
	if value == nil {
		return slices.Clip(out)
	}
	return ppp.AppendOption(out, t, value)
}

// proxyCounters count what the LNS made of proxy AVPs.
type proxyCounters struct {
	LCP  uint64 `json:"lcp"`  // calls in which it negotiated LCP anew
	Auth uint64 `json:"auth"` // calls in which the subscriber had to authenticate to it
}

// proxied fills the proxy AVPs in, and starts the subscriber where the LAC's negotiation has left it.
func (s *session) startProxied(now time.Duration, iccn *l2tp.Message) {
	w, o := s.worker, &s.worker.plan.opt
	p := subscriber.Proxy{Authenticated: o.Proxy == "auth", ID: uint8(w.rnd.Uint64())}
	if len(w.plan.auth) > 0 {
		p.Auth = w.plan.auth[0]
	}
	for i := range p.Challenge {
		p.Challenge[i] = byte(w.rnd.Uint64())
	}
	s.client.StartProxied(now, &w.plan.client, w.plan.user.text(s.number), w.plan.password.text(s.number), w.rnd, &p, iccn)
	proxyFaults[o.ProxyFault](iccn)
}

// sawAnew notes a frame from or to the LNS by which something is negotiated a second time.
func (s *session) sawAnew(frame []byte, sent bool) {
	f, err := ppp.ParseFrame(frame)
	if err != nil || len(f.Payload) == 0 {
		return
	}
	switch code := f.Payload[0]; {
	case f.Protocol == ppp.ProtocolLCP && !sent && code == byte(ppp.ConfigureRequest) && !s.lcpAnew:
		s.lcpAnew = true
		s.worker.count.Proxied.LCP++
	case s.authAnew:
	// Who is asked by CHAP or EAP gets a packet of code 1; by PAP one asks by oneself.
	case (f.Protocol == ppp.ProtocolCHAP || f.Protocol == ppp.ProtocolEAP) && !sent && code == 1, f.Protocol == ppp.ProtocolPAP && sent && code == 1:
		s.authAnew = true
		s.worker.count.Proxied.Auth++
	}
}
