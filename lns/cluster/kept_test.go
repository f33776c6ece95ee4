package cluster

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"culvert/sessiondb"
)

// keptJournal has two sessions, one on each address.
type keptJournal struct{ sessiondb.Journal }

var keptOn = map[netip.AddrPort]netip.Addr{local: netip.MustParseAddr("10.0.0.1"), other: netip.MustParseAddr("10.0.0.2")}

func (keptJournal) Sessions(context.Context) iter.Seq2[sessiondb.Session, error] {
	return func(yield func(sessiondb.Session, error) bool) {
		for _, at := range []netip.AddrPort{local, other} {
			if !yield(sessiondb.Session{Key: sessiondb.SessionKey{Tunnel: sessiondb.TunnelKey{Local: at}}, Address: keptOn[at]}, nil) {
				return
			}
		}
	}
}

// keptPool is a pool, by who has an address.
type keptPool map[netip.Addr]uint64

func (p keptPool) Reserve(a netip.Addr, _ string, owner uint64) error {
	if p[a] != 0 {
		return errors.New("in use")
	}
	p[a] = owner
	return nil
}

func (p keptPool) Release(a netip.Addr, owner uint64) {
	if p[a] == owner {
		delete(p, a)
	}
}

func (p keptPool) Holder(a netip.Addr) (string, uint64, bool) { return "", p[a], p[a] != 0 }

// keptServer brings to life what keptJournal has.
type keptServer struct {
	Server
	p keptPool
}

func (s keptServer) RecoverKept(_ context.Context, at netip.AddrPort) (Recovered, error) {
	return Recovered{Sessions: 1}, s.p.Reserve(keptOn[at], "", 1)
}
func (keptServer) ForgetKept(context.Context, netip.AddrPort) error  { return nil }
func (keptServer) Detach(netip.AddrPort) ([]sessiondb.Change, error) { return nil, nil }
func (keptServer) Adopt(_ context.Context, _ netip.AddrPort, t iter.Seq2[sessiondb.Tunnel, error], _ iter.Seq2[sessiondb.Session, error]) (Recovered, error) {
	return Recovered{}, nil
}

type keptWriter struct{}

func (keptWriter) Flush(context.Context) error { return nil }
func (keptWriter) Resync()                     {}

type keptDatabase struct{}

func (keptDatabase) TunnelsAt(context.Context, netip.AddrPort) iter.Seq2[sessiondb.Tunnel, error] {
	return func(func(sessiondb.Tunnel, error) bool) {}
}
func (keptDatabase) SessionsAt(context.Context, netip.AddrPort) iter.Seq2[sessiondb.Session, error] {
	return func(func(sessiondb.Session, error) bool) {}
}

// TestTakeKeepsOthers has a node with two service addresses start: when the first is alive, a call there must not be given the
// address of a session on the second, which has still to come.
func TestTakeKeepsOthers(t *testing.T) {
	for _, c := range []struct {
		name string
		own  bool // the first comes from the journal, not from the database
		then func(*Sessions) error
		has  uint64        // who has the second's address then
		in   time.Duration // and when the database has been asked so much later
		at   uint64
	}{
		{"the second comes from the journal", true, func(h *Sessions) error { return h.Take(t.Context(), other, true) }, 1, time.Hour, 1},
		{"the first comes from the database", false, func(h *Sessions) error { return h.Take(t.Context(), other, true) }, 1, time.Hour, 1},
		{"the second comes from the database, which has nothing", true, func(h *Sessions) error { return h.Take(t.Context(), other, false) }, 0, 0, 0},
		{"the second is another node's", true, func(h *Sessions) error { return h.Forget(other) }, WithheldOwner, withheldFor + 1, 0},
		{"the second is another node's, since a moment", true, func(h *Sessions) error { return h.Forget(other) }, WithheldOwner, withheldFor, WithheldOwner},
		{"the second is yet to come", true, func(*Sessions) error { return nil }, WithheldOwner, time.Hour, WithheldOwner},
	} {
		t.Run(c.name, func(t *testing.T) {
			now, p := time.Unix(1000, 0), keptPool{}
			w := NewWithheld(func() Pools { return p }, func() time.Time { return now })
			w.Asked()
			h := &Sessions{Server: keptServer{p: p}, Writer: keptWriter{}, Journal: keptJournal{}, Withheld: w, Log: slog.New(slog.DiscardHandler),
				Open: func(context.Context) (Database, error) { return keptDatabase{}, nil }}
			if err := h.Take(t.Context(), local, c.own); err != nil {
				t.Fatal(err)
			}
			if err := p.Reserve(keptOn[other], "", 7); err == nil {
				t.Fatal("a call was given the address of a session that has still to come to life")
			}
			if err := c.then(h); err != nil {
				t.Fatal(err)
			}
			if p[keptOn[other]] != c.has {
				t.Errorf("the second's address is %d's, not %d's", p[keptOn[other]], c.has)
			}
			now = now.Add(c.in)
			w.Set(nil)
			if p[keptOn[other]] != c.at {
				t.Errorf("%v later the second's address is %d's, not %d's", c.in, p[keptOn[other]], c.at)
			}
		})
	}
}
