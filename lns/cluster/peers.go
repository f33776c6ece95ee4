package cluster

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"culvert/sessiondb/cluster"
)

// peers is the socket on which the nodes talk to each other.
type peers struct {
	conn   *net.UDPConn
	secret atomic.Pointer[[]byte]
	log    *slog.Logger
	done   sync.WaitGroup
	// refused counts datagrams that were none of this cluster's.
	refused atomic.Uint64
}

// received is a message and where it came from.
type received struct {
	from string
	m    *cluster.Message
}

// listenPeers opens the socket, and gives what comes to take, which must not block.
func listenPeers(at netip.AddrPort, log *slog.Logger, take func(received)) (*peers, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	p := &peers{conn: conn, log: log}
	p.done.Go(func() { p.read(take) })
	return p, nil
}

func (p *peers) read(take func(received)) {
	b := make([]byte, cluster.MaxMessage+1)
	for {
		n, from, err := p.conn.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		secret := p.secret.Load()
		if err != nil || secret == nil {
			continue
		}
		m, err := cluster.Parse(b[:n], *secret)
		if err != nil {
			if p.refused.Add(1) == 1 {
				p.log.Warn("cluster: a datagram is none of this cluster's; is another database in use there?", "from", from, "err", err)
			}
			continue
		}
		take(received{from.String(), m})
	}
}

// send is best effort: who hears nothing asks again.
func (p *peers) send(o cluster.Out) {
	secret := p.secret.Load()
	to, err := netip.ParseAddrPort(o.At)
	if secret == nil || err != nil {
		return
	}
	_, _ = p.conn.WriteToUDPAddrPort(o.Message.Append(nil, *secret), to)
}

func (p *peers) close() {
	p.conn.Close()
	p.done.Wait()
}
