package link

import (
	"io"
	"math/rand/v2"
	"testing"

	"culvert/proto/ppp"
)

// setUp brings one link up through one server; it is what a mass redial does
// 200,000 times.
func setUp(cfg *Config, rnd io.Reader, fx *Effects, client *replay) {
	var l Link
	l.Start(0, cfg, rnd, nil, fx)
	client.answer(&l, fx)
	if l.Phase() != PhaseUp {
		panic("not up: " + l.Phase().String())
	}
}

// replay answers a link with as little work as possible, so that a
// benchmark shows the link's cost.
type replay struct{ b, pap, request []byte }

func newReplay() *replay {
	lcp := ppp.LCPConfig{MRU: 1492, Magic: 0x01020304}
	ip := ppp.IPCPConfig{Address: testNetwork().Peer}
	return &replay{
		pap:     frameOf(ppp.ProtocolPAP, ppp.AppendPAPRequest(nil, 1, "alice@isp", "secret")),
		b:       frameOf(ppp.ProtocolLCP, ppp.AppendPacket(nil, ppp.ConfigureRequest, 1, lcp.Append(nil))),
		request: frameOf(ppp.ProtocolIPCP, ppp.AppendPacket(nil, ppp.ConfigureRequest, 1, ip.Append(nil))),
	}
}

func (r *replay) answer(l *Link, fx *Effects) {
	ack := func() {
		f := fx.Frames[len(fx.Frames)-1]
		f[4] = byte(ppp.ConfigureAck)
		l.Receive(0, f, fx)
	}
	ack()
	l.Receive(0, r.b, fx)
	l.Receive(0, r.pap, fx)
	l.Grant(0, testNetwork(), "", fx)
	ack()
	l.Receive(0, r.request, fx)
	fx.Reset()
}

func BenchmarkSetUp(b *testing.B) {
	cfg, rnd, fx, client := testConfig(b, MethodPAP), rand.NewChaCha8([32]byte{}), NewEffects(32), newReplay()
	b.ReportAllocs()
	for b.Loop() {
		setUp(cfg, rnd, fx, client)
	}
}

func BenchmarkEcho(b *testing.B) {
	l, fx := upLink(b, testConfig(b))
	reply := frameOf(ppp.ProtocolLCP, ppp.AppendMagic(nil, ppp.EchoReply, 1, 7, nil))
	b.ReportAllocs()
	for b.Loop() {
		now := l.Deadline()
		l.Tick(now, fx)
		l.Receive(now, reply, fx)
		fx.Reset()
	}
}
