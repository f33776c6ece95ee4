package cluster

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"culvert/lns/dataplane"
	"culvert/sessiondb"
)

// Recovered says what has come of bringing to life what is on an address; the
// fields are those of lns.Recovery.
type Recovered struct {
	Tunnels, Sessions int
	Cleared           int
	Closed            int
	Dropped           int
	Took              time.Duration
}

// Server is the LNS (lns.Server), as Sessions uses it.
type Server interface {
	Detach(local netip.AddrPort) ([]sessiondb.Change, error)
	ForgetKept(ctx context.Context, local netip.AddrPort) error
	RecoverKept(ctx context.Context, local netip.AddrPort) (Recovered, error)
	RecoverLast(ctx context.Context, last []sessiondb.Change) (Recovered, error)
	// Adopt brings to life another node's records of an address.
	Adopt(ctx context.Context, local netip.AddrPort, tunnels iter.Seq2[sessiondb.Tunnel, error], sessions iter.Seq2[sessiondb.Session, error]) (Recovered, error)
}

// Hander is a Server that can hand over an address while packets go on: lns.Server.HandOver.
type Hander interface {
	HandOver(local netip.AddrPort, late func([]dataplane.Datagram)) (Handing, []sessiondb.Change, error)
}

// Database gives what the cluster's database has of an address.
type Database interface {
	TunnelsAt(ctx context.Context, local netip.AddrPort) iter.Seq2[sessiondb.Tunnel, error]
	SessionsAt(ctx context.Context, local netip.AddrPort) iter.Seq2[sessiondb.Session, error]
}

// Writer is the write-behind (sessiondb.Writer), as Sessions uses it.
type Writer interface {
	Flush(ctx context.Context) error
	Resync()
}

// Sessions is the Host of a node: it brings to life and forgets what is on
// service addresses.
type Sessions struct {
	Server Server
	// Plane is the Server's; nil where addresses do not move without loss.
	Plane dataplane.Plane
	// Open connects to the database.
	Open     func(context.Context) (Database, error)
	Writer   Writer
	Journal  sessiondb.Journal
	Withheld *Withheld
	Log      *slog.Logger

	// keeping guards kept: addresses of subscribers that the journal had when this process started, by the service address that
	// they are on, as long as that is neither alive here nor forgotten. nil before the journal was looked at.
	keeping sync.Mutex
	kept    map[netip.AddrPort][]netip.Addr

	// reviving is held for reading while this node's own sessions come to life, with the counters that it has left in its plane.
	reviving sync.RWMutex
}

// Take is that of Host.
func (h *Sessions) Take(ctx context.Context, local netip.AddrPort, own bool) error {
	h.Withheld.wait(ctx)
	var done Recovered
	var err error
	h.keepOthers(ctx, local, own)
	if own {
		done, err = h.recoverKept(ctx, local)
	} else {
		h.settle()
		done, err = h.load(ctx, local)
	}
	if err != nil {
		return err
	}
	h.Writer.Resync()
	h.Log.Info("cluster: what is on an address lives here now", "address", local, "from_journal", own, "tunnels", done.Tunnels,
		"sessions", done.Sessions, "cleared", done.Cleared, "closed", done.Closed, "dropped_tunnels", done.Dropped, "took", done.Took.Round(time.Millisecond))
	return nil
}

// keepOthers lets the sessions on an address that comes to life have their addresses, and withholds those of sessions that the
// journal has on other service addresses: these come to life a moment later, and a call that comes here before that must not be
// given what is one of theirs.
func (h *Sessions) keepOthers(ctx context.Context, local netip.AddrPort, own bool) {
	h.keeping.Lock()
	defer h.keeping.Unlock()
	first := h.kept == nil
	if first {
		h.kept = map[netip.AddrPort][]netip.Addr{}
	}
	if first || own {
		for s, err := range h.Journal.Sessions(ctx) {
			at := s.Key.Tunnel.Local
			switch {
			case err != nil: // whoever reads it for good says so
			case at != local && first:
				h.Withheld.keep(s.Address)
				h.kept[at] = append(h.kept[at], s.Address)
			case at == local && own:
				h.Withheld.release(s.Address)
			}
		}
	}
	for _, a := range h.kept[local] {
		h.Withheld.release(a)
	}
	delete(h.kept, local)
}

// forgetKept leaves addresses of subscribers on an address that is another node's to what the database says of them.
func (h *Sessions) forgetKept(local netip.AddrPort) {
	h.keeping.Lock()
	defer h.keeping.Unlock()
	h.Withheld.elsewhere(h.kept[local])
	delete(h.kept, local)
}

// recoverKept brings to life what this node has kept itself.
func (h *Sessions) recoverKept(ctx context.Context, local netip.AddrPort) (Recovered, error) {
	if _, ok := h.Plane.(dataplane.Settler); ok {
		h.reviving.RLock()
		defer h.reviving.RUnlock()
	}
	return h.Server.RecoverKept(ctx, local)
}

// settle has the plane forget what it has left of sessions that have been elsewhere since.
func (h *Sessions) settle() {
	if p, ok := h.Plane.(dataplane.Settler); ok {
		h.reviving.Lock()
		defer h.reviving.Unlock()
		p.Settle()
	}
}

// load brings to life what the database has.
func (h *Sessions) load(ctx context.Context, local netip.AddrPort) (Recovered, error) {
	db, err := h.Open(ctx)
	if err != nil {
		return Recovered{}, err
	}
	if err := h.Server.ForgetKept(ctx, local); err != nil { // of an earlier ownership
		return Recovered{}, err
	}
	sessions := func(yield func(sessiondb.Session, error) bool) {
		for r, err := range db.SessionsAt(ctx, local) {
			h.Withheld.release(r.Address)
			if !yield(r, err) {
				return
			}
		}
	}
	return h.Server.Adopt(ctx, local, db.TunnelsAt(ctx, local), sessions)
}

// flushTime is how long a move waits for what was written behind.
const flushTime = 5 * time.Second

// Give is that of Host.
func (h *Sessions) Give(ctx context.Context, local netip.AddrPort) ([]sessiondb.Change, error) {
	last, err := h.Server.Detach(local)
	if err != nil {
		return last, err
	}
	return last, h.given(ctx, last)
}

// HandOver is that of Host.
func (h *Sessions) HandOver(ctx context.Context, local netip.AddrPort, late func([]dataplane.Datagram)) (Handing, []sessiondb.Change, error) {
	s, ok := h.Server.(Hander)
	if !ok {
		return nil, nil, errors.ErrUnsupported
	}
	x, last, err := s.HandOver(local, late)
	if err != nil {
		return nil, last, err
	}
	return x, last, h.given(ctx, last)
}

// given has the database have all that came before the last word.
func (h *Sessions) given(ctx context.Context, last []sessiondb.Change) error {
	h.withhold(last)
	ctx, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	if err := h.Writer.Flush(ctx); err != nil {
		return fmt.Errorf("the database does not take what is written behind: %w", err)
	}
	return nil
}

// CountMore is that of Host, as are TakeIn and SendOut.
func (h *Sessions) CountMore(list []dataplane.Counted) {
	if m, ok := h.Plane.(dataplane.Mover); ok {
		m.More(list)
	}
}

// TakeIn: see CountMore.
func (h *Sessions) TakeIn(list []dataplane.Datagram) {
	if m, ok := h.Plane.(dataplane.Mover); ok {
		m.Inject(list)
	}
}

// SendOut: see CountMore.
func (h *Sessions) SendOut(list []dataplane.Datagram) {
	if h.Plane != nil {
		h.Plane.Send(0, list)
	}
}

// withhold keeps the addresses of sessions that live on elsewhere from being given to others.
func (h *Sessions) withhold(last []sessiondb.Change) {
	for _, c := range last {
		if c.Op == sessiondb.PutSession {
			h.Withheld.take(c.Session.Address)
		}
	}
}

// Restore is that of Host.
func (h *Sessions) Restore(ctx context.Context, _ netip.AddrPort, last []sessiondb.Change) error {
	for _, c := range last {
		if c.Op == sessiondb.PutSession {
			h.Withheld.release(c.Session.Address)
		}
	}
	_, err := h.Server.RecoverLast(ctx, last)
	h.Writer.Resync()
	return err
}

// Forget is that of Host.
func (h *Sessions) Forget(local netip.AddrPort) error {
	last, err := h.Server.Detach(local)
	if err != nil {
		return err
	}
	h.withhold(last)
	h.forgetKept(local)
	return h.Server.ForgetKept(context.Background(), local)
}
