package ppp

import (
	"bytes"
	"errors"
	"testing"
)

func TestLCPConfigRoundTrip(t *testing.T) {
	for _, c := range []LCPConfig{
		{},
		{MRU: 1492, Magic: 0x01020304},
		{HasACCM: true, ACCM: 0xffffffff, PFC: true, ACFC: true},
		{HasACCM: true, Auth: AuthPAP, Quality: ProtocolLQR},
		{Auth: AuthCHAP}, {Auth: AuthMSCHAPv2}, {Auth: Auth{Protocol: ProtocolEAP}},
	} {
		b := c.Append(nil)
		got, err := ParseLCPConfig(b)
		if err != nil || got != c {
			t.Errorf("%+v came back as %+v, %v from % x", c, got, err, b)
		}
	}
}

func TestLCPConfigWire(t *testing.T) {
	c := LCPConfig{MRU: 1500, Auth: AuthCHAP, Magic: 0xdeadbeef}
	if got := c.Append(nil); string(got) != "\x01\x04\x05\xdc\x03\x05\xc2\x23\x05\x05\x06\xde\xad\xbe\xef" {
		t.Errorf("% x", got)
	}
}

func TestLCPConfigBad(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want error
	}{
		"MRU of one octet":      {"\x01\x03\x05", ErrOptionValue},
		"MRU of three octets":   {"\x01\x05\x05\xdc\x00", ErrOptionValue},
		"magic of three octets": {"\x05\x05abc", ErrOptionValue},
		"magic zero":            {"\x05\x06\x00\x00\x00\x00", ErrOptionValue},
		"ACCM of five octets":   {"\x02\x07abcde", ErrOptionValue},
		"PFC with a value":      {"\x07\x03a", ErrOptionValue},
		"auth of one octet":     {"\x03\x03\xc0", ErrOptionValue},
		"PAP with data":         {"\x03\x05\xc0\x23\x05", ErrOptionValue},
		"CHAP with no algo":     {"\x03\x04\xc2\x23", ErrOptionValue},
		"CHAP with two":         {"\x03\x06\xc2\x23\x05\x06", ErrOptionValue},
		"unknown (MRRU)":        {"\x11\x04\x05\xdc", ErrUnknownOption},
		"length 0":              {"\x01\x00", ErrOption},
		"length 1":              {"\x01\x01", ErrOption},
		"length too long":       {"\x01\x05\x05\xdc", ErrOption},
		"half a header":         {"\x01\x04\x05\xdc\x05", ErrOption},
	} {
		if got, err := ParseLCPConfig([]byte(c.in)); !errors.Is(err, c.want) || got != (LCPConfig{}) {
			t.Errorf("%s: %+v, %v: want %v", name, got, err, c.want)
		}
	}
	if err := CheckOptions([]byte("\x01\x04\x05\xdc\x99\x02")); err != nil {
		t.Errorf("whole options: %v", err)
	}
	if err := CheckOptions([]byte("\x01\x04\x05\xdc\x99")); !errors.Is(err, ErrOption) {
		t.Errorf("half an option: %v", err)
	}
}

func TestAuthNames(t *testing.T) {
	for a, want := range map[Auth]string{
		{}: "none", AuthPAP: "PAP", AuthCHAP: "CHAP-MD5", AuthMSCHAPv2: "MS-CHAPv2",
		{ProtocolCHAP, AlgorithmMSCHAP}: "CHAP-128", {ProtocolEAP, 0}: "EAP",
	} {
		if got := a.String(); got != want {
			t.Errorf("%#v is %q, want %q", a, got, want)
		}
	}
}

func TestMagicPackets(t *testing.T) {
	p, err := ParsePacket(AppendMagic(nil, EchoRequest, 9, 0xa1b2c3d4, []byte("hi")))
	if err != nil || p.Code != EchoRequest || p.ID != 9 {
		t.Fatalf("%+v, %v", p, err)
	}
	magic, rest, err := ParseMagic(p.Data)
	if err != nil || magic != 0xa1b2c3d4 || string(rest) != "hi" {
		t.Errorf("%#x %q %v", magic, rest, err)
	}
	if _, _, err := ParseMagic([]byte("abc")); !errors.Is(err, ErrPacket) {
		t.Errorf("three octets: %v", err)
	}
	magic, seconds, msg, err := ParseTimeRemaining([]byte("\x00\x00\x00\x01\x00\x00\x00\x3cbye"))
	if err != nil || magic != 1 || seconds != 60 || string(msg) != "bye" {
		t.Errorf("Time-Remaining: %d %d %q %v", magic, seconds, msg, err)
	}
	if _, _, _, err := ParseTimeRemaining([]byte("1234567")); !errors.Is(err, ErrPacket) {
		t.Errorf("short Time-Remaining: %v", err)
	}
}

func TestRejects(t *testing.T) {
	info := bytes.Repeat([]byte("x"), 200)
	p, err := ParsePacket(AppendProtocolReject(nil, 3, ProtocolIPV6CP, info, 128))
	if err != nil || p.Code != ProtocolReject || len(p.Data) != 124 {
		t.Fatalf("%v with %d octets, %v: want it cut to 128 in all", p.Code, len(p.Data), err)
	}
	proto, rest, err := ParseProtocolReject(p.Data)
	if err != nil || proto != ProtocolIPV6CP || !bytes.HasPrefix(info, rest) {
		t.Errorf("%v %q %v", proto, rest, err)
	}
	if _, _, err := ParseProtocolReject([]byte{1}); !errors.Is(err, ErrPacket) {
		t.Errorf("one octet: %v", err)
	}
	p, err = ParsePacket(AppendCodeReject(nil, 4, Packet{Code: 99, ID: 5, Data: info}, 128))
	if err != nil || p.Code != CodeReject || len(p.Data) != 124 || string(p.Data[:4]) != "\x63\x05\x00\xcc" {
		t.Errorf("%v % x, %v", p.Code, p.Data, err)
	}
	if got := cut(info, -3); len(got) != 0 {
		t.Errorf("a cut below nothing leaves %d octets", len(got))
	}
}

func FuzzLCPOptions(f *testing.F) {
	f.Add([]byte("\x01\x04\x05\xd4\x05\x06abcd"))
	f.Add([]byte("\x02\x06\x00\x00\x00\x00\x03\x05\xc2\x23\x81\x07\x02\x08\x02"))
	f.Add([]byte("\x0d\x03\x06\x11\x04\x06\x4e\x13\x09\x03abcdef"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseLCPConfig(b)
		if err != nil {
			if c != (LCPConfig{}) {
				t.Errorf("an error came with %+v", c)
			}
			return
		}
		again, err := ParseLCPConfig(c.Append(nil))
		if c.MRU == 0 && c.Quality == 0 && err == nil && again != c {
			t.Errorf("%+v came back as %+v", c, again)
		}
	})
}
