package dataplane_test

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"culvert/lns/dataplane"
	"culvert/lns/dataplane/planetest"
)

// needsMarks skips a test where sockets may not have marks, and says why.
func needsMarks(t testing.TB) {
	t.Helper()
	err := dataplane.ProbeMarks()
	switch {
	case errors.Is(err, dataplane.ErrNoMarks), errors.Is(err, dataplane.ErrPermission) && os.Geteuid() != 0:
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
}

// marked is a LAC's socket that stands for any number of SAs: loopback keeps the mark
// that a datagram is sent with.
type marked struct {
	*net.UDPConn
	t testing.TB
}

func newMarked(t testing.TB) marked {
	c := lac(t, netip.MustParseAddr("127.0.0.1"))
	raw, err := c.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVMARK, 1) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return marked{c, t}
}

// control is a control message with a mark.
func control(mark uint32) []byte {
	b := binary.NativeEndian.AppendUint64(nil, 20)
	b = binary.NativeEndian.AppendUint32(b, unix.SOL_SOCKET)
	b = binary.NativeEndian.AppendUint32(b, unix.SO_MARK)
	b = binary.NativeEndian.AppendUint32(b, mark)
	return append(b, 0, 0, 0, 0)
}

func (c marked) send(to netip.AddrPort, mark uint32, b []byte) {
	c.t.Helper()
	if _, _, err := c.WriteMsgUDPAddrPort(b, control(mark), to); err != nil {
		c.t.Fatal(err)
	}
}

// receive gives the next datagram and its mark; nil when none comes for a while.
func (c marked) receive(wait time.Duration) ([]byte, uint32) {
	c.t.Helper()
	b, oob := make([]byte, 2000), make([]byte, 100)
	_ = c.SetReadDeadline(time.Now().Add(wait))
	n, on, _, _, err := c.ReadMsgUDPAddrPort(b, oob)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, 0
	}
	if err != nil {
		c.t.Fatal(err)
	}
	list, err := unix.ParseSocketControlMessage(oob[:on])
	if err != nil || len(list) == 0 || list[0].Header.Type != unix.SO_MARK {
		return b[:n], 0
	}
	return b[:n], binary.NativeEndian.Uint32(list[0].Data)
}

// TestMarks has two LACs that share one address and port, each with a session of
// its own, and the same tunnel and session ids but for ours.
func TestMarks(t *testing.T) {
	needsMarks(t)
	handed := make(arrivals, 64)
	var atCore atomic.Int32
	core := planetest.NewCore(func([]byte) { atCore.Add(1) })
	p, err := dataplane.New(dataplane.Config{Listen: loopback("127.0.0.1"), Shards: 1, Core: core, Marks: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	c := newMarked(t)
	var list []dataplane.Session
	for n := range byte(2) {
		list = append(list, dataplane.Session{
			Key: dataplane.Key{Tunnel: 1 + uint16(n), Session: 1}, Peer: addrPort(c.UDPConn), Mark: 7 + 2*uint32(n),
			PeerTunnel: 5, PeerSession: 6, Address: netip.AddrFrom4([4]byte{100, 64, 0, 1 + n}),
		})
	}
	if err := p.Add(list); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(handed); err != nil {
		t.Fatal(err)
	}
	p.SetMark(7, true)
	p.SetMark(9, true)
	packet := func(n int) []byte {
		return planetest.UDP4(netip.AddrPortFrom(list[n].Address, 5), planetest.Host, []byte("up"))
	}
	frame := func(n int) []byte { return append([]byte{0, 2, 0, 1 + byte(n), 0, 1, 0, 0x21}, packet(n)...) }
	to := p.Listeners()[0]
	for _, x := range []struct {
		session int
		mark    uint32
		taken   bool
	}{{0, 7, true}, {1, 9, true}, {0, 9, false}, {0, 0, false}, {1, 7, false}, {1, 0, false}, {0, 8, false}} {
		before := atCore.Load()
		c.send(to, x.mark, frame(x.session))
		// Control messages are handed over. One tells that the frame before it was
		// read, the next that the batch of the frame is through.
		for range 2 {
			c.send(to, x.mark, []byte{0xc8, 2, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0})
			a := handed.next(t)
			if a.B[0]&0x80 == 0 {
				if x.taken {
					t.Errorf("session %d, mark %d: was handed over", x.session, x.mark)
				}
				a = handed.next(t)
			}
			if a.Mark != x.mark {
				t.Errorf("mark %d came as %d", x.mark, a.Mark)
			}
		}
		if taken := atCore.Load() > before; taken != x.taken {
			t.Errorf("session %d, mark %d: reached the core: %v", x.session, x.mark, taken)
		}
	}
	down := func(n int) {
		core.Inject(planetest.UDP4(planetest.Host, netip.AddrPortFrom(list[n].Address, 5), []byte{byte(n)}))
	}
	for n := range 2 {
		down(n)
		b, mark := c.receive(5 * time.Second)
		if b == nil || int(b[len(b)-1]) != n || mark != list[n].Mark {
			t.Errorf("session %d got % x with mark %d", n, b, mark)
		}
		p.Send(0, []dataplane.Datagram{{Peer: addrPort(c.UDPConn), Mark: list[n].Mark, B: []byte{0xc8, 2, byte(n)}}})
		if b, mark = c.receive(5 * time.Second); len(b) != 3 || mark != list[n].Mark {
			t.Errorf("session %d got control % x with mark %d", n, b, mark)
		}
	}
	// The first SA is gone: nothing is sent with its mark, nothing taken; the other lives on.
	p.SetMark(7, false)
	sent := p.Stats()
	down(0)
	down(1)
	p.Send(0, []dataplane.Datagram{
		{Peer: addrPort(c.UDPConn), Mark: 7, B: []byte("gone")}, {Peer: addrPort(c.UDPConn), Mark: 9, B: []byte("there")},
		{Peer: addrPort(c.UDPConn), Mark: 7, B: []byte("gone")}, {Peer: addrPort(c.UDPConn), B: []byte("clear")},
	})
	for _, want := range []uint32{9, 9, 0} {
		if b, mark := c.receive(5 * time.Second); b == nil || mark != want {
			t.Errorf("got %q with mark %d, want %d", b, mark, want)
		}
	}
	if b, mark := c.receive(50 * time.Millisecond); b != nil {
		t.Errorf("% x left with mark %d after its SA's end", b, mark)
	}
	// What is in clear and what is not do not go in one message.
	p.Send(0, []dataplane.Datagram{
		{Peer: addrPort(c.UDPConn), B: []byte("clear")}, {Peer: addrPort(c.UDPConn), Mark: 9, B: []byte("there")},
		{Peer: addrPort(c.UDPConn), Mark: 9, B: []byte("there")}, {Peer: addrPort(c.UDPConn), B: []byte("clear")},
	})
	for _, want := range []uint32{0, 0, 9, 9} { // the order is kept for each peer
		if b, mark := c.receive(5 * time.Second); len(b) != 5 || mark != want || (mark == 0) != (string(b) == "clear") {
			t.Errorf("got %q with mark %d, want %d", b, mark, want)
		}
	}
	if s := p.Stats(); s.Withheld != sent.Withheld+3 || s.SendDropped != sent.SendDropped || s.Sent != sent.Sent+7 {
		t.Errorf("stats went from %+v to %+v, want 3 withheld and 7 sent", sent, s)
	}
	before := atCore.Load()
	c.send(to, 7, frame(0))
	if a := handed.next(t); a.Mark != 7 || atCore.Load() != before {
		t.Errorf("after the SA's end its packet was taken")
	}
}

// TestMarksRefused has the mark of a session where none is read.
func TestMarksRefused(t *testing.T) {
	p, _, v := bare(t, nil)
	v.Key.Session, v.Mark = 2, 5
	if err := p.Add([]dataplane.Session{v}); err == nil {
		t.Error("a session with a mark was taken by a plane without marks")
	}
	p.SetMark(5, true) // of no consequence
	before := p.Stats()
	p.Send(0, []dataplane.Datagram{{Peer: lacPeer, Mark: 5, B: []byte("x")}})
	if s := p.Stats(); s.Sent != before.Sent || s.Withheld != before.Withheld+1 {
		t.Errorf("a datagram with a mark was sent in clear: %+v", s)
	}
}

// TestMarksNoAllocations sends and receives with marks.
func TestMarksNoAllocations(t *testing.T) {
	needsMarks(t)
	p := listening(t, nobody{}, dataplane.Config{Listen: loopback("127.0.0.1"), Shards: 1, Marks: true})
	c := newMarked(t)
	var batch []dataplane.Datagram
	for mark := range uint32(32) {
		p.SetMark(mark, mark%5 != 0)
		batch = append(batch, dataplane.Datagram{Peer: addrPort(c.UDPConn), Mark: mark, B: make([]byte, 100)})
	}
	p.Send(0, batch)
	if n := testing.AllocsPerRun(100, func() { p.Send(0, batch) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	received, hello := p.Stats().Received, []byte{0xc8, 2, 0, 12, 0, 1, 0, 0, 0, 0, 0, 0}
	oob, to := control(3), p.Listeners()[0]
	if n := testing.AllocsPerRun(1000, func() {
		_, _, _ = c.WriteMsgUDPAddrPort(hello, oob, to)
	}); n != 0 {
		t.Errorf("%v allocations for each datagram received", n)
	}
	for began := time.Now(); p.Stats().Received == received; time.Sleep(time.Millisecond) {
		if time.Since(began) > 5*time.Second {
			t.Fatal("nothing was received")
		}
	}
}

func TestMarkSet(t *testing.T) {
	s := dataplane.NewMarkSet()
	for _, x := range []struct {
		mark      uint32
		live, has bool
	}{
		{0, false, true}, {1, false, false}, {1, true, true}, {64, false, false}, {65, true, true}, {65, true, true}, {1, false, false},
		{1 << 16, true, true}, {1<<32 - 1, false, false}, {1<<32 - 1, true, true}, {1<<16 + 65, false, false},
	} {
		s.Set(x.mark, x.live)
		if s.Has(x.mark) != x.has {
			t.Errorf("after %d was set to %v, it is there: %v", x.mark, x.live, !x.has)
		}
	}
	if !s.Has(65) || s.Has(64) || s.Has(66) || s.Has(1) {
		t.Error("another mark was changed")
	}
}

// FuzzAncillary gives anything to the reader of control messages. What the standard
// reader of package unix finds, it finds too.
func FuzzAncillary(f *testing.F) {
	gro := binary.NativeEndian.AppendUint64(nil, 20)
	gro = binary.NativeEndian.AppendUint32(gro, unix.IPPROTO_UDP)
	gro = binary.NativeEndian.AppendUint32(gro, unix.UDP_GRO)
	gro = append(binary.NativeEndian.AppendUint32(gro, 1200), 0, 0, 0, 0)
	f.Add(control(5))
	f.Add(gro)
	f.Add(append(control(1<<31), gro...))
	f.Add(append(gro, control(77)...))
	f.Add(control(5)[:20])
	f.Add(control(5)[:19])
	f.Add([]byte{})
	f.Add(append([]byte{255, 255, 255, 255, 255, 255, 255, 255}, control(5)...))
	f.Add(append([]byte{16, 0, 0, 0, 0, 0, 0, 128}, control(5)...))
	f.Add(append([]byte{0, 0, 0, 0, 0, 0, 0, 0}, control(5)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		segment, mark := dataplane.ParseAncillary(b)
		list, err := unix.ParseSocketControlMessage(b)
		if err != nil {
			return // nothing more is said of what no kernel writes
		}
		wantSegment, wantMark := 0, uint32(0)
		for _, m := range list {
			if len(m.Data) < 4 {
				continue
			}
			switch v := binary.NativeEndian.Uint32(m.Data); {
			case m.Header.Level == unix.IPPROTO_UDP && m.Header.Type == unix.UDP_GRO:
				wantSegment = int(int32(v))
			case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_MARK:
				wantMark = v
			}
		}
		if segment != wantSegment || mark != wantMark {
			t.Errorf("read %d and %d, want %d and %d", segment, mark, wantSegment, wantMark)
		}
	})
}
