package storetest

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"culvert/sessiondb"
)

// testRandomWalk makes random batches, in the store and in a Memory, and
// compares the two after each. Sessions take their addresses from a few.
func testRandomWalk(t *testing.T, s sessiondb.Store) {
	const batches = 150
	seed := time.Now().UnixNano()
	rnd := rand.New(rand.NewPCG(uint64(seed), 0))
	walk := Walk{Rand: rnd, Keys: 12, Addresses: 8}
	var model Memory
	for i := range batches {
		batch := walk.Batch(1 + rnd.IntN(15))
		apply(t, &model, batch...)
		apply(t, s, batch...)
		if err := Same(t.Context(), s, &model); err != nil {
			t.Fatalf("seed %d, batch %d: %v\nafter %v", seed, i, err, batch)
		}
	}
}

// Walk makes random changes in which no two live sessions ever have one address.
type Walk struct {
	Rand *rand.Rand
	// Keys is how many keys of each kind are used, Addresses how many addresses.
	Keys, Addresses int

	step    int
	holders map[netip.Addr]sessiondb.SessionKey
	held    map[sessiondb.SessionKey]netip.Addr
}

// Batch gives the next n changes.
func (w *Walk) Batch(n int) []sessiondb.Change {
	changes := make([]sessiondb.Change, n)
	for i := range changes {
		w.step++
		changes[i] = w.change(1 + w.Rand.IntN(w.Keys))
	}
	return changes
}

func (w *Walk) change(key int) sessiondb.Change {
	switch w.Rand.IntN(10) {
	case 0:
		tunnel := TunnelOf(key)
		tunnel.Ns, tunnel.Nr = uint16(w.step), uint16(w.Rand.IntN(1<<16))
		return putTunnel(tunnel)
	case 1:
		return dropTunnel(TunnelOf(key).Key)
	case 2:
		entry := EntryOf(key)
		entry.Payload = []byte{byte(w.step)}
		return putEntry(entry)
	case 3:
		return dropEntry(uint64(key))
	case 4:
		return putObject("kind", string(rune('a'+key)), string(rune('a'+w.Rand.IntN(26))))
	case 5:
		return dropObject("kind", string(rune('a'+key)))
	case 6, 7:
		k := SessionOf(key).Key
		w.release(k)
		return dropSession(k, origin.Add(time.Duration(w.step)*time.Second))
	}
	return w.putSession(key)
}

// putSession gives the session an address that is free, or none.
func (w *Walk) putSession(key int) sessiondb.Change {
	session := SessionOf(key)
	session.InOctets = uint64(w.step)
	session.AcctSessionID = session.AcctSessionID + string(rune('a'+key))
	w.release(session.Key)
	session.Address = addr4(100, w.Rand.IntN(w.Addresses))
	if _, taken := w.holders[session.Address]; taken {
		session.Address = netip.Addr{}
		return putSession(session)
	}
	if w.holders == nil {
		w.holders = make(map[netip.Addr]sessiondb.SessionKey)
		w.held = make(map[sessiondb.SessionKey]netip.Addr)
	}
	w.holders[session.Address] = session.Key
	w.held[session.Key] = session.Address
	return putSession(session)
}

func (w *Walk) release(k sessiondb.SessionKey) {
	delete(w.holders, w.held[k])
	delete(w.held, k)
}
