package subscriber

import (
	"encoding/binary"
	"errors"
	"time"

	"culvert/proto/ppp"
)

// minMRU is the least MRU that the client agrees to, in octets.
const minMRU = 128

// appendOptions appends the options of the client's Configure-Request.
func (c *Client) appendOptions(dst []byte, p ppp.Protocol) []byte {
	has := func(o options) bool { return c.skip&o == 0 }
	if p == ppp.ProtocolLCP {
		cfg := ppp.LCPConfig{PFC: has(optPFC), ACFC: has(optACFC)}
		if has(optMRU) {
			cfg.MRU = c.cfg.MRU
		}
		if has(optMagic) {
			cfg.Magic = c.magic
		}
		return cfg.Append(dst)
	}
	if has(optAddress) {
		dst = ppp.AppendOption(dst, ppp.OptionIPAddress, c.address[:])
	}
	if has(optDNS1) {
		dst = ppp.AppendOption(dst, ppp.OptionPrimaryDNS, c.dns[0][:])
	}
	if has(optDNS2) {
		dst = ppp.AppendOption(dst, ppp.OptionSecondaryDNS, c.dns[1][:])
	}
	return dst
}

// ourOption names an option of the client's own request.
func ourOption(p ppp.Protocol, typ uint8) options {
	if p == ppp.ProtocolLCP {
		switch typ {
		case ppp.OptionMRU:
			return optMRU
		case ppp.OptionMagic:
			return optMagic
		case ppp.OptionPFC:
			return optPFC
		case ppp.OptionACFC:
			return optACFC
		}
		return 0
	}
	switch typ {
	case ppp.OptionIPAddress:
		return optAddress
	case ppp.OptionPrimaryDNS:
		return optDNS1
	case ppp.OptionSecondaryDNS:
		return optDNS2
	}
	return 0
}

// refused changes the next request by a Configure-Nak or -Reject of the last.
func (c *Client) refused(p ppp.Protocol, pkt ppp.Packet) {
	for b := pkt.Data; len(b) > 0; {
		o, rest, err := ppp.NextOption(b)
		if err != nil {
			return
		}
		b = rest
		if pkt.Code == ppp.ConfigureReject {
			c.skip |= ourOption(p, o.Type)
			continue
		}
		c.naked(p, o)
	}
}

// naked takes the value that the peer proposes.
func (c *Client) naked(p ppp.Protocol, o ppp.Option) {
	opt := ourOption(p, o.Type)
	switch {
	case opt&c.skip != 0:
	case opt == optMRU:
		c.skip |= optMRU // the default of 1,500 is what every peer takes
	case opt == optMagic:
		c.magic = c.newMagic()
	case opt == optAddress && len(o.Value) == 4:
		c.address = [4]byte(o.Value)
	case opt == optDNS1 && len(o.Value) == 4:
		c.dns[0] = [4]byte(o.Value)
	case opt == optDNS2 && len(o.Value) == 4:
		c.dns[1] = [4]byte(o.Value)
	}
}

// configureRequest judges the peer's request and answers it.
func (c *Client) configureRequest(now time.Duration, p ppp.Protocol, pkt ppp.Packet, fx *Effects) {
	var nak, reject []byte
	var nakBuf, rejectBuf [64]byte
	nak, reject = nakBuf[:0], rejectBuf[:0]
	var lcp ppp.LCPConfig
	var ipcp ppp.IPCPConfig
	for b := pkt.Data; len(b) > 0; {
		o, rest, err := ppp.NextOption(b)
		if err != nil {
			fx.Malformed++
			return
		}
		b = rest
		if p == ppp.ProtocolLCP {
			nak, reject = c.judgeLCP(&lcp, o, nak, reject)
		} else {
			nak, reject = c.judgeIPCP(&ipcp, o, nak, reject)
		}
	}
	r, e := answer{code: ppp.ConfigureAck, id: pkt.ID, data: pkt.Data}, ppp.RCRPlus
	switch {
	case len(reject) > 0:
		r.code, r.data, e = ppp.ConfigureReject, reject, ppp.RCRMinus
	case len(nak) > 0 && c.automaton(p).MayNak(&c.cfg.Limits):
		r.code, r.data, e = ppp.ConfigureNak, nak, ppp.RCRMinus
	case len(nak) > 0:
		r.code, r.data, e = ppp.ConfigureReject, pkt.Data, ppp.RCRMinus
	case p == ppp.ProtocolLCP:
		c.takeLCP(&lcp)
	case ipcp.Address.Is4():
		c.peerAddress = ipcp.Address.As4()
	}
	c.step(now, p, e, r, fx)
}

// takeLCP is the peer's request once it is acknowledged.
func (c *Client) takeLCP(cfg *ppp.LCPConfig) {
	c.peerAuth, c.peerMagic, c.pfc, c.acfc = cfg.Auth, cfg.Magic, cfg.PFC, cfg.ACFC
	c.peerMRU = ppp.DefaultMRU
	if cfg.MRU != 0 {
		c.peerMRU = cfg.MRU
	}
}

// judgeLCP appends o to nak or reject if the client does not agree to it.
func (c *Client) judgeLCP(cfg *ppp.LCPConfig, o ppp.Option, nak, reject []byte) (_, _ []byte) {
	err := cfg.Set(o)
	switch {
	case errors.Is(err, ppp.ErrUnknownOption) || o.Type == ppp.OptionQuality:
		reject = ppp.AppendOption(reject, o.Type, o.Value)
	case o.Type == ppp.OptionMRU && (err != nil || cfg.MRU < minMRU):
		nak = ppp.AppendOption(nak, o.Type, []byte{ppp.DefaultMRU >> 8, ppp.DefaultMRU & 0xff})
	case o.Type == ppp.OptionMagic && (err != nil || cfg.Magic == c.magic):
		nak = ppp.AppendOption(nak, o.Type, binary.BigEndian.AppendUint32(nil, c.newMagic()))
	case o.Type == ppp.OptionAuth && (err != nil || !c.agrees(cfg.Auth)):
		if len(c.cfg.Auth) == 0 {
			return nak, ppp.AppendOption(reject, o.Type, o.Value)
		}
		want := ppp.LCPConfig{Auth: c.cfg.Auth[0]}
		nak = want.Append(nak)
	case err != nil:
		reject = ppp.AppendOption(reject, o.Type, o.Value)
	}
	return nak, reject
}

func (c *Client) agrees(a ppp.Auth) bool {
	for _, x := range c.cfg.Auth {
		if x == a {
			return true
		}
	}
	return false
}

// judgeIPCP: the peer may have an address; compression and questions are rejected.
func (c *Client) judgeIPCP(cfg *ppp.IPCPConfig, o ppp.Option, nak, reject []byte) (_, _ []byte) {
	if cfg.Set(o) != nil || o.Type != ppp.OptionIPAddress || cfg.Address.IsUnspecified() {
		reject = ppp.AppendOption(reject, o.Type, o.Value)
	}
	return nak, reject
}
