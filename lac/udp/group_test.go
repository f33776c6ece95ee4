package udp

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
)

func listen(t testing.TB, addrs ...string) *Group {
	t.Helper()
	var list []netip.AddrPort
	for _, a := range addrs {
		list = append(list, netip.MustParseAddrPort(a))
	}
	g, err := Listen(list, Options{Buffer: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

// drain reads until want datagrams have come or a second has passed.
func drain(t testing.TB, g *Group, want int, f func(sock uint16, from netip.AddrPort, b []byte)) {
	t.Helper()
	got := 0
	for deadline := time.Now().Add(time.Second); got < want && time.Now().Before(deadline); {
		if err := g.Wait(50 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
		err := g.Read(func(sock uint16, from netip.AddrPort, b []byte) { got++; f(sock, from, b) })
		if err != nil {
			t.Fatal(err)
		}
	}
	if got != want {
		t.Fatalf("%d datagrams arrived, want %d", got, want)
	}
}

func TestManySocketsManyDatagrams(t *testing.T) {
	a := listen(t, "127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0")
	b := listen(t, "127.0.0.1:0")
	const each = 200
	for i := range each {
		for sock := range uint16(3) {
			a.Send(sock, b.Local(0), fmt.Appendf(nil, "%d from %d", i, sock))
		}
	}
	a.Flush()
	next := map[netip.AddrPort]int{}
	drain(t, b, 3*each, func(_ uint16, from netip.AddrPort, d []byte) {
		for sock := range uint16(3) {
			if from == a.Local(sock) {
				if want := fmt.Sprintf("%d from %d", next[from], sock); string(d) != want {
					t.Fatalf("got %q, want %q", d, want)
				}
				next[from]++
				return
			}
		}
		t.Fatalf("datagram from %v", from)
	})
	if s := a.Stats(); s.Sent != 3*each || s.SendDropped != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestIPv6(t *testing.T) {
	probe, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 loopback:", err)
	}
	probe.Close()
	a, b := listen(t, "[::1]:0"), listen(t, "[::1]:0")
	a.Send(0, b.Local(0), []byte("six"))
	a.Flush()
	drain(t, b, 1, func(_ uint16, from netip.AddrPort, d []byte) {
		if from != a.Local(0) || string(d) != "six" {
			t.Errorf("%q from %v", d, from)
		}
	})
}

func TestSizes(t *testing.T) {
	a, b := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	big := bytes.Repeat([]byte{7}, MaxDatagram)
	a.Send(0, b.Local(0), big)
	a.Flush()
	drain(t, b, 1, func(_ uint16, _ netip.AddrPort, d []byte) {
		if !bytes.Equal(d, big) {
			t.Errorf("%d octets arrived", len(d))
		}
	})
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(b.Local(0)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, n := range []int{MaxDatagram + 1, 3} {
		if _, err := c.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	drain(t, b, 1, func(_ uint16, _ netip.AddrPort, d []byte) {
		if len(d) != 3 {
			t.Errorf("%d octets arrived; the long one should have been dropped", len(d))
		}
	})
	if s := b.Stats(); s.Truncated != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestRefusedIsCounted(t *testing.T) {
	a := listen(t, "127.0.0.1:0")
	a.Send(0, netip.MustParseAddrPort("255.255.255.255:9"), []byte("x")) // broadcast is not permitted
	a.Send(0, a.Local(0), []byte("y"))
	a.Flush()
	drain(t, a, 1, func(_ uint16, _ netip.AddrPort, d []byte) {
		if string(d) != "y" {
			t.Errorf("got %q", d)
		}
	})
	if s := a.Stats(); s.Sent != 1 || s.SendDropped != 1 || s.LastError == nil {
		t.Errorf("stats %+v", s)
	}
}

func TestWaitTimeoutAndWake(t *testing.T) {
	g := listen(t, "127.0.0.1:0")
	start := time.Now()
	if err := g.Wait(20 * time.Millisecond); err != nil || time.Since(start) < 20*time.Millisecond {
		t.Errorf("Wait: %v after %v", err, time.Since(start))
	}
	go g.Wake()
	done := make(chan error, 1)
	go func() { done <- g.Wait(-1) }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Wake did not wake")
	}
}

func TestListenErrors(t *testing.T) {
	g := listen(t, "127.0.0.1:0")
	for _, addrs := range [][]netip.AddrPort{nil, {g.Local(0)}, {netip.MustParseAddrPort("192.0.2.1:0")}} {
		if other, err := Listen(addrs, Options{}); err == nil {
			other.Close()
			t.Errorf("Listen(%v) succeeded", addrs)
		}
	}
}

func TestNoMemoryPerDatagram(t *testing.T) {
	a, b := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	payload := make([]byte, 100)
	got := 0
	count := func(uint16, netip.AddrPort, []byte) { got++ }
	round := func() {
		for range 64 {
			a.Send(0, b.Local(0), payload)
		}
		a.Flush()
		_ = b.Wait(time.Second)
		_ = b.Read(count)
	}
	round()
	if n := testing.AllocsPerRun(50, round); n != 0 {
		t.Errorf("%v allocations per batch", n)
	}
	if got == 0 {
		t.Error("nothing arrived")
	}
}

func BenchmarkLoopback(b *testing.B) {
	x, y := listen(b, "127.0.0.1:0"), listen(b, "127.0.0.1:0")
	payload := make([]byte, 100)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		x.Send(0, y.Local(0), payload)
		if i%64 == 63 {
			x.Flush()
			_ = y.Wait(0)
			_ = y.Read(func(uint16, netip.AddrPort, []byte) {})
		}
	}
}
