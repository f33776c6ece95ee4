package radius

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
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
	slots [256]slot // guarded by the server's mu
}

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
	buf := make([]byte, maxPacket+1)
	for {
		n, err := k.conn.Read(buf)
		switch {
		case err == nil:
			s.receive(k, sign, buf[:n])
		case errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed):
			return
		default:
			// An ICMP error of an earlier transmission.
			s.refused(err)
			time.Sleep(time.Millisecond)
		}
	}
}
