package ppp

import (
	"bytes"
	"errors"
	"testing"
)

func TestParseFrame(t *testing.T) {
	for name, c := range map[string]struct {
		in    string
		proto Protocol
		ac    bool
		short bool
		rest  string
	}{
		"full":                {"\xff\x03\xc0\x21abc", ProtocolLCP, true, false, "abc"},
		"ACFC":                {"\xc0\x21abc", ProtocolLCP, false, false, "abc"},
		"PFC":                 {"\xff\x03\x21abc", ProtocolIPv4, true, true, "abc"},
		"both":                {"\x21abc", ProtocolIPv4, false, true, "abc"},
		"uncompressed IPv4":   {"\x00\x21abc", ProtocolIPv4, false, false, "abc"},
		"no information":      {"\xff\x03\xc2\x23", ProtocolCHAP, true, false, ""},
		"unknown":             {"\x80\xfb", 0x80fb, false, false, ""},
		"FF without 03":       {"\xff\x04\xc0\x21", 0, false, false, ""},
		"empty":               {"", 0, false, false, ""},
		"address and control": {"\xff\x03", 0, false, false, ""},
		"half a protocol":     {"\xc0", 0, false, false, ""},
		"even protocol":       {"\xc0\x20", 0, false, false, ""},
	} {
		f, err := ParseFrame([]byte(c.in))
		if c.proto == 0 {
			if !errors.Is(err, ErrFrame) {
				t.Errorf("%s: %+v, %v: want ErrFrame", name, f, err)
			}
			continue
		}
		if err != nil || f.Protocol != c.proto || f.AddressControl != c.ac || f.ShortProtocol != c.short || string(f.Payload) != c.rest {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}

func TestAppendHeader(t *testing.T) {
	for name, c := range map[string]struct {
		p         Protocol
		acfc, pfc bool
		want      string
	}{
		"plain":                    {ProtocolIPCP, false, false, "\xff\x03\x80\x21"},
		"ACFC":                     {ProtocolIPCP, true, false, "\x80\x21"},
		"PFC of a long protocol":   {ProtocolIPCP, false, true, "\xff\x03\x80\x21"},
		"PFC":                      {ProtocolIPv4, false, true, "\xff\x03\x21"},
		"both":                     {ProtocolIPv4, true, true, "\x21"},
		"LCP is never compressed":  {ProtocolLCP, true, true, "\xff\x03\xc0\x21"},
		"IPv4 without compression": {ProtocolIPv4, false, false, "\xff\x03\x00\x21"},
	} {
		if got := AppendHeader(nil, c.p, c.acfc, c.pfc); string(got) != c.want {
			t.Errorf("%s: % x, want % x", name, got, c.want)
		}
	}
}

func TestProtocolNames(t *testing.T) {
	if ProtocolIPV6CP.String() != "IPV6CP" || Protocol(0x80fb).String() != "0x80fb" {
		t.Error("a protocol has the wrong name")
	}
}

func TestParsePacket(t *testing.T) {
	for name, c := range map[string]struct {
		in, data string
		ok       bool
	}{
		"empty data":      {"\x01\x07\x00\x04", "", true},
		"data":            {"\x01\x07\x00\x06ab", "ab", true},
		"padding":         {"\x01\x07\x00\x06ab\x00\x00", "ab", true},
		"short":           {"\x01\x07\x00", "", false},
		"length below 4":  {"\x01\x07\x00\x03", "", false},
		"length too long": {"\x01\x07\x00\x07ab", "", false},
	} {
		p, err := ParsePacket([]byte(c.in))
		if c.ok != (err == nil) || err != nil && !errors.Is(err, ErrPacket) {
			t.Errorf("%s: %v", name, err)
		}
		if c.ok && (p.Code != ConfigureRequest || p.ID != 7 || string(p.Data) != c.data) {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestCodeNames(t *testing.T) {
	if ConfigureNak.String() != "Configure-Nak" || Code(0).String() != "Code-0" || Code(77).String() != "Code-77" {
		t.Error("a code has the wrong name")
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte("\xff\x03\xc0\x21\x01\x01\x00\x04"))
	f.Add([]byte("\x21\x45"))
	f.Add([]byte("\xc2\x23\x02\x01\x00\x06ab\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := ParseFrame(b)
		if err != nil {
			return
		}
		again := AppendHeader(nil, fr.Protocol, !fr.AddressControl, fr.ShortProtocol)
		if !fr.AddressControl && fr.Protocol == ProtocolLCP {
			again = again[2:]
		}
		// A short protocol written in two octets is read, never written.
		if got := append(again, fr.Payload...); !bytes.Equal(got, b) {
			t.Errorf("% x came back as % x", b, got)
		}
		if p, err := ParsePacket(fr.Payload); err == nil {
			if got := AppendPacket(nil, p.Code, p.ID, p.Data); !bytes.HasPrefix(fr.Payload, got) {
				t.Errorf("packet % x came back as % x", fr.Payload, got)
			}
		}
	})
}
