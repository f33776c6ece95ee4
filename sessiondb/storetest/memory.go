package storetest

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"

	"culvert/sessiondb"
)

// Ended is a session that was dropped, with what is known of its end.
type Ended struct {
	Session sessiondb.Session
	End     sessiondb.End
}

// Memory is a sessiondb.Journal in memory, for tests. Its zero value is empty.
type Memory struct {
	// EpochValue is what Epoch gives.
	EpochValue uint32

	mu       sync.Mutex
	closed   bool
	tunnels  map[sessiondb.TunnelKey]sessiondb.Tunnel
	sessions map[sessiondb.SessionKey]sessiondb.Session
	entries  map[uint64]sessiondb.Entry
	objects  map[[2]string]sessiondb.Object
	calls    map[sessiondb.SessionKey]sessiondb.Call
	history  []Ended
}

// Epoch implements sessiondb.Journal.
func (m *Memory) Epoch() uint32 { return m.EpochValue }

// Apply implements sessiondb.Store.
func (m *Memory) Apply(ctx context.Context, changes []sessiondb.Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := sessiondb.Validate(changes); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return fmt.Errorf("memory: %w", sessiondb.ErrClosed)
	}
	m.init()
	for i := range changes {
		m.apply(&changes[i])
	}
	return nil
}

func (m *Memory) init() {
	if m.tunnels == nil {
		m.tunnels = make(map[sessiondb.TunnelKey]sessiondb.Tunnel)
		m.sessions = make(map[sessiondb.SessionKey]sessiondb.Session)
		m.entries = make(map[uint64]sessiondb.Entry)
		m.objects = make(map[[2]string]sessiondb.Object)
		m.calls = make(map[sessiondb.SessionKey]sessiondb.Call)
	}
}

func (m *Memory) apply(c *sessiondb.Change) {
	switch c.Op {
	case sessiondb.PutTunnel:
		m.tunnels[c.Tunnel.Key] = *c.Tunnel
	case sessiondb.DropTunnel:
		delete(m.tunnels, c.Tunnel.Key)
	case sessiondb.PutSession:
		m.sessions[c.Session.Key] = *c.Session
	case sessiondb.DropSession:
		m.end(c)
	case sessiondb.PutCall:
		m.calls[c.Call.Key] = *c.Call
	case sessiondb.DropCall:
		delete(m.calls, c.Call.Key)
	case sessiondb.PutEntry:
		m.entries[c.Entry.Seq] = *c.Entry
	case sessiondb.DropEntry:
		delete(m.entries, c.Entry.Seq)
	case sessiondb.PutObject:
		m.objects[[2]string{c.Object.Kind, c.Object.Name}] = *c.Object
	case sessiondb.DropObject:
		delete(m.objects, [2]string{c.Object.Kind, c.Object.Name})
	}
}

func (m *Memory) end(c *sessiondb.Change) {
	s, ok := m.sessions[c.Session.Key]
	if !ok {
		return
	}
	delete(m.sessions, s.Key)
	ended := Ended{Session: s}
	if c.End != nil {
		ended.End = *c.End
	}
	m.history = append(m.history, ended)
}

// History gives the sessions that were dropped, in that order.
func (m *Memory) History() []Ended {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.history)
}

// Close implements sessiondb.Store.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

// Tunnels implements sessiondb.Store.
func (m *Memory) Tunnels(ctx context.Context) iter.Seq2[sessiondb.Tunnel, error] {
	return snapshot(ctx, m, func() []sessiondb.Tunnel {
		return slices.SortedFunc(maps.Values(m.tunnels), func(a, b sessiondb.Tunnel) int { return a.Key.Compare(b.Key) })
	})
}

// Sessions implements sessiondb.Store.
func (m *Memory) Sessions(ctx context.Context) iter.Seq2[sessiondb.Session, error] {
	return snapshot(ctx, m, func() []sessiondb.Session {
		return slices.SortedFunc(maps.Values(m.sessions), func(a, b sessiondb.Session) int { return a.Key.Compare(b.Key) })
	})
}

// Calls implements sessiondb.Journal.
func (m *Memory) Calls(ctx context.Context) iter.Seq2[sessiondb.Call, error] {
	return snapshot(ctx, m, func() []sessiondb.Call {
		return slices.SortedFunc(maps.Values(m.calls), func(a, b sessiondb.Call) int { return a.Key.Compare(b.Key) })
	})
}

// Entries implements sessiondb.Store.
func (m *Memory) Entries(ctx context.Context) iter.Seq2[sessiondb.Entry, error] {
	return snapshot(ctx, m, func() []sessiondb.Entry {
		return slices.SortedFunc(maps.Values(m.entries), func(a, b sessiondb.Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	})
}

// Objects implements sessiondb.Store.
func (m *Memory) Objects(ctx context.Context, kind string) iter.Seq2[sessiondb.Object, error] {
	return snapshot(ctx, m, func() []sessiondb.Object {
		all := slices.SortedFunc(maps.Values(m.objects), func(a, b sessiondb.Object) int { return a.Compare(&b) })
		return slices.DeleteFunc(all, func(o sessiondb.Object) bool { return kind != "" && o.Kind != kind })
	})
}

// snapshot yields what take gives under the lock.
func snapshot[T any](ctx context.Context, m *Memory, take func() []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		m.mu.Lock()
		all, err := take(), ctx.Err()
		if m.closed {
			err = fmt.Errorf("memory: %w", sessiondb.ErrClosed)
		}
		m.mu.Unlock()
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		for _, v := range all {
			if !yield(v, nil) {
				return
			}
		}
	}
}

// Reopened gives a Memory with the same content that is not closed.
func (m *Memory) Reopened() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Memory{
		EpochValue: m.EpochValue + 1,
		tunnels:    maps.Clone(m.tunnels), sessions: maps.Clone(m.sessions),
		entries: maps.Clone(m.entries), objects: maps.Clone(m.objects), calls: maps.Clone(m.calls),
		history: slices.Clone(m.history),
	}
}
