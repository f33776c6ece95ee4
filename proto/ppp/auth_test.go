package ppp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func TestPAP(t *testing.T) {
	p, err := ParsePacket(AppendPAPRequest(nil, 3, "alice", "secret"))
	if err != nil || p.Code != PAPRequest || p.ID != 3 {
		t.Fatalf("%+v, %v", p, err)
	}
	user, password, err := ParsePAPRequest(p.Data)
	if err != nil || string(user) != "alice" || string(password) != "secret" {
		t.Errorf("%q %q %v", user, password, err)
	}
	for name, in := range map[string]string{
		"nothing": "", "name too long": "\x06alice", "no password": "\x05alice", "password too long": "\x01a\x02b",
	} {
		if _, _, err := ParsePAPRequest([]byte(in)); !errors.Is(err, ErrPacket) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if user, password, err := ParsePAPRequest([]byte("\x00\x00")); err != nil || len(user)+len(password) != 0 {
		t.Errorf("both empty: %q %q %v", user, password, err)
	}
	if user, _, err := ParsePAPRequest([]byte("\x01a\x01bextra")); err != nil || string(user) != "a" {
		t.Errorf("octets behind: %q %v", user, err)
	}
}

func TestPAPReply(t *testing.T) {
	p, err := ParsePacket(AppendPAPReply(nil, PAPNak, 3, strings.Repeat("m", 300)))
	if err != nil || p.Code != PAPNak || len(ParsePAPMessage(p.Data)) != 255 {
		t.Errorf("%+v, %v", p, err)
	}
	if m := ParsePAPMessage(nil); len(m) != 0 {
		t.Errorf("no message is %q", m)
	}
}

func TestCHAP(t *testing.T) {
	p, err := ParsePacket(AppendCHAPValue(nil, CHAPChallenge, 8, []byte("0123456789abcdef"), "lns"))
	if err != nil || p.Code != CHAPChallenge || p.ID != 8 {
		t.Fatalf("%+v, %v", p, err)
	}
	value, name, err := ParseCHAPValue(p.Data)
	if err != nil || string(value) != "0123456789abcdef" || string(name) != "lns" {
		t.Errorf("%q %q %v", value, name, err)
	}
	for name, in := range map[string]string{"nothing": "", "empty value": "\x00name", "too long": "\x05abcd"} {
		if _, _, err := ParseCHAPValue([]byte(in)); !errors.Is(err, ErrPacket) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p, err = ParsePacket(AppendCHAPReply(nil, CHAPSuccess, 8, "welcome"))
	if err != nil || p.Code != CHAPSuccess || string(p.Data) != "welcome" {
		t.Errorf("%+v, %v", p, err)
	}
}

// The hash is MD5 over identifier, secret, challenge, in that order.
func TestCHAPMD5(t *testing.T) {
	// md5("\x61" "bc" "") is that of "abc" (RFC 1321 appendix A.5).
	if got := CHAPMD5(0x61, "b", []byte("c")); hex.EncodeToString(got[:]) != "900150983cd24fb0d6963f7d28e17f72" {
		t.Errorf("%x", got)
	}
}

func TestMSCHAPv2Response(t *testing.T) {
	var r MSCHAPv2Response
	copy(r.PeerChallenge[:], "0123456789abcdef")
	copy(r.NTResponse[:], "ABCDEFGHIJKLMNOPQRSTUVWX")
	b := r.Append(nil)
	want := "0123456789abcdef" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "ABCDEFGHIJKLMNOPQRSTUVWX" + "\x00"
	if string(b) != want {
		t.Errorf("%q", b)
	}
	if got, err := ParseMSCHAPv2Response(b); err != nil || got != r {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ParseMSCHAPv2Response(b[:48]); !errors.Is(err, ErrPacket) {
		t.Errorf("48 octets: %v", err)
	}
}

func TestMSCHAPError(t *testing.T) {
	e := MSCHAPError{Code: 691, Retry: true, Challenge: []byte{0xab, 0x01}, Message: "no M= such user"}
	if got := e.String(); got != "E=691 R=1 C=AB01 V=3 M=no M= such user" {
		t.Errorf("%q", got)
	}
	got, err := ParseMSCHAPError(e.String())
	if err != nil || got.Code != 691 || !got.Retry || !bytes.Equal(got.Challenge, e.Challenge) || got.Message != e.Message {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := ParseMSCHAPError("E=648 R=0 V=3"); err != nil || got.Code != 648 || got.Retry {
		t.Errorf("%+v, %v", got, err)
	}
	for _, in := range []string{"", "R=1", "E=x", "E=691 C=zz"} {
		if _, err := ParseMSCHAPError(in); !errors.Is(err, ErrPacket) {
			t.Errorf("%q: %v", in, err)
		}
	}
	short := MSCHAPError{Code: 691}
	if got := short.String(); got != "E=691 R=0 V=3 M=" {
		t.Errorf("%q", got)
	}
}

func FuzzAuth(f *testing.F) {
	f.Add([]byte("\x05alice\x06secret"))
	f.Add([]byte("\x100123456789abcdefalice"))
	f.Add([]byte("E=691 R=1 C=AB01 V=3 M=x"))
	f.Add(make([]byte, MSCHAPv2ResponseLen))
	f.Fuzz(func(t *testing.T, b []byte) {
		if user, password, err := ParsePAPRequest(b); err == nil {
			p, err := ParsePacket(AppendPAPRequest(nil, 1, string(user), string(password)))
			if err != nil || !bytes.HasPrefix(b, p.Data) {
				t.Errorf("PAP % x came back as % x, %v", b, p.Data, err)
			}
		}
		if value, name, err := ParseCHAPValue(b); err == nil && len(b) < 60000 {
			p, err := ParsePacket(AppendCHAPValue(nil, CHAPResponse, 1, value, string(name)))
			if err != nil || !bytes.Equal(b, p.Data) {
				t.Errorf("CHAP % x came back as % x, %v", b, p.Data, err)
			}
		}
		if r, err := ParseMSCHAPv2Response(b); err == nil {
			if again, err := ParseMSCHAPv2Response(r.Append(nil)); err != nil || again != r {
				t.Errorf("MS-CHAPv2 % x came back as %+v, %v", b, again, err)
			}
		}
		if e, err := ParseMSCHAPError(string(b)); err == nil {
			if again, err := ParseMSCHAPError(e.String()); err != nil || again.Code != e.Code || again.Message != e.Message {
				t.Errorf("MS-CHAP error %q came back as %+v, %v", b, again, err)
			}
		}
	})
}
