package outbox

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/sessiondb"
)

// fuzzedOutbox is an outbox in virtual time with a server and a journal that fail
// as a script says, and what each session's records were.
type fuzzedOutbox struct {
	t     *testing.T
	o     *Outbox
	cfg   Config
	now   time.Time
	store *store
	seq   uint64
	// sessions by number: what was submitted last, and what the server has acknowledged.
	last map[int]aaa.UsageKind
	got  map[string][]received
	// lives counts the outbox's.
	lives int
	// away has the server refuse; late has its answers wait, in order.
	away, late bool
	answers    []func()
}

// received is a record that the server has taken, and the outbox's life that sent it.
type received struct {
	aaa.Usage
	life int
}

// Account is the server's.
func (z *fuzzedOutbox) Account(u *aaa.Usage, done func(error)) {
	err := error(nil)
	if z.away {
		err = fmt.Errorf("test: %w", aaa.ErrUnavailable)
	} else {
		id := u.Identity.AcctSessionID
		z.got[id] = append(z.got[id], received{*u, z.lives})
	}
	if z.late {
		z.answers = append(z.answers, func() { done(err) })
		return
	}
	done(err)
}

// life begins a life of the outbox on what the journal has.
func (z *fuzzedOutbox) life() {
	z.answers = nil
	z.lives++
	z.o = NewManual(z.cfg, z.store, z)
	n, err := z.o.Load(context.Background())
	if err != nil || n != z.store.len() {
		z.t.Fatalf("loaded %d of %d: %v", n, z.store.len(), err)
	}
}

// submit journals and submits the next record of a session, as the LNS would.
func (z *fuzzedOutbox) submit(i int, interim bool) {
	kind := map[aaa.UsageKind]aaa.UsageKind{0: aaa.UsageStart, aaa.UsageStart: aaa.UsageStop, aaa.UsageInterim: aaa.UsageStop}[z.last[i]]
	if kind == aaa.UsageStop && interim {
		kind = aaa.UsageInterim
	}
	if kind == 0 || z.store.fail != nil {
		return
	}
	z.last[i] = kind
	z.seq++
	z.o.Submit(z.store.put(rec(z.seq, kind, fmt.Sprint("s", i))))
}

func (z *fuzzedOutbox) step(op byte) {
	switch arg := int(op >> 3); op & 7 {
	case 0, 1:
		z.submit(arg, op&1 != 0)
	case 2:
		z.away = arg&1 != 0
	case 3:
		z.late = arg&1 != 0
	case 4: // some answers come
		for range min(arg, len(z.answers)) {
			f := z.answers[0]
			z.answers = z.answers[1:]
			f()
		}
	case 5:
		z.store.fail = nil
		if arg&1 != 0 {
			z.store.fail = errors.New("test: no disk")
		}
	case 6: // the process dies
		z.life()
	default:
		z.now = z.now.Add(time.Duration(arg*arg) * 100 * time.Millisecond)
	}
	wait := z.o.Step()
	s := z.o.Stats()
	if wait <= 0 || s.InFlight > z.cfg.Concurrency || s.InFlight != len(z.answers) || s.Pending < 0 || s.Stubs < 0 || s.Stubs > s.Pending {
		z.t.Fatalf("wait %v, %d answers are due: %+v", wait, len(z.answers), s)
	}
	if z.store.fail == nil && s.Pending != z.store.len() {
		z.t.Fatalf("%d are pending, the journal has %d", s.Pending, z.store.len())
	}
}

// settle lets all be well until nothing is left to do.
func (z *fuzzedOutbox) settle() {
	z.away, z.late, z.store.fail = false, false, nil
	for n := 0; z.store.len() > 0 || z.o.Stats().Pending > 0; n++ {
		if n > 1000 {
			z.t.Fatalf("%d entries are left: %+v", z.store.len(), z.o.Stats())
		}
		for _, f := range z.answers {
			f()
		}
		z.answers = nil
		z.now = z.now.Add(max(min(z.o.Step(), time.Minute), time.Millisecond))
	}
}

// check: each session's records came in order, in each life once, the Start and the Stop among them.
func (z *fuzzedOutbox) check() {
	for i, last := range z.last {
		list := z.got[fmt.Sprint("s", i)]
		before, kinds := received{}, map[aaa.UsageKind]bool{}
		for _, r := range list {
			if kinds[r.Kind] = true; !kinds[aaa.UsageStart] {
				z.t.Fatalf("session %d: %v before its Start", i, r.Kind)
			}
			// After its death alone the outbox may send a record again.
			if r.life == before.life && r.Seq <= before.Seq {
				z.t.Fatalf("session %d: record %d came after %d", i, r.Seq, before.Seq)
			}
			before = r
		}
		if !kinds[aaa.UsageStart] || kinds[aaa.UsageStop] != (last == aaa.UsageStop) || before.Kind != last {
			z.t.Fatalf("session %d: submitted up to %v, the server has %v, at last %v", i, last, kinds, before.Kind)
		}
	}
}

// FuzzOutbox has a server that goes away and is slow, a journal that fails and a process that dies,
// in any order: no Start or Stop is lost, a session's records come in order, the
// journal holds what is pending and nothing else, and in the end nothing is left.
func FuzzOutbox(f *testing.F) {
	f.Add(uint8(2), uint8(3), []byte{0, 8, 10, 1, 9, 7 | 9<<3, 0, 2, 7 | 31<<3, 0})
	f.Add(uint8(1), uint8(0), []byte{11, 0, 8, 16, 6, 1, 12, 4 | 8, 0, 6, 7 | 5<<3})
	f.Add(uint8(9), uint8(1), []byte{0, 1, 1, 13, 1, 0, 7 | 20<<3, 5, 6, 7 | 20<<3, 0, 0})
	f.Add(uint8(1), uint8(2), []byte{10, 0, 8, 16, 24, 32, 1, 9, 17, 7 | 31<<3, 2, 7 | 31<<3})
	f.Fuzz(func(t *testing.T, concurrency, memory uint8, ops []byte) {
		z := &fuzzedOutbox{t: t, now: time.Unix(1_800_000_000, 0), store: newStore(), last: map[int]aaa.UsageKind{}, got: map[string][]received{}}
		z.cfg = Config{
			Concurrency: 1 + int(concurrency%16), MemoryRecords: 1 + int(memory%8),
			Now: func() time.Time { return z.now }, Rand: func(n int64) int64 { return n / 2 },
		}
		z.life()
		for _, op := range ops[:min(len(ops), 512)] {
			z.step(op)
		}
		z.settle()
		z.check()
	})
}

// FuzzLoad reads whatever payloads the journal has: what is not a record is counted and stays.
func FuzzLoad(f *testing.F) {
	u := rec(1, aaa.UsageStart, "a")
	good, err := aaa.AppendUsage(nil, &u)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, []byte("rubbish"))
	f.Add([]byte{}, good[:len(good)-1])
	f.Fuzz(func(t *testing.T, one, two []byte) {
		st := newStore()
		for i, b := range [][]byte{one, two} {
			st.entries[uint64(i+1)] = sessiondb.Entry{Seq: uint64(i + 1), Session: "x", Payload: b}
		}
		a := &deaf{}
		o := NewManual(Config{}, st, a)
		n, err := o.Load(context.Background())
		if s := o.Stats(); err != nil || n+int(s.Corrupt) != 2 || s.Pending > n {
			t.Fatalf("loaded %d, %v: %+v", n, err, s)
		}
		if wait := o.Step(); wait <= 0 || a.got > n {
			t.Fatalf("of %d records %d came, wait %v", n, a.got, wait)
		}
	})
}
