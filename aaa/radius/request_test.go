package radius

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/aaa"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2868"
)

func testEncoder() *encoder {
	return &encoder{signer: newSigner([]byte("s")), nasID: "lns-1", nasAddr: netip.MustParseAddr("192.0.2.1")}
}

func parse(t *testing.T, b []byte) *radius.Packet {
	t.Helper()
	p, err := radius.Parse(b, []byte("s"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAccessRequestAttributes(t *testing.T) {
	e := testEncoder()
	auth := [16]byte{1, 2, 3}
	req := &aaa.Request{
		Identity: aaa.Identity{AcctSessionID: "s1", User: "ann", NASPort: 7, NASPortID: "p7", CallingStation: "020", CalledStation: "0845", ConnectInfo: "80M",
			TunnelClient: netip.MustParseAddr("::ffff:192.0.2.7"), TunnelServer: netip.MustParseAddr("192.0.2.1"),
			TunnelClientName: "\x01lac", TunnelServerName: "lns", TunnelAssignment: "17"},
		Credentials: aaa.Credentials{Method: aaa.MethodPAP, Password: []byte("right")},
	}
	b, err := e.accessRequest(9, &auth, req, time.Unix(1700000000, 0))
	if err != nil {
		t.Fatal(err)
	}
	p := parse(t, b)
	if p.Code != radius.CodeAccessRequest || p.Identifier != 9 || p.Authenticator != auth || p.Attributes[0].Type != typeMessageAuthenticator {
		t.Errorf("packet %+v", p)
	}
	if e.signature(b, &auth) != isSigned {
		t.Error("the Message-Authenticator is wrong")
	}
	if rfc2865.UserPassword_GetString(p) != "right" {
		t.Error("the password is wrong")
	}
	want := map[radius.Type]string{
		typeUserName: "ann", typeNASIdentifier: "lns-1", typeNASIPAddress: "\xc0\x00\x02\x01", typeNASPort: "\x00\x00\x00\x07", typeNASPortType: "\x00\x00\x00\x05",
		typeNASPortID: "p7", typeServiceType: "\x00\x00\x00\x02", typeFramedProtocol: "\x00\x00\x00\x01", typeCallingStationID: "020", typeCalledStationID: "0845",
		typeConnectInfo: "80M", typeTunnelType: "\x00\x00\x00\x03", typeTunnelMedium: "\x00\x00\x00\x01", typeTunnelClientEndpoint: "192.0.2.7",
		typeTunnelServerEndpoint: "192.0.2.1", typeTunnelClientAuthID: "\x00\x01lac", typeTunnelServerAuthID: "lns", typeTunnelAssignmentID: "17",
		typeAcctSessionID: "s1", typeEventTimestamp: "\x65\x53\xf1\x00",
	}
	for typ, v := range want {
		if got := string(p.Get(typ)); got != v {
			t.Errorf("attribute %d is %q, want %q", typ, got, v)
		}
	}
	if tag, name := rfc2868.TunnelClientAuthID_GetString(p); tag != 0 || !strings.HasSuffix(name, "\x01lac") {
		t.Errorf("Tunnel-Client-Auth-ID: tag %d, %q", tag, name)
	}
}

// Absent facts leave their attributes out: RFC 2865 has no empty attributes.
func TestAccessRequestOfAlmostNothing(t *testing.T) {
	e := testEncoder()
	e.nasAddr = netip.MustParseAddr("2001:db8::1")
	req := &aaa.Request{Identity: aaa.Identity{TunnelClient: netip.MustParseAddr("2001:db8::7")}}
	b, err := e.accessRequest(1, &[16]byte{}, req, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p := parse(t, b)
	for _, a := range p.Attributes {
		if len(a.Attribute) == 0 {
			t.Errorf("attribute %d is empty", a.Type)
		}
	}
	if p.Get(typeUserName) != nil || len(p.Get(typeNASIPv6Address)) != 16 || p.Get(typeNASIPAddress) != nil || p.Get(typeTunnelMedium)[3] != 2 {
		t.Errorf("packet %+v", p)
	}
}

// A record that is larger than a packet loses routes, and nothing else.
func TestAccountingRequestOverflow(t *testing.T) {
	e := testEncoder()
	u := &aaa.Usage{Kind: aaa.UsageStop, Identity: aaa.Identity{AcctSessionID: "s1", NASPortID: strings.Repeat("x", 300)}, Cause: 1, At: time.Unix(50, 0)}
	for i := range 10 {
		u.Class = append(u.Class, bytes.Repeat([]byte{byte(i)}, 253))
	}
	for i := range 100 {
		u.Routes = append(u.Routes, netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", i)))
	}
	b := e.accountingRequest(1, u, time.Unix(57, 0))
	p := parse(t, b)
	if !e.short || len(b) > maxPacket || !radius.IsAuthenticRequest(b, []byte("s")) {
		t.Errorf("%d octets, short is %t", len(b), e.short)
	}
	classes, _ := rfc2865.Class_Gets(p)
	if len(classes) != 10 || p.Get(typeAcctTerminate) == nil || len(p.Get(typeNASPortID)) != 253 || p.Get(typeAcctDelayTime)[3] != 7 {
		t.Errorf("%d classes in %+v", len(classes), p)
	}
}

func TestDelay(t *testing.T) {
	at := time.Unix(1000, 0)
	for _, test := range []struct {
		now  time.Time
		want uint32
	}{{at, 0}, {at.Add(-time.Hour), 0}, {at.Add(1999 * time.Millisecond), 1}, {at.Add(time.Hour), 3600}, {at.Add(200 * 365 * 24 * time.Hour), 1<<32 - 1}} {
		if got := delay(&aaa.Usage{At: at}, test.now); got != test.want {
			t.Errorf("%s: %d, want %d", test.now, got, test.want)
		}
	}
	if got := delay(&aaa.Usage{}, at); got != 0 {
		t.Errorf("no time: %d", got)
	}
}

func TestTimersHeap(t *testing.T) {
	var h timers
	base := time.Now()
	var all []*exchange
	for i := range 500 {
		x := &exchange{timer: -1, due: base.Add(time.Duration(i*7919%503) * time.Second)}
		h.push(x)
		all = append(all, x)
	}
	for i, x := range all {
		if i%3 == 0 {
			h.remove(x)
			h.remove(x)
		}
	}
	last := base
	for n := 0; len(h) > 0; n++ {
		x := h[0]
		if x.due.Before(last) || x.timer != 0 {
			t.Fatalf("number %d is out of order", n)
		}
		last = x.due
		h.remove(x)
	}
}

func TestFIFO(t *testing.T) {
	var q fifo
	in, out := 0, 0
	for round := range 1000 {
		for range round % 7 {
			q.push(&exchange{sent: in})
			in++
		}
		for range round % 5 {
			if q.len() == 0 {
				break
			}
			if q.peek().sent != out || q.pop().sent != out {
				t.Fatalf("out of order at %d", out)
			}
			out++
		}
	}
	if q.len() != in-out || len(q.items) > 2*q.len()+200 {
		t.Errorf("%d queued of %d, %d kept", q.len(), in-out, len(q.items))
	}
}

func BenchmarkEncodeAccess(b *testing.B) {
	e := testEncoder()
	req := &aaa.Request{Identity: aaa.Identity{AcctSessionID: "n1-00000005-0000000000a1", User: "user0815@isp.example", NASPort: 7, NASPortID: "olt-7/3/21",
		TunnelClient: netip.MustParseAddr("192.0.2.7"), TunnelServer: netip.MustParseAddr("192.0.2.1"), TunnelClientName: "lac-1"},
		Credentials: aaa.Credentials{Method: aaa.MethodPAP, Password: []byte("right")}}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = e.accessRequest(1, &[16]byte{}, req, time.Unix(0, 0))
	}
}

func BenchmarkDecodeAccept(b *testing.B) {
	a := join(num(typeFramedIPAddress, 0xc6336409), text(typeClass, "0123456789"), num(typeSessionTimeout, 86400), num(typeAcctInterimInterval, 300),
		vsa(vendorMicrosoft, num(28, 0x01010101)), vsa(vendorMicrosoft, num(29, 0x02020202)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeAccept(a, aaa.MethodPAP); err != nil {
			b.Fatal(err)
		}
	}
}
