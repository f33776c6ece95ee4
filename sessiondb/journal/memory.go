package journal

import (
	"context"
	"iter"
	"slices"
	"sync"

	"culvert/sessiondb"
)

// Memory is a journal without a folder, for simulations: its records are
// those of Journal, octet by octet, and every read decodes them. What it holds
// survives the death of a simulated process: Reopen begins the next life.
type Memory struct {
	epoch   uint32
	mu      sync.Mutex
	records map[string][]byte
	keys    []string // sorted; nil after a change of the set
	closed  bool
}

var _ sessiondb.Journal = (*Memory)(nil)

// NewMemory makes an empty journal of epoch 1.
func NewMemory() *Memory { return &Memory{epoch: 1, records: map[string][]byte{}} }

// Reopen returns a journal of the next epoch on the same records. The one
// before must not be used any more.
func (m *Memory) Reopen() *Memory { return &Memory{epoch: m.epoch + 1, records: m.records} }

// Epoch implements sessiondb.Journal.
func (m *Memory) Epoch() uint32 { return m.epoch }

// Close implements sessiondb.Store. Reopen may follow.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

// Apply implements sessiondb.Store. Its only errors are ctx's, sessiondb.ErrInvalid and sessiondb.ErrClosed.
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
		return sessiondb.ErrClosed
	}
	var s scratch
	for i := range changes {
		put := s.encode(&changes[i])
		_, have := m.records[string(s.key)]
		if have != put {
			m.keys = nil
		}
		if put {
			m.records[string(s.key)] = slices.Clone(s.value)
		} else {
			delete(m.records, string(s.key))
		}
	}
	return nil
}

// Tunnels implements sessiondb.Store.
func (m *Memory) Tunnels(ctx context.Context) iter.Seq2[sessiondb.Tunnel, error] {
	return readMemory(ctx, m, []byte{prefixTunnel}, tunnelOf)
}

// Sessions implements sessiondb.Store.
func (m *Memory) Sessions(ctx context.Context) iter.Seq2[sessiondb.Session, error] {
	return readMemory(ctx, m, []byte{prefixSession}, sessionOf)
}

// Calls implements sessiondb.Journal.
func (m *Memory) Calls(ctx context.Context) iter.Seq2[sessiondb.Call, error] {
	return readMemory(ctx, m, []byte{prefixCall}, callOf)
}

// Entries implements sessiondb.Store.
func (m *Memory) Entries(ctx context.Context) iter.Seq2[sessiondb.Entry, error] {
	return readMemory(ctx, m, []byte{prefixEntry}, entryOf)
}

// Objects implements sessiondb.Store.
func (m *Memory) Objects(ctx context.Context, kind string) iter.Seq2[sessiondb.Object, error] {
	return readMemory(ctx, m, objectsOf(kind), objectOf)
}

// cell is one record.
type cell struct {
	key   string
	value []byte
}

// from copies the records whose keys begin with prefix, in order.
func (m *Memory) from(prefix []byte) ([]cell, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, sessiondb.ErrClosed
	}
	if m.keys == nil {
		m.keys = make([]string, 0, len(m.records))
		for k := range m.records {
			m.keys = append(m.keys, k)
		}
		slices.Sort(m.keys)
	}
	first, _ := slices.BinarySearch(m.keys, string(prefix))
	end, _ := slices.BinarySearch(m.keys, string(after(prefix)))
	list := make([]cell, 0, end-first)
	for _, k := range m.keys[first:end] {
		list = append(list, cell{k, m.records[k]})
	}
	return list, nil
}

// readMemory yields what decode makes of the records whose keys begin with prefix, as
// they are when the iteration begins.
func readMemory[T any](ctx context.Context, m *Memory, prefix []byte, decode func(key, value []byte) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		list, err := m.from(prefix)
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		for _, c := range list {
			record, err := decode([]byte(c.key[1:]), c.value)
			if err == nil {
				err = ctx.Err()
			}
			if !yield(record, err) || err != nil {
				return
			}
		}
	}
}
