package early

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
)

// Packets, by their headers: IPv4 with ESP, in UDP, with options, IPv6 with both.
var (
	bare4   = "45000030 00010000 40320000 c6336401 c0000201 c1234567 00000001 000102030405060708090a0b0c0d0e0f0001020304050607"
	udp4    = "4500002c 00010000 40110000 c6336401 c0000201 11941194 00180000 c1234567 00000002 0001020304050607"
	option4 = "46000028 00010000 40320000 c6336401 c0000201 01010101 c1234567 00000003 0001020304050607"
	bare6   = "60000000 00103240 20010db8000000000000000000000002 20010db8000000000000000000000001 c1234567 00000001 0001020304050607"
	udp6    = "60000000 00181140 20010db8000000000000000000000002 20010db8000000000000000000000001 11941194 00180000 c1234567 00000001 0001020304050607"
)

func packet(text string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// with changes octets of a packet.
func with(text string, at int, b ...byte) []byte {
	p := packet(text)
	copy(p[at:], b)
	return p
}

func TestParse(t *testing.T) {
	to4, to6 := "192.0.2.1", "2001:db8::1"
	for _, c := range []struct {
		what    string
		b       []byte
		to      string
		n       uint32
		octets  int
		through bool // the filter
	}{
		{"IPv4", packet(bare4), to4, 0xc1234567, 48, true},
		{"IPv4 with the padding of a link", append(packet(bare4), 0, 0, 0), to4, 0xc1234567, 48, true},
		{"IPv4 in UDP", packet(udp4), to4, 0xc1234567, 44, true},
		{"IPv4 with options", packet(option4), to4, 0xc1234567, 40, true},
		{"IPv6", packet(bare6), to6, 0xc1234567, 56, true},
		{"IPv6 in UDP", packet(udp6), to6, 0xc1234567, 64, true},
		{"may not be fragmented", with(bare4, 6, 0x40), to4, 0xc1234567, 48, true},
		{"the last that is looked at", with(bare4, 24, 0, 0, first>>8, first&0xff), to4, 0xc1234567, 48, true},
		{"one later", with(bare4, 24, 0, 0, first>>8, first&0xff+1), to4, 0xc1234567, 48, false},
		{"one later, in UDP", with(udp6, 52, 0, 1), to6, 0xc1234567, 64, false},
		{"a first fragment", with(bare4, 6, 0x20), "", 0, 0, false},
		{"a later fragment", with(bare4, 6, 0, 1), "", 0, 0, false},
		{"another protocol", with(bare4, 9, 6), "", 0, 0, false},
		{"another port", with(udp4, 23, 0x95), "", 0, 0, false},
		{"IKE on the same port", with(udp4, 28, 0, 0, 0, 0), "", 0, 0, false},
		{"a keepalive of NAT-T", append(with(udp4, 2, 0, 29)[:28], 0xff), "", 0, 0, false},
		{"L2TP", with(udp4, 22, 6, 0xa5), "", 0, 0, false},
		{"cut off", packet(bare4)[:40], "", 0, 0, true},
		{"shorter than its header", with(bare4, 2, 0, 19), "", 0, 0, true},
		{"a header of four words", with(bare4, 0, 0x44), "", 0, 0, false},
		{"IPv6 cut off", packet(bare6)[:50], "", 0, 0, true},
		{"nothing", nil, "", 0, 0, false},
		{"IPv5", with(bare4, 0, 0x55), "", 0, 0, true},
	} {
		id, p, ok := parse(c.b)
		if c.to == "" {
			if ok || p != nil {
				t.Errorf("%s: taken for one of %+v", c.what, id)
			}
		} else if !ok || id != (spi{netip.MustParseAddr(c.to), c.n}) || len(p) != c.octets {
			t.Errorf("%s: %+v, %d octets, %v", c.what, id, len(p), ok)
		}
		if got := passes(t, c.b); got != c.through {
			t.Errorf("%s: the filter lets it through: %v", c.what, got)
		}
	}
}

// passes says whether the kernel would let a packet through to us.
func passes(t testing.TB, b []byte) bool {
	if len(b) == 0 {
		return false
	}
	return run(t, ipFilter(b[0]>>4 == 6), b)
}

func run(t testing.TB, filter []bpf.Instruction, b []byte) bool {
	t.Helper()
	vm, err := bpf.NewVM(filter)
	if err != nil {
		t.Fatal(err)
	}
	n, err := vm.Run(b)
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

// TestFilter: the kernel's own form of it can be made.
func TestFilter(t *testing.T) {
	for _, six := range []bool{false, true} {
		for _, n := range []int{0, 1, most, most + 1} {
			raw, err := bpf.Assemble(filter(six, slices.Repeat([]netip.Addr{netip.IPv6Loopback()}, n)))
			if err != nil || len(raw) < 16 {
				t.Errorf("%d instructions, %v", len(raw), err)
			}
		}
	}
}

// TestFilterTo: what is for one of our addresses passes, wherever that stands in the list, and nothing that is a subscriber's.
func TestFilterTo(t *testing.T) {
	for what, c := range map[string]struct{ packet, ours, other string }{
		"IPv4": {bare4, "192.0.2.1", "192.0.2.2"},
		"IPv6": {bare6, "2001:db8::1", "2001:db8::1:0:0:1"},
	} {
		for n := range most {
			for at := -1; at < n; at++ {
				to := slices.Repeat([]netip.Addr{netip.MustParseAddr(c.other)}, n)
				if at >= 0 {
					to[at] = netip.MustParseAddr(c.ours)
				}
				want := at >= 0 || n == 0
				if got := run(t, append(toFilter(what == "IPv6", to), ipFilter(what == "IPv6")...), packet(c.packet)); got != want {
					t.Fatalf("%s, the %dth of %d: passes: %v", what, at+1, n, got)
				}
			}
		}
		to := slices.Repeat([]netip.Addr{netip.MustParseAddr(c.other)}, most+1)
		if !run(t, append(toFilter(what == "IPv6", to), ipFilter(what == "IPv6")...), packet(c.packet)) {
			t.Errorf("%s: with more addresses than there is room for not everything passes", what)
		}
	}
}

// FuzzParse: whatever comes, what is found lies inside of it; and the filter lets through exactly the first packets of SAs.
func FuzzParse(f *testing.F) {
	for _, text := range []string{bare4, udp4, option4, bare6, udp6} {
		f.Add(packet(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		id, p, ok := parse(b)
		if !ok {
			return
		}
		at, proto := header6, b[6]
		if b[0]>>4 == 4 {
			at, proto = int(b[0]&0xf)*4, b[9]
		}
		if proto == protoUDP {
			at += headerUDP
		}
		if len(p) < at+headerESP || len(p) > len(b) || binary.BigEndian.Uint32(p[at:]) != id.n || !id.to.IsValid() {
			t.Fatalf("%x: %+v, %d octets", b, id, len(p))
		}
		if seq := binary.BigEndian.Uint32(p[at+4:]); passes(t, b) != (seq <= first) {
			t.Fatalf("%x: number %d, and the filter says %v", b, seq, passes(t, b))
		}
	})
}
