package ppp

import (
	"errors"
	"net/netip"
	"testing"
)

func TestIPCPConfigRoundTrip(t *testing.T) {
	addr := netip.MustParseAddr
	for _, c := range []IPCPConfig{
		{},
		{Address: addr("192.0.2.1")},
		{Address: addr("0.0.0.0"), DNS: [2]netip.Addr{addr("0.0.0.0"), addr("1.2.3.4")}, NBNS: [2]netip.Addr{addr("5.6.7.8"), addr("9.9.9.9")}},
		{Compression: 0x002d},
	} {
		got, err := ParseIPCPConfig(c.Append(nil))
		if err != nil || got != c {
			t.Errorf("%+v came back as %+v, %v", c, got, err)
		}
	}
	c := IPCPConfig{Address: addr("10.0.0.1"), DNS: [2]netip.Addr{addr("10.0.0.2"), {}}}
	if got := c.Append(nil); string(got) != "\x03\x06\x0a\x00\x00\x01\x81\x06\x0a\x00\x00\x02" {
		t.Errorf("% x", got)
	}
	if c := (IPCPConfig{Address: addr("2001:db8::1")}); len(c.Append(nil)) != 0 {
		t.Error("an IPv6 address was written")
	}
}

func TestIPCPConfigBad(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want error
	}{
		"address of three octets": {"\x03\x05abc", ErrOptionValue},
		"DNS of five octets":      {"\x81\x07abcde", ErrOptionValue},
		"compression of one":      {"\x02\x03a", ErrOptionValue},
		"IP-Addresses":            {"\x01\x0aabcdefgh", ErrUnknownOption},
		"mobile IP":               {"\x04\x06abcd", ErrUnknownOption},
		"length too long":         {"\x03\x06abc", ErrOption},
	} {
		if got, err := ParseIPCPConfig([]byte(c.in)); !errors.Is(err, c.want) || got != (IPCPConfig{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if got, err := ParseIPCPConfig([]byte("\x02\x06\x00\x2d\x0f\x01")); err != nil || got.Compression != 0x2d {
		t.Errorf("Van Jacobson: %+v, %v", got, err)
	}
}

func FuzzIPCPOptions(f *testing.F) {
	f.Add([]byte("\x03\x06\x00\x00\x00\x00\x81\x06\x00\x00\x00\x00\x83\x06\x00\x00\x00\x00"))
	f.Add([]byte("\x02\x06\x00\x2d\x0f\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseIPCPConfig(b)
		if err != nil {
			return
		}
		if again, err := ParseIPCPConfig(c.Append(nil)); err != nil || again != c {
			t.Errorf("%+v came back as %+v, %v", c, again, err)
		}
	})
}
