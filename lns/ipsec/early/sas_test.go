package early

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// sa makes the kernel's message, with a library that knows its layout.
func sa(family uint16, to string, n uint32, proto, window byte, attrs ...byte) []byte {
	var info nl.XfrmUsersaInfo
	copy(info.Id.Daddr[:], netip.MustParseAddr(to).AsSlice())
	info.Id.Spi, info.Id.Proto, info.Family, info.ReplayWindow = nl.Swap32(n), proto, family, window
	return append(bytes.Clone(info.Serialize()), attrs...)
}

// esnWindow is the attribute that has larger replay windows, behind another one.
func esnWindow(n uint32) []byte {
	b := binary.NativeEndian.AppendUint16(nil, 5)
	b = append(binary.NativeEndian.AppendUint16(b, 1), 9, 0, 0, 0)
	v := nl.XfrmReplayStateEsn{BmpLen: 1, ReplayWindow: n}
	body := append(bytes.Clone(v.Serialize()), 0, 0, 0, 0)
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(body)))
	return append(binary.NativeEndian.AppendUint16(b, nl.XFRMA_REPLAY_ESN_VAL), body...)
}

func TestParseSA(t *testing.T) {
	for _, c := range []struct {
		what string
		b    []byte
		to   string
	}{
		{"IPv4", sa(unix.AF_INET, "192.0.2.1", 0xc1234567, unix.IPPROTO_ESP, 32), "192.0.2.1"},
		{"IPv6", sa(unix.AF_INET6, "2001:db8::1", 0xc1234567, unix.IPPROTO_ESP, 32), "2001:db8::1"},
		{"a large window", sa(unix.AF_INET, "192.0.2.1", 0xc1234567, unix.IPPROTO_ESP, 0, esnWindow(1024)...), "192.0.2.1"},
		{"no replay protection", sa(unix.AF_INET, "192.0.2.1", 0xc1234567, unix.IPPROTO_ESP, 0), ""},
		{"none, said otherwise", sa(unix.AF_INET, "192.0.2.1", 0xc1234567, unix.IPPROTO_ESP, 0, esnWindow(0)...), ""},
		{"AH", sa(unix.AF_INET, "192.0.2.1", 0xc1234567, unix.IPPROTO_AH, 32), ""},
		{"another family", sa(unix.AF_UNIX, "192.0.2.1", 0xc1234567, unix.IPPROTO_ESP, 32), ""},
		{"cut off", sa(unix.AF_INET, "192.0.2.1", 0xc1234567, unix.IPPROTO_ESP, 32)[:saSize-1], ""},
		{"an attribute of no length", sa(unix.AF_INET, "192.0.2.1", 0xc1234567, unix.IPPROTO_ESP, 0, 0, 0, 23, 0), ""},
		{"an attribute that is longer than the message", sa(unix.AF_INET, "192.0.2.1", 0xc1234567, unix.IPPROTO_ESP, 0, 99, 0, 23, 0), ""},
	} {
		id, ok := parseSA(c.b)
		if ok != (c.to != "") || ok && id != (spi{netip.MustParseAddr(c.to), 0xc1234567}) {
			t.Errorf("%s: %+v, %v", c.what, id, ok)
		}
	}
}

// FuzzParseSA: whatever comes, only ESP of a family we know is found.
func FuzzParseSA(f *testing.F) {
	f.Add(sa(unix.AF_INET, "192.0.2.1", 1, unix.IPPROTO_ESP, 32))
	f.Add(sa(unix.AF_INET6, "2001:db8::1", 1, unix.IPPROTO_ESP, 0, esnWindow(64)...))
	f.Add(sa(unix.AF_INET, "192.0.2.1", 1, unix.IPPROTO_ESP, 0, 5, 0, 23, 0, 1, 2, 3, 4))
	f.Fuzz(func(t *testing.T, b []byte) {
		if id, ok := parseSA(b); ok && (!id.to.IsValid() || b[saProto] != unix.IPPROTO_ESP) {
			t.Fatalf("%+v", id)
		}
	})
}
