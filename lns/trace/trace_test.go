package trace

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/proto/l2tp"
	"culvert/proto/ppp"
)

const testLimit = 512

// texts are a log's events in words.
func texts(l *Log) []string {
	var list []string
	for e := range l.Events() {
		list = append(list, e.Text)
	}
	return list
}

func frame(p ppp.Protocol, code ppp.Code, id uint8, data []byte) []byte {
	return ppp.AppendPacket(ppp.AppendHeader(nil, p, false, false), code, id, data)
}

func message(typ l2tp.MessageType, fill func(*l2tp.Message)) *l2tp.Message {
	m := &l2tp.Message{Type: typ}
	if fill != nil {
		fill(m)
	}
	return m
}

func TestTexts(t *testing.T) {
	lcp := ppp.LCPConfig{MRU: 1492, Auth: ppp.AuthCHAP, Magic: 0xdeadbeef}
	for _, c := range []struct {
		record func(*Log)
		want   string
	}{
		{func(l *Log) {
			l.PPP(0, Sent, frame(ppp.ProtocolLCP, ppp.ConfigureRequest, 1, lcp.Append(nil)), testLimit)
		}, "LCP: send Configure-Request id 1 mru 1492 auth CHAP-MD5 magic deadbeef"},
		{func(l *Log) {
			l.PPP(0, Received, frame(ppp.ProtocolLCP, ppp.ConfigureReject, 2, []byte{7, 2, 8, 2, 17, 4, 5, 220, 3, 4, 0xc2, 0x27}), testLimit)
		}, "LCP: recv Configure-Reject id 2 pfc acfc option 17 05dc auth EAP"},
		{func(l *Log) {
			l.PPP(0, Received, frame(ppp.ProtocolLCP, ppp.ConfigureAck, 1, lcp.Append(nil)), testLimit)
		}, "LCP: recv Configure-Ack id 1"},
		{func(l *Log) {
			l.PPP(0, Received, frame(ppp.ProtocolLCP, ppp.TerminateRequest, 3, []byte("bye\x1b[2J")), testLimit)
		}, `LCP: recv Terminate-Request id 3 "bye\x1b[2J"`},
		{func(l *Log) {
			l.PPP(0, Sent, frame(ppp.ProtocolIPCP, ppp.ConfigureNak, 4, []byte{3, 6, 100, 64, 0, 7, 129, 6, 9, 9, 9, 9}), testLimit)
		}, "IPCP: send Configure-Nak id 4 addr 100.64.0.7 dns1 9.9.9.9"},
		{func(l *Log) {
			l.PPP(0, Received, frame(ppp.ProtocolIPCP, ppp.ConfigureRequest, 4, bytes.Repeat([]byte{131, 6, 1, 2, 3, 4}, 20)), testLimit)
		}, "IPCP: recv Configure-Request id 4" + strings.Repeat(" dns2 1.2.3.4", 10) + " ..."},
		{func(l *Log) {
			l.PPP(0, Received, frame(ppp.ProtocolEAP, 2, 5, []byte{26, 1, 2, 3}), testLimit)
		}, "EAP: recv Response id 5 type MS-CHAPv2"},
		{func(l *Log) {
			l.PPP(0, Sent, frame(ppp.ProtocolLCP, ppp.ProtocolReject, 5, []byte{0x80, 0x57, 1, 2}), testLimit)
		}, "LCP: send Protocol-Reject of IPV6CP"},
		{func(l *Log) {
			l.PPP(0, Received, frame(ppp.ProtocolLCP, ppp.CodeReject, 5, []byte{9, 2, 0, 4}), testLimit)
		}, "LCP: recv Code-Reject of Echo-Request"},
		{func(l *Log) { l.PPP(0, Received, []byte{0xff, 3, 0x80, 0xfb, 1, 1, 0, 4}, testLimit) },
			"0x80fb: recv a frame; the protocol is not spoken here"},
		{func(l *Log) { l.PPP(0, Received, []byte{0xff, 3, 0xc0, 0x21, 1, 1, 0}, testLimit) }, "LCP: recv a malformed packet"},
		{func(l *Log) {
			l.Call(0, Received, message(l2tp.MessageICRQ, func(m *l2tp.Message) { m.AssignedSessionID, m.CallSerial = 7, 70000 }), testLimit)
		}, "recv ICRQ session 7 serial 70000"},
		{func(l *Log) {
			l.Call(0, Sent, message(l2tp.MessageICRP, func(m *l2tp.Message) { m.AssignedSessionID = 9 }), testLimit)
		}, "send ICRP session 9"},
		{func(l *Log) {
			l.Call(0, Received, message(l2tp.MessageICCN, func(m *l2tp.Message) {
				m.TxSpeed, m.SequencingRequired, m.ProxyAuthType = 80_000_000, true, 2
				m.Set(l2tp.AVPLastSentLCP, l2tp.AVPProxyAuthType)
			}), testLimit)
		}, "recv ICCN tx 80000000 bit/s, sequencing required, proxy LCP, proxy authen type 2"},
		{func(l *Log) {
			l.Call(0, Received, message(l2tp.MessageCDN, func(m *l2tp.Message) {
				m.Result = l2tp.Result{Code: 2, Error: 7, Message: "full\n"}
				m.PPPDisconnect.Code = 3
			}), testLimit)
		}, `recv CDN result 2/7: general error: try another "full\n", PPP disconnect cause 3 (RFC 3145)`},
		{func(l *Log) {
			l.Call(0, Received, message(l2tp.MessageSLI, func(m *l2tp.Message) { m.ACCM.Send = 0xa0000 }), testLimit)
		}, "recv SLI accm send 000a0000 receive 00000000"},
		{func(l *Log) { l.Resent(0, 17, testLimit) }, "send again, unacknowledged: Ns 17"},
		{func(l *Log) { l.Stopped(0, "timeout", &l2tp.Result{Code: 6}, testLimit) },
			"tunnel down: timeout; StopCCN result 6/0: requester is being shut down"},
		{func(l *Log) { l.Ask(0, "a\x00b", "CHAP", testLimit) }, `RADIUS: Access-Request for "a\x00b" by CHAP`},
		{func(l *Log) { l.Answer(0, VerdictReject, "r1", "no credit", testLimit) }, `RADIUS: Access-Reject from r1 "no credit"`},
		{func(l *Log) { l.State(0, StateNetwork, testLimit) }, "authenticated; IPCP starts"},
		{func(l *Log) { l.Up(0, netip.MustParseAddr("100.64.0.7"), testLimit) }, "IPCP opened 100.64.0.7"},
		{func(l *Log) { l.End(0, "user-request", "the peer terminated", testLimit) }, "cause user-request: the peer terminated"},
		{func(l *Log) { l.Note(0, SourceIKE, "child SA rekeyed", testLimit) }, "child SA rekeyed"},
	} {
		var l Log
		l.Begin(0, nil)
		c.record(&l)
		if got := texts(&l); len(got) != 1 || got[0] != c.want {
			t.Errorf("got %q\nwant %q", got, c.want)
		}
	}
}

// Whatever a subscriber or a LAC says, nothing that proves an identity is in the log.
func TestNoSecrets(t *testing.T) {
	secret := []byte("5ecr3t-5ecr3t-16")
	var l Log
	l.Begin(0, nil)
	for _, f := range [][]byte{
		frame(ppp.ProtocolPAP, ppp.PAPRequest, 1, append([]byte{5, 'a', 'l', 'i', 'c', 'e', byte(len(secret))}, secret...)),
		frame(ppp.ProtocolCHAP, ppp.CHAPChallenge, 1, append([]byte{16}, secret...)),
		frame(ppp.ProtocolCHAP, ppp.CHAPResponse, 1, append(append([]byte{16}, secret...), "alice"...)),
		frame(ppp.ProtocolCHAP, ppp.CHAPSuccess, 1, append([]byte("S="), secret...)),
		frame(ppp.ProtocolCHAP, ppp.CHAPFailure, 1, append(append([]byte("E=691 R=1 C="), secret...), " V=3"...)),
		frame(ppp.ProtocolEAP, 2, 1, append([]byte{4, 16}, secret...)),
		frame(ppp.ProtocolLCP, ppp.EchoRequest, 1, secret),
		frame(ppp.ProtocolLCP, ppp.Identification, 1, secret),
		frame(ppp.ProtocolCCP, 1, 1, secret),
	} {
		l.PPP(0, Received, f, testLimit)
	}
	l.Call(0, Received, message(l2tp.MessageICCN, func(m *l2tp.Message) {
		m.ProxyAuthType, m.ProxyAuthResponse, m.ProxyAuthChallenge = l2tp.ProxyAuthPAP, secret, secret
		m.Set(l2tp.AVPProxyAuthType, l2tp.AVPProxyAuthResponse, l2tp.AVPProxyAuthChallenge)
	}), testLimit)
	sccrq := message(l2tp.MessageSCCRQ, func(m *l2tp.Message) {
		m.Challenge, m.ChallengeResponse = secret, secret
		m.Set(l2tp.AVPChallenge, l2tp.AVPChallengeResponse)
	})
	d := sccrq.Append(l2tp.ControlHeader(0, 0, 0, 0).Append(nil))
	l2tp.PutLength(d)
	if l.Control(0, Received, d, testLimit) == 0 {
		t.Error("the SCCRQ was not recorded")
	}
	if bytes.Contains(l.b, []byte("5ecr3t")) || strings.Contains(strings.Join(texts(&l), "\n"), "5ecr3t") {
		t.Errorf("the log has the secret: %q", texts(&l))
	}
	if !slices.Contains(texts(&l), `CHAP: recv Failure id 1 "E=691 R=1 V=3"`) {
		t.Errorf("got %q", texts(&l))
	}
}

// What repeats is one event, and does not push out the others.
func TestRepetitionsAreOneEvent(t *testing.T) {
	var l Log
	l.Begin(time.Hour, nil)
	l.Note(time.Hour, SourceLNS, "first", testLimit)
	now := time.Hour
	for range 1000 {
		now += 30 * time.Second
		l.PPP(now, Sent, frame(ppp.ProtocolLCP, ppp.EchoRequest, uint8(now/time.Second), []byte{1, 2, 3, 4}), testLimit)
		l.PPP(now, Received, frame(ppp.ProtocolLCP, ppp.EchoReply, uint8(now/time.Second), []byte{1, 2, 3, 4}), testLimit)
		l.PPP(now, Received, frame(ppp.ProtocolCCP, 1, 1, nil), testLimit)
	}
	var list []Event
	for e := range l.Events() {
		list = append(list, e)
	}
	if len(list) != 4 || l.Dropped() != 0 {
		t.Fatalf("%d events, %d dropped: %v", len(list), l.Dropped(), list)
	}
	e := list[1]
	if e.Text != "LCP: send Echo-Request" || e.Count != 1000 || e.At != time.Hour+30*time.Second || e.Until != now {
		t.Errorf("got %+v, want 1000 until %v", e, now)
	}
	if list[0].Text != "first" || list[0].Until != list[0].At || list[0].Count != 1 {
		t.Errorf("got %+v", list[0])
	}
}

// A log never grows beyond its limit; the newest events stay, with their times.
func TestBound(t *testing.T) {
	for _, limit := range []int{MinLimit, 512, 2000} {
		var l Log
		l.Begin(0, nil)
		const n = 3000
		for i := range n {
			l.Note(time.Duration(i)*time.Second, SourceLNS, fmt.Sprint("event ", i, strings.Repeat("x", i%50)), limit)
			if len(l.b) > limit || l.Size() > limit+2*growBy {
				t.Fatalf("limit %d: %d octets, %d held", limit, len(l.b), l.Size())
			}
		}
		count, i := 0, 0
		for e := range l.Events() {
			fmt.Sscanf(e.Text, "event %d", &i)
			if e.At != time.Duration(i)*time.Second {
				t.Fatalf("limit %d: event %d is at %v", limit, i, e.At)
			}
			count++
		}
		if i != n-1 || count+l.Dropped() != n || count < 3 {
			t.Errorf("limit %d: %d events, %d dropped, the last is %d", limit, count, l.Dropped(), i)
		}
	}
}

// An answer says how long it took, also when it is read by itself.
func TestAnswerTime(t *testing.T) {
	var l Log
	l.Begin(time.Second, nil)
	l.Ask(time.Second, "alice", "PAP", testLimit)
	at := l.Answer(time.Second+3*time.Millisecond, VerdictAccept, "radius1", "", testLimit)
	e, ok := l.Event(at)
	if want := "RADIUS: Access-Accept from radius1 in 3 ms"; !ok || e.Text != want || texts(&l)[1] != want {
		t.Errorf("got %q, %q", e.Text, texts(&l))
	}
}

func TestOff(t *testing.T) {
	var l Log
	l.PPP(0, Sent, frame(ppp.ProtocolLCP, ppp.ConfigureRequest, 1, nil), testLimit)
	l.Call(0, Sent, message(l2tp.MessageICRP, nil), testLimit)
	l.Ask(0, "a", "PAP", testLimit)
	l.State(0, StateLCP, testLimit)
	l.End(0, "x", "", testLimit)
	l.Resent(0, 1, testLimit)
	if l.On() || l.Size() != 0 || len(texts(&l)) != 0 || l.Fit() != nil {
		t.Error("a log that is off holds something")
	}
}

// Fit gives the large buffer back and keeps the events.
func TestFit(t *testing.T) {
	var l Log
	l.Begin(0, make([]byte, 0, 512))
	l.Note(0, SourceLNS, "one", testLimit)
	free := l.Fit()
	if cap(free) != 512 || l.Size() > 64 || texts(&l)[0] != "one" {
		t.Errorf("freed %d, holds %d: %q", cap(free), l.Size(), texts(&l))
	}
	free = append(free, bytes.Repeat([]byte{0xff}, 400)...)
	if l.Note(1, SourceLNS, "two", testLimit); len(texts(&l)) != 2 || texts(&l)[0] != "one" {
		t.Errorf("got %q after %d octets went into the freed buffer", texts(&l), len(free))
	}
}

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

// All that a talkative subscriber (pppd with its defaults, and a lost answer here and there)
// exchanges until it is up fits into the default limit.
func TestATalkativeSetUpFits(t *testing.T) {
	var l Log
	l.Begin(time.Hour, make([]byte, 0, DefaultLimit))
	now := time.Hour
	ppp1 := func(d Direction, p ppp.Protocol, code ppp.Code, options string) {
		now += 150 * time.Millisecond
		l.PPP(now, d, frame(p, code, 1, []byte(options)), DefaultLimit)
	}
	four, six := "\x03\x06\x64\x40\x00\x05", "\x81\x06\xc0\x00\x02\x35\x83\x06\xc0\x00\x02\x36"
	l.Call(now, Received, message(l2tp.MessageICRQ, func(m *l2tp.Message) { m.AssignedSessionID, m.CallSerial = 50000, 1<<32-1 }), DefaultLimit)
	l.Call(now, Sent, message(l2tp.MessageICRP, nil), DefaultLimit)
	l.Call(now, Received, message(l2tp.MessageICCN, func(m *l2tp.Message) { m.TxSpeed = 10_000_000_000 }), DefaultLimit)
	l.State(now, StateLCP, DefaultLimit)
	for range 2 {
		ppp1(Sent, ppp.ProtocolLCP, 1, "\x01\x04\x05\xb4\x03\x05\xc2\x23\x05\x05\x06\x01\x02\x03\x04")
		ppp1(Received, ppp.ProtocolLCP, 1, "\x02\x06\x00\x00\x00\x00\x05\x06\x01\x02\x03\x04\x07\x02\x08\x02")
		ppp1(Sent, ppp.ProtocolLCP, 2, "")
		ppp1(Received, ppp.ProtocolLCP, 2, "")
	}
	l.State(now, StateAuthenticating, DefaultLimit)
	for range 2 {
		ppp1(Sent, ppp.ProtocolCHAP, ppp.CHAPChallenge, "\x10aaaaaaaaaaaaaaaalns1")
		ppp1(Received, ppp.ProtocolCHAP, ppp.CHAPResponse, "\x10aaaaaaaaaaaaaaaaalice")
	}
	l.Ask(now, "subscriber4711@dsl.isp.example", "CHAP", DefaultLimit)
	l.Answer(now, VerdictAccept, "radius1.isp.example", "", DefaultLimit)
	l.State(now, StateNetwork, DefaultLimit)
	ppp1(Sent, ppp.ProtocolCHAP, ppp.CHAPSuccess, "")
	ppp1(Sent, ppp.ProtocolIPCP, 1, four)
	for _, p := range []ppp.Protocol{ppp.ProtocolCCP, ppp.ProtocolMPLSCP} {
		ppp1(Received, p, 1, "")
		ppp1(Sent, ppp.ProtocolLCP, ppp.ProtocolReject, string([]byte{byte(p >> 8), byte(p)}))
	}
	ppp1(Received, ppp.ProtocolIPCP, 1, "\x02\x06\x00\x2d\x0f\x01"+four+six)
	ppp1(Sent, ppp.ProtocolIPCP, 4, "\x02\x06\x00\x2d\x0f\x01")
	ppp1(Received, ppp.ProtocolIPCP, 2, "")
	ppp1(Received, ppp.ProtocolIPCP, 1, four+six)
	ppp1(Sent, ppp.ProtocolIPCP, 3, four+six)
	ppp1(Received, ppp.ProtocolIPCP, 1, four+six)
	ppp1(Sent, ppp.ProtocolIPCP, 2, "")
	l.Up(now, netip.MustParseAddr("100.64.0.5"), DefaultLimit)
	ppp1(Sent, ppp.ProtocolLCP, ppp.EchoRequest, "\x00\x00\x00\x00")
	ppp1(Received, ppp.ProtocolLCP, ppp.EchoReply, "\x00\x00\x00\x00")
	if l.Dropped() != 0 || texts(&l)[0] != "recv ICRQ session 50000 serial 4294967295" {
		t.Errorf("%d events were dropped of a set-up; %d octets are left", l.Dropped(), len(l.b))
	}
	t.Logf("%d octets", len(l.b))
}
