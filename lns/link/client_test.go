package link

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"time"

	"culvert/proto/ppp"
	"culvert/proto/ppp/mschap"
)

// client is a simple subscriber: LCP, one authentication method, IPCP. It
// is driven like a Link.
type client struct {
	lim            ppp.Limits
	rnd            *rand.Rand
	lcp, ipcp      ppp.Automaton
	method         Method
	user, password string
	// authAt repeats PAP's request, papTries counts them.
	authAt      time.Duration
	papTries    uint8
	authed      bool
	magic       uint32
	serverAuth  ppp.Auth
	address     netip.Addr
	dns         netip.Addr
	noDNS       bool
	out         [][]byte
	up, down    bool
	proof       string
	failure     string
	serverProof bool
	// answered is the last MD5-Challenge of EAP that it answered since LCP opened.
	answered *ppp.EAP
}

func newClient(rnd *rand.Rand, m Method) *client {
	return &client{
		lim: ppp.DefaultLimits(), rnd: rnd, method: m, user: "alice@isp", password: "secret",
		magic: rnd.Uint32() | 1, address: netip.IPv4Unspecified(), dns: netip.IPv4Unspecified(),
	}
}

func (c *client) start(now time.Duration) {
	c.stepLCP(now, ppp.Open, ppp.Packet{}, ppp.Packet{})
	c.stepLCP(now, ppp.Up, ppp.Packet{}, ppp.Packet{})
}

func (c *client) deadline() time.Duration {
	return earlier(min(c.lcp.Deadline(), c.ipcp.Deadline()), c.authAt)
}

func (c *client) tick(now time.Duration) {
	if e, ok := c.lcp.Timeout(now, &c.lim); ok {
		c.stepLCP(now, e, ppp.Packet{}, ppp.Packet{})
	}
	if e, ok := c.ipcp.Timeout(now, &c.lim); ok {
		c.stepIPCP(now, e, ppp.Packet{}, ppp.Packet{})
	}
	if due(&c.authAt, now) {
		c.sendPAP(now)
	}
}

func (c *client) frame(p ppp.Protocol, b []byte) {
	c.out = append(c.out, append(ppp.AppendHeader(nil, p, false, false), b...))
}

func (c *client) respond(acts ppp.Actions, p ppp.Protocol, in, refusal ppp.Packet) {
	if acts&ppp.SCA != 0 {
		c.frame(p, ppp.AppendPacket(nil, ppp.ConfigureAck, in.ID, in.Data))
	}
	if acts&ppp.SCN != 0 {
		c.frame(p, ppp.AppendPacket(nil, refusal.Code, in.ID, refusal.Data))
	}
	if acts&ppp.STA != 0 {
		c.frame(p, ppp.AppendPacket(nil, ppp.TerminateAck, in.ID, nil))
	}
}

func (c *client) lcpOptions() []byte {
	o := ppp.LCPConfig{MRU: 1492, Magic: c.magic}
	return o.Append(nil)
}

func (c *client) stepLCP(now time.Duration, e ppp.Event, in, refusal ppp.Packet) {
	acts := c.lcp.Step(now, &c.lim, e)
	if acts&ppp.TLD != 0 {
		c.ipcp.Step(now, &c.lim, ppp.Down)
		c.authed, c.authAt, c.up, c.answered = false, 0, false, nil
	}
	if acts&ppp.SCR != 0 {
		c.frame(ppp.ProtocolLCP, ppp.AppendPacket(nil, ppp.ConfigureRequest, c.lcp.ID(), c.lcpOptions()))
	}
	if acts&ppp.STR != 0 {
		c.frame(ppp.ProtocolLCP, ppp.AppendPacket(nil, ppp.TerminateRequest, c.lcp.ID(), nil))
	}
	c.respond(acts, ppp.ProtocolLCP, in, refusal)
	if acts&ppp.TLF != 0 {
		c.down = true
	}
	if acts&ppp.TLU != 0 {
		c.authed = c.serverAuth == ppp.Auth{}
		if c.serverAuth == ppp.AuthPAP {
			c.sendPAP(now)
		}
		c.network(now)
	}
}

func (c *client) network(now time.Duration) {
	if c.authed {
		c.authAt = 0
		c.stepIPCP(now, ppp.Open, ppp.Packet{}, ppp.Packet{})
		c.stepIPCP(now, ppp.Up, ppp.Packet{}, ppp.Packet{})
	}
}

func (c *client) sendPAP(now time.Duration) {
	c.papTries++
	c.authAt = armed(now + 3*time.Second)
	c.frame(ppp.ProtocolPAP, ppp.AppendPAPRequest(nil, c.papTries, c.user, c.password))
}

func (c *client) ipcpOptions() []byte {
	o := ppp.IPCPConfig{Address: c.address}
	if !c.noDNS {
		o.DNS[0] = c.dns
	}
	return o.Append(nil)
}

func (c *client) stepIPCP(now time.Duration, e ppp.Event, in, refusal ppp.Packet) {
	acts := c.ipcp.Step(now, &c.lim, e)
	if acts&ppp.TLD != 0 {
		c.up = false
	}
	if acts&ppp.SCR != 0 {
		c.frame(ppp.ProtocolIPCP, ppp.AppendPacket(nil, ppp.ConfigureRequest, c.ipcp.ID(), c.ipcpOptions()))
	}
	c.respond(acts, ppp.ProtocolIPCP, in, refusal)
	if acts&ppp.TLU != 0 {
		c.up = true
	}
}

// receive takes one frame from the server.
func (c *client) receive(now time.Duration, b []byte) {
	f, err := ppp.ParseFrame(b)
	if err != nil {
		panic(err)
	}
	p, err := ppp.ParsePacket(f.Payload)
	if err != nil {
		panic(err)
	}
	switch f.Protocol {
	case ppp.ProtocolLCP:
		c.receiveLCP(now, p)
	case ppp.ProtocolPAP:
		c.verdict(now, p.Code == ppp.PAPAck, string(ppp.ParsePAPMessage(p.Data)))
	case ppp.ProtocolCHAP:
		c.receiveCHAP(now, p)
	case ppp.ProtocolEAP:
		c.receiveEAP(now, f.Payload)
	case ppp.ProtocolIPCP:
		if c.answered != nil {
			c.verdict(now, true, "") // the Success may be lost (RFC 3748 section 4.2)
		}
		if c.authed {
			c.receiveIPCP(now, p)
		}
	}
}

func (c *client) receiveLCP(now time.Duration, p ppp.Packet) {
	switch p.Code {
	case ppp.ConfigureRequest:
		o, err := ppp.ParseLCPConfig(p.Data)
		if err != nil {
			panic(err)
		}
		e, refusal := ppp.RCRPlus, ppp.Packet{}
		if o.Auth != wireAuth(c.method) && o.Auth != (ppp.Auth{}) {
			want := ppp.LCPConfig{Auth: wireAuth(c.method)}
			e, refusal = ppp.RCRMinus, ppp.Packet{Code: ppp.ConfigureNak, Data: want.Append(nil)}
		}
		if c.lcp.State() != ppp.Closing {
			c.serverAuth = o.Auth
		}
		c.stepLCP(now, e, p, refusal)
	case ppp.ConfigureAck:
		if c.lcp.Answers(p.ID) && bytes.Equal(p.Data, c.lcpOptions()) {
			c.stepLCP(now, ppp.RCA, p, ppp.Packet{})
		}
	case ppp.TerminateRequest:
		c.stepLCP(now, ppp.RTR, p, ppp.Packet{})
	case ppp.TerminateAck:
		c.stepLCP(now, ppp.RTA, p, ppp.Packet{})
	case ppp.EchoRequest:
		if c.lcp.State() == ppp.Opened {
			c.frame(ppp.ProtocolLCP, ppp.AppendMagic(nil, ppp.EchoReply, p.ID, c.magic, nil))
		}
	}
}

func (c *client) receiveCHAP(now time.Duration, p ppp.Packet) {
	if c.lcp.State() != ppp.Opened {
		return
	}
	switch p.Code {
	case ppp.CHAPChallenge:
		challenge, _, err := ppp.ParseCHAPValue(p.Data)
		if err != nil {
			panic(err)
		}
		var value []byte
		if c.method == MethodCHAP {
			sum := ppp.CHAPMD5(p.ID, c.password, challenge)
			value = sum[:]
		} else {
			value = c.mschap([16]byte(challenge))
		}
		c.frame(ppp.ProtocolCHAP, ppp.AppendCHAPValue(nil, ppp.CHAPResponse, p.ID, value, c.user))
	case ppp.CHAPSuccess, ppp.CHAPFailure:
		c.serverProof = c.proof == string(p.Data)
		c.verdict(now, p.Code == ppp.CHAPSuccess, string(p.Data))
	}
}

// receiveEAP answers by MD5-Challenge.
func (c *client) receiveEAP(now time.Duration, b []byte) {
	p, err := ppp.ParseEAP(b)
	switch {
	case err != nil:
		panic(err)
	case c.lcp.State() != ppp.Opened:
	case p.Code == ppp.EAPRequest && p.Type == ppp.EAPIdentity:
		c.frame(ppp.ProtocolEAP, ppp.AppendEAP(nil, ppp.EAPResponse, p.ID, p.Type, []byte(c.user)))
	case p.Code == ppp.EAPRequest && p.Type == ppp.EAPMD5:
		c.answered = &p
		sum := ppp.CHAPMD5(p.ID, c.password, p.Data[1:])
		c.frame(ppp.ProtocolEAP, ppp.AppendEAP(nil, ppp.EAPResponse, p.ID, p.Type, append([]byte{16}, sum[:]...)))
	case c.answered != nil && p.ID == c.answered.ID:
		c.verdict(now, p.Code == ppp.EAPSuccess, "EAP")
	}
}

func (c *client) mschap(challenge [16]byte) []byte {
	var r ppp.MSCHAPv2Response
	for i := range r.PeerChallenge {
		r.PeerChallenge[i] = byte(i)
	}
	r.NTResponse = mschap.NTResponse(challenge, r.PeerChallenge, c.user, c.password)
	c.proof = mschap.AuthenticatorResponse(challenge, r.PeerChallenge, r.NTResponse, c.user, c.password)
	return r.Append(nil)
}

func (c *client) verdict(now time.Duration, ok bool, message string) {
	if !ok {
		c.failure = message
		return
	}
	if !c.authed && c.lcp.State() == ppp.Opened {
		c.authed = true
		c.network(now)
	}
}

func (c *client) receiveIPCP(now time.Duration, p ppp.Packet) {
	switch p.Code {
	case ppp.ConfigureRequest:
		c.stepIPCP(now, ppp.RCRPlus, p, ppp.Packet{})
	case ppp.ConfigureAck:
		if c.ipcp.Answers(p.ID) && bytes.Equal(p.Data, c.ipcpOptions()) {
			c.stepIPCP(now, ppp.RCA, p, ppp.Packet{})
		}
	case ppp.ConfigureNak, ppp.ConfigureReject:
		if !c.ipcp.Answers(p.ID) {
			return
		}
		o, err := ppp.ParseIPCPConfig(p.Data)
		if err != nil {
			panic(err)
		}
		if o.Address.IsValid() {
			c.address = o.Address
		}
		if o.DNS[0].IsValid() {
			c.dns, c.noDNS = o.DNS[0], p.Code == ppp.ConfigureReject
		}
		c.stepIPCP(now, ppp.RCN, p, ppp.Packet{})
	}
}
