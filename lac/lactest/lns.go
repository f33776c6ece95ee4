// Package lactest is a small LNS for tests of what plays a LAC: proto/l2tp's LNS
// role, and a PPP peer that authenticates, hands out addresses and answers or
// forwards packets. An LNS has no clock and no sockets (a Server gives it both), and
// keeps to the shortest way: it does not repeat what PPP it sent unless it is asked again.
package lactest

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"

	"culvert/proto/l2tp"
	"culvert/proto/ppp"
)

// Config says how the LNS behaves. It may be changed between steps.
type Config struct {
	Secret   string
	Auth     ppp.Auth
	Password string
	// Window is the receive window the LNS offers.
	Window uint16
	// Refuse answers every ICRQ with a CDN, unless its Code is 0.
	Refuse l2tp.Result
	// Mute takes calls and then says nothing in PPP.
	Mute bool
	// Terminate has PPP ended by a Terminate-Request right after IPCP.
	Terminate bool
	// Mangle may change an answered packet, and drops it when it returns nil.
	Mangle func(packet []byte) []byte
	// Failover is offered to LACs that offer it (RFC 4951).
	Failover l2tp.Failover
	// Sequenced numbers the data messages sent, which makes a LAC number its own.
	Sequenced bool
}

// Local and DNS are the addresses that the LNS gives itself and its servers. Subscribers
// get those from 10.64.0.1 on.
var (
	Local = netip.MustParseAddr("10.0.0.1")
	DNS   = [2]netip.Addr{netip.MustParseAddr("10.0.0.53"), netip.MustParseAddr("10.0.1.53")}
)

// LNS is the server. It belongs to one goroutine.
type LNS struct {
	Config
	// Send takes the datagrams for the LACs. They are lent.
	Send func(to netip.AddrPort, datagram []byte)
	// Heard, where set, is given the WENs and CSUNs that come.
	Heard func(session uint16, m *l2tp.Message)
	// Calls counts ICRQs taken, Up links that IPCP opened, Clears CDNs received, Refused those
	// whose password was wrong.
	Calls, Up, Clears, Refused int
	// Users are the names of those who authenticated, in order.
	Users []string
	// Proxies are the Proxy Authen Types of the calls that had one.
	Proxies []uint16

	tunnels map[uint16]*tunnel
	byAddr  map[netip.Addr]*session
	lastID  uint16
	address uint32
	fx      l2tp.Effects
	call    l2tp.CallEffects
	rnd     *rand.PCG
}

type tunnel struct {
	l2tp     *l2tp.Tunnel
	peer     netip.AddrPort
	peerID   uint16
	sessions map[uint16]*session
	lastID   uint16
	recovery
}

// New makes an LNS without tunnels.
func New(cfg Config) *LNS {
	return &LNS{Config: cfg, tunnels: map[uint16]*tunnel{}, byAddr: map[netip.Addr]*session{}, rnd: rand.NewPCG(1, 2)}
}

// Tunnels and Sessions are how many there are.
func (l *LNS) Tunnels() int {
	n := 0
	for _, t := range l.tunnels {
		if t.l2tp.State() == l2tp.TunnelEstablished && t.old == nil {
			n++
		}
	}
	return n
}

// Sessions is how many calls there are.
func (l *LNS) Sessions() int {
	n := 0
	for _, t := range l.tunnels {
		n += len(t.sessions)
	}
	return n
}

// Receive takes a datagram from a LAC.
func (l *LNS) Receive(now time.Duration, from netip.AddrPort, datagram []byte) {
	h, payload, err := l2tp.ParseHeader(datagram)
	if err != nil {
		return
	}
	t := l.tunnels[h.TunnelID]
	if h.TunnelID == 0 && h.Control {
		t = l.tunnelOf(from, payload)
	}
	if t == nil {
		return
	}
	if !h.Control {
		if s := t.sessions[h.SessionID]; s != nil {
			l.frame(now, s, payload)
		}
		return
	}
	_ = t.l2tp.Receive(now, datagram, &l.fx)
	l.settle(now, t)
}

// tunnelOf finds or makes the tunnel of an SCCRQ.
func (l *LNS) tunnelOf(from netip.AddrPort, body []byte) *tunnel {
	var m l2tp.Message
	if l2tp.ParseMessage(body, []byte(l.Secret), &m) != nil || m.Type != l2tp.MessageSCCRQ {
		return nil
	}
	for _, t := range l.tunnels {
		if t.peer == from && t.peerID == m.AssignedTunnelID {
			return t
		}
	}
	if m.Has(l2tp.AVPTunnelRecovery) {
		return l.remote(from, &m)
	}
	return l.newTunnel(l2tp.RoleLNS, from, m.AssignedTunnelID)
}

func (l *LNS) newTunnel(role l2tp.Role, peer netip.AddrPort, peerID uint16) *tunnel {
	l.lastID++
	cfg := &l2tp.TunnelConfig{
		HostName: "lns", Secret: []byte(l.Secret), Rand: reader{l.rnd}, Failover: l.Failover, Control: l2tp.ControlConfig{Window: l.Window},
	}
	t := &tunnel{l2tp: l2tp.NewTunnel(role, l.lastID, cfg), peer: peer, peerID: peerID, sessions: map[uint16]*session{}}
	l.tunnels[l.lastID] = t
	return t
}

// reader makes an io.Reader of a generator.
type reader struct{ rnd *rand.PCG }

func (r reader) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(r.rnd.Uint64())
	}
	return len(b), nil
}

// settle does what the last steps want.
func (l *LNS) settle(now time.Duration, t *tunnel) {
	for i := 0; i < len(l.fx.Events); i++ {
		ev := l.fx.Events[i]
		if t.old != nil {
			l.recoveryEvent(now, t, &ev)
			continue
		}
		switch ev.Kind {
		case l2tp.EventDown:
			for _, s := range t.sessions {
				l.forget(s)
			}
		case l2tp.EventMessage:
			l.message(now, t, ev.SessionID, &ev.Message)
		}
	}
	for _, p := range l.fx.Packets {
		l.Send(t.peer, p)
	}
	l.fx.Reset()
	if t.l2tp.Done() {
		delete(l.tunnels, t.l2tp.LocalID())
	}
}

// Tell sends a message in every tunnel; session is the LAC's id for its header.
func (l *LNS) Tell(now time.Duration, session uint16, m *l2tp.Message) {
	for _, t := range l.tunnels {
		_ = t.l2tp.Send(now, m, session, &l.fx)
		l.settle(now, t)
	}
}

func (l *LNS) message(now time.Duration, t *tunnel, id uint16, m *l2tp.Message) {
	s := t.sessions[id]
	if l.Heard != nil && (m.Type == l2tp.MessageWEN || m.Type == l2tp.MessageCSUN) {
		l.Heard(id, m)
	}
	if m.Type == l2tp.MessageFSQ || m.Type == l2tp.MessageFSR {
		l.states(now, t, m)
		return
	}
	if m.Type == l2tp.MessageICRQ {
		t.lastID++
		s = &session{tunnel: t, l2tp: l2tp.NewCall(l2tp.RoleLNS, t.lastID)}
		if l.Refuse.Code != 0 {
			s.l2tp.Refuse(m, l.Refuse, &l.call)
			l.sendCall(now, s)
			return
		}
		l.Calls++
		t.sessions[t.lastID] = s
	}
	if s == nil {
		return
	}
	s.l2tp.Receive(m, nil, &l.call)
	l.sendCall(now, s)
	switch {
	case l.call.Down:
		if m.Type == l2tp.MessageCDN {
			l.Clears++
		}
		l.forget(s)
	case l.call.Up:
		l.connected(s, m)
	}
}

func (l *LNS) sendCall(now time.Duration, s *session) {
	if m := l.call.Send; m != nil {
		s.tunnel.l2tp.Send(now, m, s.l2tp.PeerID(), &l.fx)
	}
}

func (l *LNS) forget(s *session) {
	delete(s.tunnel.sessions, s.l2tp.LocalID())
	if s.address.IsValid() {
		delete(l.byAddr, s.address)
	}
}

// Tick does what is due and says when to be called again.
func (l *LNS) Tick(now time.Duration) time.Duration {
	next := l2tp.Never
	for _, t := range l.tunnels {
		if t.l2tp.Deadline() <= now {
			t.l2tp.Tick(now, &l.fx)
			l.settle(now, t)
		}
		next = min(next, t.l2tp.Deadline())
	}
	return next
}

// Disconnect ends n sessions with a CDN.
func (l *LNS) Disconnect(now time.Duration, n int, r l2tp.Result) {
	for _, t := range l.tunnels {
		for _, s := range t.sessions {
			if n--; n < 0 {
				return
			}
			s.l2tp.Close(r, nil, &l.call)
			l.sendCall(now, s)
			l.forget(s)
			l.settle(now, t)
		}
	}
}

// Stop ends every tunnel with a StopCCN.
func (l *LNS) Stop(now time.Duration, r l2tp.Result) {
	for _, t := range l.tunnels {
		t.l2tp.Stop(now, r, &l.fx)
		l.settle(now, t)
	}
}

// TerminateAll sends an LCP Terminate-Request on every session.
func (l *LNS) TerminateAll() {
	for _, t := range l.tunnels {
		for _, s := range t.sessions {
			l.sendPPP(s, ppp.ProtocolLCP, ppp.AppendPacket(nil, ppp.TerminateRequest, 200, nil))
		}
	}
}

// Repeat sends the last data message of each session again.
func (l *LNS) Repeat() {
	for _, t := range l.tunnels {
		for _, s := range t.sessions {
			l.Send(t.peer, bytes.Clone(s.last))
		}
	}
}

// sendPPP sends a frame on a session.
func (l *LNS) sendPPP(s *session, p ppp.Protocol, payload []byte) {
	h := l2tp.Header{TunnelID: s.tunnel.l2tp.PeerID(), SessionID: s.l2tp.PeerID(), HasSequence: l.Sequenced, Ns: s.ns}
	s.ns++
	s.last = append(ppp.AppendHeader(h.Append(s.last[:0]), p, false, false), payload...)
	l.Send(s.tunnel.peer, s.last)
}

// nextAddress is the next subscriber's.
func (l *LNS) nextAddress() netip.Addr {
	l.address++
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 10<<24|64<<16+l.address)
	return netip.AddrFrom4(a)
}

// SendAll sends an IPv4 packet on every session.
func (l *LNS) SendAll(packet []byte) {
	for _, t := range l.tunnels {
		for _, s := range t.sessions {
			l.sendPPP(s, ppp.ProtocolIPv4, packet)
		}
	}
}
