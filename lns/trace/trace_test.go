package trace

import (
	"bytes"
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
		}, `recv CDN result 2/7: general error: try another "full\n", PPP disconnect cause 3: normal disconnection (RFC 3145)`},
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
		{func(l *Log) { l.Recovered(0, time.Unix(1_700_000_000, 0), false, testLimit) },
			"recovered after a restart of this LNS; the session is up since 2023-11-14T22:13:20Z, and what it did before is not remembered"},
		{func(l *Log) { l.Recovered(0, time.Unix(1_700_000_000, 0), true, testLimit) },
			"taken over from another node; the session is up since 2023-11-14T22:13:20Z, and what it did before is not remembered"},
		{func(l *Log) { l.End(0, "user-request", "the peer terminated", testLimit) }, "cause user-request: the peer terminated"},
		{func(l *Log) {
			l.PPP(0, Sent, frame(ppp.ProtocolIPV6CP, ppp.ConfigureRequest, 1, []byte("\x01\x0aabcdefgh\x02\x03x")), testLimit)
		},
			"IPV6CP: send Configure-Request id 1 interface-identifier 6162636465666768 option 2 78"},
		{func(l *Log) {
			l.PPP(0, Sent, frame(ppp.ProtocolLCP, ppp.ConfigureNak, 1, []byte{2, 6, 0, 10, 0, 0, 3, 5, 0xc2, 0x23, 99, 3, 5, 0xc0, 0x23, 1, 1, 3, 5}), testLimit)
		},
			"LCP: send Configure-Nak id 1 accm 000a0000 auth CHAP-99 auth PAP option 1 05"},
		{func(l *Log) {
			l.PPP(0, Received, frame(ppp.ProtocolIPCP, ppp.ConfigureReject, 1, []byte{2, 6, 0, 0x2d, 15, 1, 3, 3, 1}), testLimit)
		},
			"IPCP: recv Configure-Reject id 1 option 2 002d0f01 option 3 01"},
		{func(l *Log) { l.PPP(0, Received, frame(ppp.ProtocolCHAP, 9, 1, nil), testLimit) }, "CHAP: recv Code-9 id 1"},
		{func(l *Log) {
			l.PPP(0, Received, frame(ppp.ProtocolPAP, ppp.PAPNak, 1, []byte{2, 'n', 'o'}), testLimit)
		}, `PAP: recv Authenticate-Nak id 1 "no"`},
		{func(l *Log) {
			l.PPP(0, Sent, frame(ppp.ProtocolCHAP, ppp.CHAPSuccess, 1, []byte("S=00112233 M=welcome")), testLimit)
		},
			`CHAP: send Success id 1 "welcome"`},
		{func(l *Log) {
			l.PPP(0, Sent, frame(ppp.ProtocolCHAP, ppp.CHAPFailure, 1, []byte("E=691 R=0")), testLimit)
		}, `CHAP: send Failure id 1 "E=691 R=0"`},
		{func(l *Log) { l.PPP(0, Sent, frame(ppp.ProtocolEAP, 3, 1, nil), testLimit) }, "EAP: send Success id 1"},
		{func(l *Log) {
			l.Call(0, Sent, message(l2tp.MessageOCRQ, func(m *l2tp.Message) { m.AssignedSessionID, m.CallSerial = 3, 4 }), testLimit)
		}, "send OCRQ session 3 serial 4"},
		{func(l *Log) { l.Call(0, Received, message(l2tp.MessageWEN, nil), testLimit) }, "recv WEN"},
		{func(l *Log) { l.Call(0, Sent, message(l2tp.MessageCSURQ, nil), testLimit) }, "send CSURQ"},
		{func(l *Log) { l.Answer(0, VerdictNone, "", "", testLimit) }, "RADIUS: no answer"},
		{func(l *Log) { l.Up(0, netip.MustParseAddr("2001:db8::7"), testLimit) }, "IPCP opened 2001:db8::7"},
		{func(l *Log) { l.Up(0, netip.Addr{}, testLimit) }, "IPCP opened"},
		{func(l *Log) { l.NoteRepeated(0, SourceIKE, "again", testLimit) }, "again"},
		{func(l *Log) { l.Note(0, SourceLNS, "a\x1b[2J", testLimit) }, `"a\x1b[2J"`},
		{func(l *Log) { l.Note(0, SourceLNS, "a\xff", testLimit) }, `"a\xff"`},
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

// The types of EAP that are known have names, others their numbers.
func TestEAPTypes(t *testing.T) {
	for typ, want := range map[byte]string{
		1: "Identity", 2: "Notification", 3: "Nak", 4: "MD5-Challenge", 13: "TLS", 21: "TTLS", 25: "PEAP", 26: "MS-CHAPv2", 43: "43",
	} {
		var l Log
		l.Begin(0, nil)
		l.PPP(0, Received, frame(ppp.ProtocolEAP, 1, 5, []byte{typ}), testLimit)
		if got := texts(&l)[0]; got != "EAP: recv Request id 5 type "+want {
			t.Errorf("%d: %q", typ, got)
		}
	}
}

// What is no control message of the tunnel's own is in no tunnel's log: data, acknowledgements,
// messages of calls, vendors' messages, what is malformed.
func TestControlTakesTheTunnelsOwn(t *testing.T) {
	datagram := func(typ l2tp.MessageType) []byte {
		b := message(typ, nil).Append(l2tp.ControlHeader(1, 0, 2, 3).Append(nil))
		l2tp.PutLength(b)
		return b
	}
	vendor := datagram(l2tp.MessageStopCCN)
	vendor[15] = 9
	zlb := l2tp.ControlHeader(1, 0, 2, 3).Append(nil)
	l2tp.PutLength(zlb)
	for name, c := range map[string]struct {
		datagram []byte
		want     string
	}{
		"SCCRQ": {datagram(l2tp.MessageSCCRQ), "recv SCCRQ Ns 2 Nr 3"}, "HELLO": {datagram(l2tp.MessageHello), "recv HELLO"},
		"ICRQ": {datagram(l2tp.MessageICRQ), ""}, "vendor": {vendor, ""}, "ZLB": {zlb, ""},
		"data": {[]byte{0, 2, 0, 1, 0, 1, 0xff, 3, 0xc0, 0x21, 9, 9, 9, 9, 9}, ""}, "malformed": {[]byte{0xc8}, ""},
	} {
		var l Log
		l.Begin(0, nil)
		if at := l.Control(0, Received, c.datagram, testLimit); (at != 0) != (c.want != "") || strings.Join(texts(&l), "|") != c.want {
			t.Errorf("%s: %q at %d, want %q", name, texts(&l), at, c.want)
		}
	}
	var l Log
	l.Begin(0, nil)
	if l.PPP(0, Received, []byte{0xff}, testLimit) != 0 || len(texts(&l)) != 0 {
		t.Errorf("what is no frame is %q", texts(&l))
	}
}

func TestNames(t *testing.T) {
	if SourceIKE.String() != "ike" || SourceLNS.String() != "lns" || Received.String() != "recv" || Inside.String() != "" {
		t.Error("a source or a direction has another name than scripts know")
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
