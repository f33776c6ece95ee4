package link

import (
	"encoding/binary"
	"errors"
	"slices"

	"culvert/proto/ppp"
)

// maxLoops is how many requests with our own magic number make a loop: the
// chance that a peer draws ours even twice is nil.
const maxLoops = 5

// verdict collects the options of a Configure-Request that we refuse.
type verdict struct {
	nak, reject []byte
	// mayNak is unset when Naks have to become Rejects (Max-Failure).
	mayNak bool
	// loop is the Nak of a magic number that is our own; nothing else
	// matters then, and a Reject would come back to refuse our own request.
	loop []byte
	// seen has a bit for each type that came: the RFC allows one of each.
	seen [4]uint64
}

// repeated reports whether an option of this type came before.
func (v *verdict) repeated(typ uint8) bool {
	bit := uint64(1) << (typ % 64)
	again := v.seen[typ/64]&bit != 0
	v.seen[typ/64] |= bit
	return again
}

// each judges options, which are whole; a second one of a type is refused.
func (v *verdict) each(options []byte, judge func(ppp.Option)) {
	for len(options) > 0 {
		var o ppp.Option
		o, options, _ = ppp.NextOption(options)
		if v.repeated(o.Type) {
			v.refuse(o)
			continue
		}
		judge(o)
	}
}

// refuse says no to an option whatever its value.
func (v *verdict) refuse(o ppp.Option) {
	v.reject = ppp.AppendOption(v.reject, o.Type, o.Value)
}

// prefer says no to an option's value and names a better one.
func (v *verdict) prefer(o ppp.Option, value []byte) {
	if !v.mayNak {
		v.refuse(o)
		return
	}
	v.nak = ppp.AppendOption(v.nak, o.Type, value)
}

// packet is the refusal: Rejects go before Naks (RFC 1661 section 5.4); the
// zero Packet means that all is well.
func (v *verdict) packet() ppp.Packet {
	switch {
	case len(v.loop) > 0:
		return ppp.Packet{Code: ppp.ConfigureNak, Data: v.loop}
	case len(v.reject) > 0:
		return ppp.Packet{Code: ppp.ConfigureReject, Data: v.reject}
	case len(v.nak) > 0:
		return ppp.Packet{Code: ppp.ConfigureNak, Data: v.nak}
	}
	return ppp.Packet{}
}

// judgeLCP looks at a Configure-Request's options, which are whole, and
// returns the refusal, or the zero Packet when they are acceptable;
// neg.offered is what they say.
func (l *Link) judgeLCP(options []byte, mayNak bool) ppp.Packet {
	v := verdict{mayNak: mayNak}
	l.neg.offered = ppp.LCPConfig{}
	v.each(options, func(o ppp.Option) { l.judgeLCPOption(&v, o) })
	return v.packet()
}

// judgeLCPOption judges one option and notes it in neg.offered.
func (l *Link) judgeLCPOption(v *verdict, o ppp.Option) {
	c := &l.neg.offered
	err := c.Set(o)
	bad := errors.Is(err, ppp.ErrOptionValue)
	switch o.Type {
	case ppp.OptionMRU:
		if bad || c.MRU < minMRU {
			v.prefer(o, binary.BigEndian.AppendUint16(nil, ppp.DefaultMRU))
		}
	case ppp.OptionACCM:
		if bad {
			v.prefer(o, make([]byte, 4))
		}
	case ppp.OptionMagic:
		l.judgeMagic(v, o, bad)
	case ppp.OptionPFC:
		judgeFlag(v, o, bad, l.cfg.RejectPFC)
	case ppp.OptionACFC:
		judgeFlag(v, o, bad, l.cfg.RejectACFC)
	default:
		// An LNS proves itself to no subscriber and reports no quality:
		// Authentication- and Quality-Protocol are refused like unknown ones.
		v.refuse(o)
	}
}

// judgeFlag judges an option without a value.
func judgeFlag(v *verdict, o ppp.Option, bad, unwanted bool) {
	switch {
	case unwanted:
		v.refuse(o)
	case bad:
		v.prefer(o, nil)
	}
}

// judgeMagic judges the peer's magic number: our own means that the line
// may be looped back (RFC 1661 section 6.4).
func (l *Link) judgeMagic(v *verdict, o ppp.Option, bad bool) {
	own := l.neg.want.Magic
	if !bad && (l.neg.offered.Magic != own || own == 0) {
		return
	}
	other := binary.BigEndian.AppendUint32(nil, l.random32())
	if bad {
		v.prefer(o, other)
		return
	}
	l.neg.loops++
	v.loop = ppp.AppendOption(nil, o.Type, other)
}

// lcpNaked takes what the peer would rather have in our request; false
// means that it knows none of our authentication methods.
func (l *Link) lcpNaked(options []byte) bool {
	n := l.neg
	for len(options) > 0 {
		var o ppp.Option
		o, options, _ = ppp.NextOption(options)
		var c ppp.LCPConfig
		if err := c.Set(o); err != nil && o.Type != ppp.OptionAuth && o.Type != ppp.OptionMagic {
			continue
		}
		switch o.Type {
		case ppp.OptionMRU:
			n.want.MRU = max(min(c.MRU, l.cfg.MRU), minMRU)
		case ppp.OptionMagic:
			if n.want.Magic != 0 {
				n.want.Magic = l.random32()
			}
		case ppp.OptionAuth:
			if n.want.Auth != (ppp.Auth{}) && !l.nextMethod(c.Auth) {
				return false
			}
		}
	}
	return true
}

// nextMethod proposes the method that the peer named if we may use it, else
// our next one that it has not refused.
func (l *Link) nextMethod(named ppp.Auth) bool {
	n := l.neg
	n.refused |= 1 << methodOf(n.want.Auth)
	open := func(m Method) bool { return n.refused&(1<<m) == 0 }
	if m := methodOf(named); m != MethodNone && open(m) && slices.Contains(l.cfg.Auth, m) {
		n.want.Auth = named
		return true
	}
	i := slices.IndexFunc(l.cfg.Auth, open)
	if i >= 0 {
		n.want.Auth = wireAuth(l.cfg.Auth[i])
	}
	return i >= 0
}

// lcpAsked reports whether all options of a Configure-Reject were in our
// request, as they have to be.
func (l *Link) lcpAsked(options []byte) bool {
	for len(options) > 0 {
		var o ppp.Option
		o, options, _ = ppp.NextOption(options)
		want := &l.neg.want
		asked := o.Type == ppp.OptionMRU && want.MRU != 0 ||
			o.Type == ppp.OptionMagic && want.Magic != 0 ||
			o.Type == ppp.OptionAuth && want.Auth != (ppp.Auth{})
		if !asked {
			return false
		}
	}
	return true
}

// lcpRejected leaves out of our request what the peer rejected; false means
// that it will not authenticate.
func (l *Link) lcpRejected(options []byte) bool {
	for len(options) > 0 {
		var o ppp.Option
		o, options, _ = ppp.NextOption(options)
		switch o.Type {
		case ppp.OptionMRU:
			l.neg.want.MRU = 0
		case ppp.OptionMagic:
			l.neg.want.Magic = 0
		case ppp.OptionAuth:
			return false
		}
	}
	return true
}
