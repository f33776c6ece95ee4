package trace

import (
	"testing"
	"time"

	"culvert/proto/l2tp"
	"culvert/proto/ppp"
)

// Neither what is on the wire nor what lies in memory makes a log grow or a reader fail.
func FuzzLog(f *testing.F) {
	lcp := ppp.LCPConfig{MRU: 1492, Auth: ppp.AuthCHAP, Magic: 1}
	f.Add(frame(ppp.ProtocolLCP, ppp.ConfigureRequest, 1, lcp.Append(nil)))
	f.Add(frame(ppp.ProtocolPAP, ppp.PAPRequest, 1, []byte{1, 'a', 1, 'b'}))
	f.Add(frame(ppp.ProtocolCHAP, ppp.CHAPFailure, 1, []byte("E=691 C=")))
	f.Add(frame(ppp.ProtocolLCP, ppp.ProtocolReject, 1, []byte{0x80}))
	f.Add([]byte{0xc8, 2, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 8, 0, 0, 0, 0, 0, 6})
	f.Fuzz(func(t *testing.T, b []byte) {
		var l Log
		l.Begin(0, nil)
		var m l2tp.Message
		_ = l2tp.ParseMessage(b, nil, &m)
		for i := range 8 {
			now := time.Duration(i) * time.Minute
			l.PPP(now, Received, b, MinLimit)
			l.Control(now, Sent, b, MinLimit)
			l.Call(now, Received, &m, MinLimit)
			l.End(now, "protocol-error", string(b), MinLimit)
			l.Answer(now, VerdictReject, string(b), string(b), MinLimit)
			if len(l.b) > MinLimit {
				t.Fatalf("%d octets", len(l.b))
			}
		}
		texts(&l)
		// The same octets as if they were records.
		raw := Log{b: append(make([]byte, headLen), b...)}
		texts(&raw)
	})
}

func BenchmarkRecord(b *testing.B) {
	lcp := ppp.LCPConfig{MRU: 1492, Auth: ppp.AuthCHAP, Magic: 1}
	request := frame(ppp.ProtocolLCP, ppp.ConfigureRequest, 1, lcp.Append(nil))
	echo := frame(ppp.ProtocolLCP, ppp.EchoReply, 1, []byte{0, 0, 0, 1})
	for name, f := range map[string][]byte{"packet": request, "echo": echo} {
		b.Run(name, func(b *testing.B) {
			var l Log
			l.Begin(0, make([]byte, 0, testLimit+64))
			b.ReportAllocs()
			for i := range b.N {
				l.PPP(time.Duration(i)*time.Millisecond, Sent, f, testLimit)
			}
		})
	}
}
