package aaa

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

func fullUsage() Usage {
	return Usage{
		Seq: 1<<40 + 7, Kind: UsageStop,
		Identity: Identity{
			AcctSessionID: "n1-00000005-0000000000a1", User: "user0815@isp.example", NASPort: 4711,
			NASPortID: "olt-7/3/21", CallingStation: "02075550123", CalledStation: "0845", ConnectInfo: "80000000/20000000",
			TunnelClient: netip.MustParseAddr("192.0.2.7"), TunnelServer: netip.MustParseAddr("2001:db8::1"),
			TunnelClientName: "lac-1", TunnelServerName: "lns-1", TunnelAssignment: "17", TunnelConnection: "99812", LAC: "openreach",
			PrivateGroup: "vrf-7", Line: fullLine(),
		},
		Method: MethodMSCHAPv2, Class: [][]byte{{1, 2, 3}, []byte("gold")},
		Address: netip.MustParseAddr("198.51.100.9"),
		Routes:  []netip.Prefix{netip.MustParsePrefix("203.0.113.0/29"), netip.MustParsePrefix("2001:db8:7::/48")},
		At:      time.Date(2026, 3, 4, 5, 6, 7, 891234567, time.UTC), Duration: 36*time.Hour + time.Nanosecond,
		InOctets: 1<<40 + 1, OutOctets: 1<<63 + 5, InPackets: 77, OutPackets: 1 << 33, Cause: CauseLostCarrier,
	}
}

func TestUsageRoundTrip(t *testing.T) {
	minimal := Usage{Seq: 1, Kind: UsageStart, Identity: Identity{AcctSessionID: "x"}}
	before1970 := Usage{Seq: 2, At: time.Date(1960, 1, 1, 0, 0, 0, 5, time.UTC)}
	emptyClass := Usage{Class: [][]byte{{}}}
	for name, u := range map[string]Usage{"full": fullUsage(), "minimal": minimal, "zero": {}, "1960": before1970, "empty class": emptyClass,
		"1970": {At: time.Unix(0, 0).UTC()}} {
		b, err := AppendUsage([]byte("head"), &u)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := ParseUsage(b[len("head"):])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, u) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, u)
		}
	}
}

// A reader of today must read what a writer of tomorrow adds.
func TestUsageSkipsUnknownFields(t *testing.T) {
	u := fullUsage()
	b, _ := AppendUsage(nil, &u)
	b = append(b, 100<<1&0x7f|0x80, 1, 0xff, 1)   // a number under tag 100
	b = append(b, 101<<1&0x7f|0x80|1, 1, 2, 7, 7) // octets under tag 101 (a two-octet key)
	got, err := ParseUsage(b)
	if err != nil || !reflect.DeepEqual(got, u) {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestParseUsageRefuses(t *testing.T) {
	u := fullUsage()
	whole, _ := AppendUsage(nil, &u)
	tests := map[string][]byte{
		"empty":                 {},
		"version":               {2},
		"key only":              {1, tagSeq << 1},
		"varint too long":       append([]byte{1, tagSeq << 1}, bytes.Repeat([]byte{0xff}, 11)...),
		"octets cut off":        {1, tagUser<<1 | 1, 5, 'a'},
		"length overflows":      {1, tagUser<<1 | 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 'a'},
		"address of 5":          {1, tagAddress<<1 | 1, 5, 1, 2, 3, 4, 5},
		"empty route":           {1, tagRoute<<1 | 1, 0},
		"route of 33 bits":      {1, tagRoute<<1 | 1, 5, 1, 2, 3, 4, 33},
		"year 40000":            {1, tagAtSeconds << 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40},
		"a billion nanoseconds": {1, tagAtNanos << 1, 0x80, 0x94, 0xeb, 0xdc, 0x03},
		"kind 256":              {1, tagKind << 1, 0x80, 2},
		"a whole minus one":     whole[:len(whole)-1],
	}
	for name, b := range tests {
		if _, err := ParseUsage(b); !errors.Is(err, ErrUsage) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	zoned := Usage{Address: netip.MustParseAddr("fe80::1%eth0")}
	if b, err := AppendUsage([]byte("x"), &zoned); !errors.Is(err, ErrUsage) || string(b) != "x" {
		t.Errorf("zone: got %q, %v", b, err)
	}
}

func FuzzParseUsage(f *testing.F) {
	u := fullUsage()
	b, _ := AppendUsage(nil, &u)
	f.Add(b)
	f.Add([]byte{usageVersion})
	f.Add([]byte{1, tagRoute<<1 | 1, 5, 1, 2, 3, 4, 32})
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := ParseUsage(b)
		if err != nil {
			return
		}
		// What was read must survive a round trip.
		again, err := AppendUsage(nil, &u)
		if err != nil {
			t.Fatal(err)
		}
		u2, err := ParseUsage(again)
		if err != nil || !reflect.DeepEqual(u, u2) {
			t.Fatalf("got %+v, %v; want %+v", u2, err, u)
		}
	})
}

func BenchmarkAppendUsage(b *testing.B) {
	u, buf := fullUsage(), []byte(nil)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = AppendUsage(buf[:0], &u)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkParseUsage(b *testing.B) {
	u := fullUsage()
	buf, _ := AppendUsage(nil, &u)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseUsage(buf); err != nil {
			b.Fatal(err)
		}
	}
}
