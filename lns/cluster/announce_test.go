package cluster

import (
	"encoding/hex"
	"net/netip"
	"testing"
)

// TestAnnouncements compares with frames put together from the RFCs by hand.
func TestAnnouncements(t *testing.T) {
	mac := [6]byte{2, 0, 0, 0, 0, 1}
	for _, c := range []struct {
		address string
		want    []string
	}{
		{"192.0.2.1", []string{
			"ffffffffffff" + "020000000001" + "0806" + "0001" + "0800" + "06" + "04" + "0001" + "020000000001" + "c0000201" + "ffffffffffff" + "c0000201",
			"ffffffffffff" + "020000000001" + "0806" + "0001" + "0800" + "06" + "04" + "0002" + "020000000001" + "c0000201" + "ffffffffffff" + "c0000201",
		}},
		{"2001:db8::1", []string{
			"333300000001" + "020000000001" + "86dd" + "60000000" + "0020" + "3a" + "ff" +
				"20010db8000000000000000000000001" + "ff020000000000000000000000000001" +
				"8800" + "f92a" + "20000000" + "20010db8000000000000000000000001" + "0201" + "020000000001",
		}},
	} {
		got := announcements(mac, netip.MustParseAddr(c.address))
		if len(got) != len(c.want) {
			t.Fatalf("%s: %d frames", c.address, len(got))
		}
		for i := range got {
			if text := hex.EncodeToString(got[i]); text != c.want[i] {
				t.Errorf("%s, frame %d:\n%s, want\n%s", c.address, i, text, c.want[i])
			}
		}
	}
	// The sum over a packet with its checksum in place is zero.
	a := netip.MustParseAddr("2001:db8::1")
	frame := advertisement(mac, a)
	if sum := checksum(a.As16(), [16]byte{0xff, 0x02, 15: 1}, frame[54:]); sum != 0 {
		t.Errorf("the checksum is off by %#x", sum)
	}
}
