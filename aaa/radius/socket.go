package radius

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	batch "golang.org/x/net/ipv4" // grant.go has a function ipv4
)

// slotID names an identifier on one of a server's sockets: socket<<8 | identifier.
type slotID uint32

// slot is the state of one identifier, guarded by the server's mu.
type slot struct {
	x *exchange
	// auth is the Request Authenticator of the request that has the
	// identifier, or had it last; before is that of the one before.
	auth, before [16]byte
}

// socket is one connected UDP socket with its 256 identifiers.
type socket struct {
	index int
	conn  *net.UDPConn
	many  *batch.PacketConn // conn, for several datagrams in one call; of either family, since it is connected
	slots [256]slot         // guarded by the server's mu
	out   []batch.Message   // what the sending goroutine is about to send
}

func newSocket(index int, conn *net.UDPConn) *socket {
	return &socket{index: index, conn: conn, many: batch.NewPacketConn(conn)}
}

// readBatch is how many answers a system call takes at most.
const readBatch = 16

// socketBuffer is what is asked for as receive buffer, so that a burst of
// answers does not overflow it. The kernel may give less.
const socketBuffer = 1 << 20

func dial(from netip.Addr, to netip.AddrPort) (*net.UDPConn, error) {
	var local *net.UDPAddr
	if from.IsValid() {
		local = net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	conn, err := net.DialUDP("udp", local, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(socketBuffer)
	return conn, nil
}

// read hands every datagram to the server until the socket is closed.
func (k *socket) read(s *server) {
	defer s.wg.Done()
	sign := newSigner(s.cfg.Secret)
	in := make([]batch.Message, readBatch)
	for i := range in {
		in[i].Buffers = [][]byte{make([]byte, maxPacket+1)}
	}
	for {
		n, err := k.many.ReadBatch(in, 0)
		switch {
		case err == nil:
			for i := range in[:n] {
				s.receive(k, sign, in[i].Buffers[0][:in[i].N])
			}
		case errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed):
			return
		default:
			// An ICMP error of an earlier transmission.
			s.refused(err)
			time.Sleep(time.Millisecond)
		}
	}
}

// send sends what is in out, as many datagrams in a call as the kernel takes,
// and empties it. What fails goes to failed, and the rest is still sent.
func (k *socket) send(failed func(packet []byte, err error)) {
	for rest := k.out; len(rest) > 0; {
		n, err := k.many.WriteBatch(rest, 0)
		n = max(n, 0)
		if err != nil && n < len(rest) {
			failed(rest[n].Buffers[0], err)
			n++
		}
		rest = rest[n:]
	}
	for i := range k.out {
		k.out[i].Buffers[0] = nil // The buffers' slice is used again.
	}
	k.out = k.out[:0]
}

// add takes a packet to be sent.
func (k *socket) add(packet []byte) {
	if len(k.out) < cap(k.out) {
		k.out = k.out[:len(k.out)+1]
	} else {
		k.out = append(k.out, batch.Message{})
	}
	m := &k.out[len(k.out)-1]
	if m.Buffers == nil {
		m.Buffers = make([][]byte, 1)
	}
	m.Buffers[0] = packet
}
