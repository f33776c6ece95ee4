package lns

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"culvert/lns/dataplane"
	"culvert/sessiondb"
)

// Handing is a local address that is being handed over to another node, which has the tunnels
// and sessions on it from HandOver on, while this one's plane goes on to forward their packets for
// a while. Its methods may be called by one goroutine at a time; End or Abort has to be.
type Handing struct {
	srv      *Server
	listener uint16
	keys     []dataplane.Key
	// told is what has been told of each of keys.
	told []dataplane.Counters
}

// HandOver is Detach, but that sessions' packets are forwarded until End. late gets all
// that comes for the address and is for tunnels and links: from the plane's goroutines,
// several at a time; it must not block, and the datagrams are only lent.
func (s *Server) HandOver(local netip.AddrPort, late func([]dataplane.Datagram)) (*Handing, []sessiondb.Change, error) {
	i := slices.Index(s.listeners, local)
	if i < 0 {
		return nil, nil, fmt.Errorf("%v is no listen address of this node", local)
	}
	h := &Handing{srv: s, listener: uint16(i)}
	s.setDivert(h.listener, late)
	last, keys := s.detach(h.listener)
	h.keys, h.told = keys, make([]dataplane.Counters, len(keys))
	told := make(map[dataplane.Key]dataplane.Counters, len(keys))
	for _, c := range last {
		if c.Op == sessiondb.PutSession {
			told[planeKey(h.listener, c.Session.Key)] = dataplane.Counters{
				InOctets: c.Session.InOctets, InPackets: c.Session.InPackets,
				OutOctets: c.Session.OutOctets, OutPackets: c.Session.OutPackets,
			}
		}
	}
	for i, k := range keys {
		h.told[i] = told[k]
	}
	return h, last, nil
}

// HandingOver tells whether a listener's address is being handed over: from before HandOver reads
// what its sessions have counted until End or Abort.
func (s *Server) HandingOver(listener uint16) bool {
	handings := s.handings.Load()
	return handings != nil && (*handings)[listener] != nil
}

// Counted gives what has been counted since HandOver or Counted last; of sessions without packets nothing.
func (h *Handing) Counted() []dataplane.Counted {
	now := make([]dataplane.Counters, len(h.keys))
	h.srv.cfg.Plane.Counters(h.keys, now)
	return h.since(now)
}

// End has the plane forget the sessions, and gives what they have counted since Counted.
func (h *Handing) End() []dataplane.Counted {
	now := make([]dataplane.Counters, len(h.keys))
	h.srv.cfg.Plane.Remove(h.keys, now)
	list := h.since(now)
	h.Abort()
	return list
}

// Abort has the address be this node's as before; the caller brings back to life what HandOver gave.
func (h *Handing) Abort() {
	h.srv.setDivert(h.listener, nil)
	h.keys, h.told = nil, nil
}

func (h *Handing) since(now []dataplane.Counters) (list []dataplane.Counted) {
	for i, k := range h.keys {
		v, was := now[i], h.told[i]
		h.told[i] = v
		more := dataplane.Counters{
			InOctets: v.InOctets - was.InOctets, InPackets: v.InPackets - was.InPackets,
			OutOctets: v.OutOctets - was.OutOctets, OutPackets: v.OutPackets - was.OutPackets,
			Spoofed: v.Spoofed - was.Spoofed,
		}
		if more != (dataplane.Counters{}) {
			list = append(list, dataplane.Counted{Key: k, Counters: more})
		}
	}
	return list
}

// setDivert changes who gets what comes for a listener.
func (s *Server) setDivert(listener uint16, late func([]dataplane.Datagram)) {
	for {
		before := s.handings.Load()
		after := map[uint16]func([]dataplane.Datagram){}
		if before != nil {
			maps.Copy(after, *before)
		}
		if after[listener] = late; late == nil {
			delete(after, listener)
		}
		next := &after
		if len(after) == 0 {
			next = nil
		}
		if s.handings.CompareAndSwap(before, next) {
			return
		}
	}
}

// divert gives what is for addresses that are being handed over to who takes it, and returns the rest.
func divert(to map[uint16]func([]dataplane.Datagram), list []dataplane.Datagram) []dataplane.Datagram {
	rest := make([]dataplane.Datagram, 0, len(list)) // the list is the plane's
	for i := range list {
		if f := to[list[i].Listener]; f != nil {
			f(list[i : i+1])
		} else {
			rest = append(rest, list[i])
		}
	}
	return rest
}
