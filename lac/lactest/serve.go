package lactest

import (
	"net/netip"
	"sync/atomic"
	"time"

	"culvert/lac/udp"
)

// Server is an LNS on a UDP socket of the loopback interface, with a goroutine of its own.
type Server struct {
	// Addr is where it listens.
	Addr netip.AddrPort

	group *udp.Group
	do    chan func(now time.Duration, l *LNS)
	stop  atomic.Bool
	done  chan struct{}
}

// Serve starts an LNS on a free port. Close ends it.
func Serve(cfg Config) (*Server, error) {
	group, err := udp.Listen([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, udp.Options{Buffer: 4 << 20})
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: group.Local(0), group: group, do: make(chan func(time.Duration, *LNS)), done: make(chan struct{})}
	go s.run(New(cfg))
	return s, nil
}

func (s *Server) run(l *LNS) {
	defer close(s.done)
	start, now := time.Now(), time.Duration(0)
	l.Send = func(to netip.AddrPort, b []byte) { s.group.Send(0, to, b) }
	receive := func(_ uint16, from netip.AddrPort, b []byte) { l.Receive(now, from, b) }
	for !s.stop.Load() {
		now = time.Since(start)
		wait := min(l.Tick(now)-now, 20*time.Millisecond)
		s.group.Flush()
		if s.group.Wait(max(wait, 0)) != nil || s.group.Read(receive) != nil {
			return
		}
		select {
		case f := <-s.do:
			f(now, l)
		default:
		}
	}
}

// Do has the LNS's goroutine call f, and waits for it.
func (s *Server) Do(f func(now time.Duration, l *LNS)) {
	finished := make(chan struct{})
	go s.group.Wake()
	s.do <- func(now time.Duration, l *LNS) { f(now, l); close(finished) }
	<-finished
}

// Close ends the server and waits for its goroutine.
func (s *Server) Close() {
	s.stop.Store(true)
	s.group.Wake()
	<-s.done
	s.group.Close()
}
