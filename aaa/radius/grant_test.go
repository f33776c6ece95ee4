package radius

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"culvert/aaa"

	"layeh.com/radius"
)

func attr(t radius.Type, v ...byte) []byte { return append([]byte{byte(t), byte(2 + len(v))}, v...) }

func text(t radius.Type, v string) []byte { return attr(t, []byte(v)...) }

func num(t radius.Type, v uint32) []byte { return attr(t, binary.BigEndian.AppendUint32(nil, v)...) }

func vsa(vendor uint32, sub ...[]byte) []byte {
	return attr(typeVendorSpecific, append(binary.BigEndian.AppendUint32(nil, vendor), bytes.Join(sub, nil)...)...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

const success = "S=0123456789ABCDEF0123456789ABCDEF01234567"

func TestDecodeAccept(t *testing.T) {
	tests := []struct {
		name  string
		attrs []byte
		want  aaa.Grant
	}{
		{"nothing", nil, aaa.Grant{}},
		{"name", text(typeUserName, "ann@isp"), aaa.Grant{User: "ann@isp"}},
		{"address", num(typeFramedIPAddress, 0xc6336409), aaa.Grant{Address: ip("198.51.100.9")}},
		{"NAS selects", num(typeFramedIPAddress, 0xfffffffe), aaa.Grant{}},
		{"user selects", num(typeFramedIPAddress, 0xffffffff), aaa.Grant{}},
		{"interim raised to a minute", num(typeAcctInterimInterval, 1), aaa.Grant{Interim: time.Minute}},
		{"no interim", num(typeAcctInterimInterval, 0), aaa.Grant{}},
		{"longest timeout", num(typeSessionTimeout, 0xffffffff), aaa.Grant{SessionTimeout: 0xffffffff * time.Second}},
		{"classes", join(text(typeClass, "a"), text(typeClass, "b")), aaa.Grant{Class: [][]byte{[]byte("a"), []byte("b")}}},
		{"routes", join(text(typeFramedRoute, "10.1.2.3/16"), text(typeFramedRoute, "192.168.7.0 198.51.100.9 1 2 -1 3 400\x00"), text(typeFramedRoute, "172.16.0.0")),
			aaa.Grant{Routes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("192.168.7.0/24"), netip.MustParsePrefix("172.16.0.0/16")}}},
		{"Microsoft", vsa(vendorMicrosoft, num(28, 0x01010101), num(29, 0x02020202), num(30, 0x03030303), num(31, 0x04040404)),
			aaa.Grant{DNS: [2]netip.Addr{ip("1.1.1.1"), ip("2.2.2.2")}, NBNS: [2]netip.Addr{ip("3.3.3.3"), ip("4.4.4.4")}}},
		{"Ascend", vsa(vendorAscend, num(135, 0x01010101), num(136, 0x02020202)), aaa.Grant{DNS: [2]netip.Addr{ip("1.1.1.1"), ip("2.2.2.2")}}},
		{"Redback", vsa(vendorRedback, num(1, 0x01010101), num(2, 0x02020202)), aaa.Grant{DNS: [2]netip.Addr{ip("1.1.1.1"), ip("2.2.2.2")}}},
		{"Juniper", join(vsa(vendorERX, num(4, 0x01010101)), vsa(vendorERX, num(5, 0x02020202)), vsa(vendorERX, text(2, "p"))),
			aaa.Grant{Pool: "p", DNS: [2]netip.Addr{ip("1.1.1.1"), ip("2.2.2.2")}}},
		{"Cisco", join(vsa(vendorCisco, text(1, "ip:dns-servers=1.1.1.1 2.2.2.2 3.3.3.3")), vsa(vendorCisco, text(1, "ip:addr-pool=p")), vsa(vendorCisco, text(1, "lcp:interface-config=x"))),
			aaa.Grant{Pool: "p", DNS: [2]netip.Addr{ip("1.1.1.1"), ip("2.2.2.2")}}},
		{"Framed-Pool wins", join(vsa(vendorERX, text(2, "vendor")), text(typeFramedPool, "std")), aaa.Grant{Pool: "std"}},
		{"Framed-Pool wins first", join(text(typeFramedPool, "std"), vsa(vendorERX, text(2, "vendor"))), aaa.Grant{Pool: "std"}},
		{"0.0.0.0 is no server", vsa(vendorMicrosoft, num(28, 0)), aaa.Grant{}},
		{"unknown vendor of any form", vsa(4242, []byte{1, 0, 255}), aaa.Grant{}},
		{"unknown attribute", text(200, "x"), aaa.Grant{}},
		{"message in parts", join(text(typeReplyMessage, "hel"), text(typeReplyMessage, "lo")), aaa.Grant{ReplyMessage: "hello"}},
	}
	for _, test := range tests {
		g, err := decodeAccept(test.attrs, aaa.MethodPAP)
		if err != nil || !reflect.DeepEqual(*g, test.want) {
			t.Errorf("%s: got %+v, %v; want %+v", test.name, g, err, test.want)
		}
	}
	g, err := decodeAccept(vsa(vendorMicrosoft, text(26, "\x07"+success+" M=welcome")), aaa.MethodMSCHAPv2)
	if err != nil || g.MSCHAPSuccess != success+" M=welcome" {
		t.Errorf("MS-CHAP2-Success: %+v, %v", g, err)
	}
}

func TestDecodeAcceptRefuses(t *testing.T) {
	tests := []struct {
		name   string
		attrs  []byte
		method aaa.Method
		want   string
	}{
		{"short address", attr(typeFramedIPAddress, 1, 2, 3), 0, "Framed-IP-Address has 3 octets instead of 4"},
		{"multicast", attr(typeFramedIPAddress, 224, 0, 0, 1), 0, "Framed-IP-Address 224.0.0.1 is no address for a subscriber"},
		{"loopback", attr(typeFramedIPAddress, 127, 0, 0, 1), 0, "is no address for a subscriber"},
		{"long timeout", attr(typeSessionTimeout, 1, 2, 3, 4, 5), 0, "Session-Timeout has 5 octets instead of 4"},
		{"idle", attr(typeIdleTimeout), 0, "Idle-Timeout has 0 octets"},
		{"interim", attr(typeAcctInterimInterval, 1), 0, "Acct-Interim-Interval has 1 octets"},
		{"MTU of 63", num(typeFramedMTU, 63), 0, "Framed-MTU 63 is not between 64 and 65535"},
		{"MTU of 65536", num(typeFramedMTU, 65536), 0, "Framed-MTU 65536"},
		{"route of rubbish", text(typeFramedRoute, "rubbish"), 0, `Framed-Route "rubbish" does not begin with an IPv4 prefix`},
		{"route of IPv6", text(typeFramedRoute, "2001:db8::/64"), 0, "IPv4 prefix"},
		{"route of 33 bits", text(typeFramedRoute, "10.0.0.0/33"), 0, "wrong prefix length"},
		{"empty route", text(typeFramedRoute, " "), 0, "is empty"},
		{"vendor cut off", attr(typeVendorSpecific, 0, 0, 1), 0, "Vendor-Specific has 3 octets"},
		{"vendor's attribute too long", vsa(vendorMicrosoft, []byte{28, 7, 1, 1, 1, 1}), 0, "Vendor-Specific of vendor 311 has an attribute of wrong length"},
		{"vendor's attribute of length 1", vsa(vendorMicrosoft, []byte{28, 1}), 0, "wrong length"},
		{"vendor's DNS of 3 octets", vsa(vendorERX, attr(4, 1, 2, 3)), 0, "ERX-Primary-Dns has 3 octets"},
		{"Cisco DNS", vsa(vendorCisco, text(1, "ip:dns-servers=x")), 0, "Cisco-AVPair"},
		{"attribute of length 1", []byte{1, 1}, 0, "attribute 1 at octet 20 has length 1 with 2 octets left"},
		{"attribute too long", join(text(typeUserName, "ann"), []byte{25, 9, 1}), 0, "attribute 25 at octet 25 has length 9 with 3 octets left"},
		{"half an attribute", []byte{25}, 0, "attribute 25 at octet 20 is cut off"},
		{"no MS-CHAP2-Success", nil, aaa.MethodMSCHAPv2, "MS-CHAP2-Success is missing"},
		{"short MS-CHAP2-Success", vsa(vendorMicrosoft, text(26, "\x07S=0123")), aaa.MethodMSCHAPv2, "MS-CHAP2-Success is not"},
	}
	for _, test := range tests {
		g, err := decodeAccept(test.attrs, test.method)
		if err == nil || g != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %+v, %v; want %q", test.name, g, err, test.want)
		}
	}
}

func TestDecodeReject(t *testing.T) {
	tests := []struct {
		name  string
		code  radius.Code
		attrs []byte
		want  aaa.RejectError
	}{
		{"bare", radius.CodeAccessReject, nil, aaa.RejectError{}},
		{"message", radius.CodeAccessReject, text(typeReplyMessage, "no credit"), aaa.RejectError{Message: "no credit"}},
		{"malformed is still no", radius.CodeAccessReject, join(text(typeReplyMessage, "no"), []byte{1, 1}), aaa.RejectError{Message: "no"}},
		{"MS-CHAP-Error", radius.CodeAccessReject, vsa(vendorMicrosoft, text(2, "\x07E=691 R=1 V=3")), aaa.RejectError{MSCHAPError: "E=691 R=1 V=3"}},
		{"without identifier", radius.CodeAccessReject, vsa(vendorMicrosoft, text(2, "E=691 R=1 V=3")), aaa.RejectError{MSCHAPError: "E=691 R=1 V=3"}},
		{"challenge", radius.CodeAccessChallenge, nil, aaa.RejectError{Message: "a further challenge is not supported"}},
	}
	for _, test := range tests {
		if got := decodeReject(test.attrs, test.code); !reflect.DeepEqual(*got, test.want) {
			t.Errorf("%s: got %+v, want %+v", test.name, *got, test.want)
		}
	}
}

// A grant must not change when the buffer it was read from does.
func TestGrantOwnsItsBytes(t *testing.T) {
	b := join(text(typeClass, "class"), text(typeReplyMessage, "hello"), text(typeUserName, "ann"), text(typeFramedPool, "gold"))
	g, err := decodeAccept(b, aaa.MethodPAP)
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	want := &aaa.Grant{Class: [][]byte{[]byte("class")}, ReplyMessage: "hello", User: "ann", Pool: "gold"}
	if !reflect.DeepEqual(g, want) {
		t.Errorf("got %+v", g)
	}
}

func FuzzReply(f *testing.F) {
	f.Add(join(num(typeFramedIPAddress, 0xc6336409), text(typeFramedRoute, "10.1.2.3/16 0.0.0.0 1"), text(typeClass, "x"), num(typeFramedMTU, 1492)), uint8(1))
	f.Add(join(vsa(vendorMicrosoft, text(26, "\x07"+success), num(28, 1)), vsa(vendorCisco, text(1, "ip:dns-servers=1.1.1.1 2.2.2.2"))), uint8(3))
	f.Add(join(vsa(vendorMicrosoft, text(2, "E=691")), text(typeReplyMessage, "no")), uint8(3))
	f.Add(join(attr(typeEAPMessage, 1, 80, 0, 6, 4, 1), attr(typeState, 7, 7), num(typeSessionTimeout, 30), num(typeErrorCause, 202)), uint8(4))
	f.Add([]byte{26, 6, 0, 0, 1, 55, 26, 3, 1}, uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, method uint8) {
		packet := append(make([]byte, headerLen), b...)
		sign := newSigner([]byte("s"))
		var auth [16]byte
		_ = sign.signature(packet, &auth)
		_ = decodeReject(b, radius.CodeAccessReject)
		if c, err := decodeChallenge(b, 3); (c == nil) == (err == nil) || c != nil && (len(c.EAP) == 0 || c.State[0] != 3 || c.Timeout > maxChallengeTimeout) {
			t.Fatalf("%+v and %v", c, err)
		}
		g, err := decodeAccept(b, aaa.Method(method))
		if (g == nil) == (err == nil) {
			t.Fatalf("%+v and %v", g, err)
		}
		if g == nil {
			return
		}
		if g.Interim != 0 && g.Interim < time.Minute || g.MTU != 0 && g.MTU < 64 || g.Address.IsValid() && !g.Address.Is4() {
			t.Fatalf("impossible grant %+v", g)
		}
		for _, r := range g.Routes {
			if !r.IsValid() || r != r.Masked() {
				t.Fatalf("route %s", r)
			}
		}
		// What was understood must fit back into an accounting request.
		e := &encoder{signer: sign, nasID: "n"}
		p := e.accountingRequest(1, &aaa.Usage{Kind: aaa.UsageStop, Class: g.Class, Routes: g.Routes, Identity: aaa.Identity{User: g.User}}, time.Unix(0, 0))
		if _, err := radius.Parse(p, []byte("s")); err != nil {
			t.Fatal(err)
		}
	})
}

func testLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// nobodyThere is a Disconnecter without sessions.
type nobodyThere struct{}

func (nobodyThere) Disconnect(m Match) (int, error) {
	if m == (Match{}) {
		panic("a request that means everybody")
	}
	return 0, nil
}

func FuzzDynAuth(f *testing.F) {
	f.Add(uint8(40), join(text(typeUserName, "ann"), num(typeFramedIPAddress, 1), num(typeEventTimestamp, 7)), true)
	f.Add(uint8(43), join(text(typeAcctSessionID, "s"), text(typeProxyState, "x")), true)
	f.Add(uint8(40), []byte{1, 0}, false)
	cfg := DynAuthConfig{Clients: []DynAuthClient{{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Secret: []byte("s")}}}
	from := netip.MustParseAddrPort("192.0.2.9:4000")
	f.Fuzz(func(t *testing.T, code uint8, b []byte, signed bool) {
		if len(b) > maxPacket-headerLen {
			return
		}
		s := newDynAuth(cfg, nobodyThere{}, testLog())
		p := append(make([]byte, headerLen), b...)
		p[0], p[1] = code, 9
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		if signed {
			newSigner([]byte("s")).signHashed(p, 0)
		}
		reply := s.handle(p, from)
		if reply == nil {
			return
		}
		if !signed && !radius.IsAuthenticRequest(p, []byte("s")) {
			t.Fatal("answered a request that is not authentic")
		}
		if !radius.IsAuthenticResponse(reply, p, []byte("s")) || reply[1] != 9 || reply[0] != code+2 {
			t.Fatalf("answer %x", reply)
		}
		var auth [16]byte
		copy(auth[:], p[4:20])
		if newSigner([]byte("s")).signature(reply, &auth) != isSigned {
			t.Fatalf("answer %x has no right Message-Authenticator", reply)
		}
	})
}
