package dataplane_test

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"culvert/lns/dataplane"
	"culvert/lns/dataplane/planetest"
)

// TestEcho is the demonstration that needs no rights: real sockets, and a core that answers.
func TestEcho(t *testing.T) {
	echo := planetest.NewEcho(2)
	p, err := dataplane.New(dataplane.Config{Listen: loopback("127.0.0.1"), Shards: 2, Core: echo})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c := lac(t, netip.MustParseAddr("127.0.0.1"))
	v := dataplane.Session{
		Key: dataplane.Key{Tunnel: 1, Session: 3}, Peer: addrPort(c), PeerTunnel: 1, PeerSession: 3,
		Address: netip.MustParseAddr("100.64.0.1"), MTU: 600,
	}
	if err := p.Add([]dataplane.Session{v}); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(nobody{}); err != nil {
		t.Fatal(err)
	}
	from := netip.AddrPortFrom(v.Address, 4000)
	exchange := func(packet []byte) []byte {
		t.Helper()
		c.WriteToUDPAddrPort(append([]byte{0, 2, 0, 1, 0, 3, 0, 0x21}, packet...), p.Listeners()[0])
		buf := make([]byte, 2000)
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, _, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatal(err)
		}
		if err := planetest.Check(buf[8:n]); err != nil {
			t.Errorf("answer: %v", err)
		}
		return buf[8:n]
	}
	want := planetest.UDP4(planetest.Host, from, []byte("hello"))
	if got := exchange(planetest.UDP4(from, planetest.Host, []byte("hello"))); !bytes.Equal(got, want) {
		t.Errorf("UDP answer % x, want % x", got, want)
	}
	got := exchange(planetest.Ping4(v.Address, planetest.Host.Addr(), 0xfff7, 2, []byte("ping")))
	if got[20] != 0 || !bytes.Equal(got[24:], []byte("\xff\xf7\x00\x02ping")) || !bytes.Equal(got[12:16], planetest.Host.Addr().AsSlice()) {
		t.Errorf("ICMP answer % x", got)
	}
	echo.Write(0, []dataplane.Packet{{Buf: planetest.SYN4(from, planetest.Host, nil)}, {Buf: got}})
	if echo.Answered() != 2 || echo.Dropped() != 2 {
		t.Errorf("%d answered and %d dropped, want 2 each", echo.Answered(), echo.Dropped())
	}
}
