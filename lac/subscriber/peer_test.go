package subscriber

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"culvert/proto/ppp"
)

// peer drives a Client by hand: frames are written as text, "LCP 1 9 0506..." being
// protocol, code, identifier and data.
type peer struct {
	t   *testing.T
	c   Client
	now time.Duration
	cfg Config
	fx  Effects
	out []string
}

func newPeer(t *testing.T, change func(*Config)) *peer {
	p := &peer{t: t, cfg: DefaultConfig()}
	if change != nil {
		change(&p.cfg)
	}
	p.c.Start(p.now, &p.cfg, "joe", "secret", rand.NewPCG(1, 1), &p.fx)
	p.take()
	return p
}

// take turns the frames the client sends into text.
func (p *peer) take() {
	for _, frame := range p.fx.Frames {
		f, err := ppp.ParseFrame(frame)
		if err != nil {
			p.t.Fatalf("client sends %x: %v", frame, err)
		}
		pkt, err := ppp.ParsePacket(f.Payload)
		if err != nil {
			p.t.Fatalf("client sends %x: %v", frame, err)
		}
		p.out = append(p.out, fmt.Sprintf("%v %d %d %x", f.Protocol, pkt.Code, pkt.ID, pkt.Data))
	}
	p.fx.Frames = p.fx.Frames[:0]
}

// send gives the client a packet, and forgets flags of the step before.
func (p *peer) send(proto ppp.Protocol, code ppp.Code, id uint8, dataHex string) {
	p.t.Helper()
	data, err := hex.DecodeString(strings.ReplaceAll(dataHex, " ", ""))
	if err != nil {
		p.t.Fatal(err)
	}
	p.fx.Reset()
	p.c.Receive(p.now, ppp.AppendPacket(ppp.AppendHeader(nil, proto, false, false), code, id, data), &p.fx)
	p.take()
}

func (p *peer) wait(d time.Duration) {
	for end := p.now + d; p.c.Deadline() <= end; {
		p.now = max(p.c.Deadline(), p.now)
		p.fx.Reset()
		p.c.Tick(p.now, &p.fx)
		p.take()
		if p.fx.Down {
			return
		}
	}
	p.now += d
}

// want checks and clears what the client has sent. A * at the end stands for any data.
func (p *peer) want(lines ...string) {
	p.t.Helper()
	ok := len(lines) == len(p.out)
	for i := 0; ok && i < len(lines); i++ {
		prefix, any := strings.CutSuffix(lines[i], "*")
		ok = lines[i] == p.out[i] || any && strings.HasPrefix(p.out[i], prefix)
	}
	if !ok {
		p.t.Errorf("client sent\n\t%s\nwant\n\t%s", strings.Join(p.out, "\n\t"), strings.Join(lines, "\n\t"))
	}
	p.out = nil
}

// lcpUp negotiates LCP with an authentication option.
func (p *peer) lcpUp(auth string) {
	p.t.Helper()
	req := p.out[0]
	p.out = nil
	p.send(lcp, ppp.ConfigureRequest, 7, auth+peerMagic)
	p.want("LCP 2 7 " + auth + peerMagic)
	p.send(lcp, ppp.ConfigureAck, 1, strings.Fields(req)[3])
}

// network brings up IPCP.
func (p *peer) network() {
	p.t.Helper()
	p.want("IPCP 1 1 030600000000810600000000830600000000")
	p.send(ipcp, ppp.ConfigureRequest, 1, "03060a000001")
	p.want("IPCP 2 1 03060a000001")
	p.send(ipcp, ppp.ConfigureNak, 1, "03060a400001 810608080808 830608080404")
	p.want("IPCP 1 2 03060a400001810608080808830608080404")
	p.send(ipcp, ppp.ConfigureAck, 2, "03060a400001 810608080808 830608080404")
	p.want()
	if !p.fx.Up || p.c.Phase() != PhaseUp || p.c.Address().String() != "10.64.0.1" || p.c.DNS()[1].String() != "8.8.4.4" || p.c.PeerAddress().String() != "10.0.0.1" {
		p.t.Fatalf("not up: %v %v %v", p.c.Phase(), p.c.Address(), p.c.DNS())
	}
}

func (p *peer) wantDown(r Reason) {
	p.t.Helper()
	if !p.fx.Down || p.fx.Reason != r || p.c.Phase() != PhaseDown || p.c.Deadline() != Never {
		p.t.Errorf("down %v, %v, phase %v, deadline %v; want %v", p.fx.Down, p.fx.Reason, p.c.Phase(), p.c.Deadline(), r)
	}
}

func upWithPAP(t *testing.T) *peer {
	p := newPeer(t, nil)
	p.lcpUp(authPAP)
	p.want("PAP 1 1 036a6f6506736563726574")
	p.send(pap, ppp.PAPAck, 1, "00")
	p.network()
	return p
}
