package storetest

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"culvert/sessiondb"
)

// testBatchOrder has every order of two and three changes to one key in one batch.
func testBatchOrder(t *testing.T, s sessiondb.Store) {
	first, second := SessionOf(1), SessionOf(1)
	second.AcctSessionID, second.User = "other", "other"
	put, again, drop := putSession(first), putSession(second), dropSession(first.Key, origin)
	for name, c := range map[string]struct {
		batch []sessiondb.Change
		want  []sessiondb.Session
	}{
		"put put":       {[]sessiondb.Change{put, again}, []sessiondb.Session{second}},
		"put drop":      {[]sessiondb.Change{put, drop}, nil},
		"drop put":      {[]sessiondb.Change{drop, again}, []sessiondb.Session{second}},
		"put drop put":  {[]sessiondb.Change{put, drop, again}, []sessiondb.Session{second}},
		"drop put drop": {[]sessiondb.Change{drop, put, drop}, nil},
		"put put drop":  {[]sessiondb.Change{put, again, drop}, nil},
		"drop drop":     {[]sessiondb.Change{drop, drop}, nil},
	} {
		for _, before := range [][]sessiondb.Change{{drop}, {put}} {
			apply(t, s, before...)
			apply(t, s, c.batch...)
			t.Run(name, func(t *testing.T) {
				expect(t, "session", s.Sessions(t.Context()), c.want, (*sessiondb.Session).Equal)
			})
		}
	}
	entry, tunnel := EntryOf(1), TunnelOf(1)
	apply(t, s, putEntry(entry), dropEntry(1), putTunnel(tunnel), dropTunnel(tunnel.Key), putObject("a", "b", ""), dropObject("a", "b"))
	apply(t, s, dropEntry(1), putEntry(entry), dropTunnel(tunnel.Key), putTunnel(tunnel), dropObject("a", "b"), putObject("a", "b", "c"))
	expect(t, "entry", s.Entries(t.Context()), []sessiondb.Entry{entry}, (*sessiondb.Entry).Equal)
	expect(t, "tunnel", s.Tunnels(t.Context()), []sessiondb.Tunnel{tunnel}, (*sessiondb.Tunnel).Equal)
	expect(t, "object", s.Objects(t.Context(), ""), []sessiondb.Object{*putObject("a", "b", "c").Object}, (*sessiondb.Object).Equal)
}

// testAddressMoves gives one address to one session after the other, and
// swaps two, each in one batch.
func testAddressMoves(t *testing.T, s sessiondb.Store) {
	one, two, three := SessionOf(1), SessionOf(2), SessionOf(3)
	two.Address = one.Address
	apply(t, s, putSession(one))
	apply(t, s, dropSession(one.Key, origin), putSession(two))
	expect(t, "session", s.Sessions(t.Context()), []sessiondb.Session{two}, (*sessiondb.Session).Equal)
	apply(t, s, dropSession(two.Key, origin), putSession(one), dropSession(one.Key, origin), putSession(two), putSession(three))
	two.Address, three.Address = three.Address, two.Address
	apply(t, s, putSession(two), putSession(three))
	one.Address, two.Address = two.Address, netip.Addr{}
	apply(t, s, putSession(two), putSession(one))
	expect(t, "session", s.Sessions(t.Context()), []sessiondb.Session{one, two, three}, (*sessiondb.Session).Equal)
}

// testAgain applies batches twice.
func testAgain(t *testing.T, s sessiondb.Store) {
	one, two := SessionOf(1), SessionOf(2)
	batches := [][]sessiondb.Change{
		{putSession(one), putTunnel(TunnelOf(1)), putEntry(EntryOf(1)), putObject("a", "b", "c")},
		{dropSession(one.Key, origin), putSession(two), dropEntry(1), putEntry(EntryOf(2))},
	}
	for _, batch := range batches {
		apply(t, s, batch...)
		apply(t, s, batch...)
	}
	expect(t, "session", s.Sessions(t.Context()), []sessiondb.Session{two}, (*sessiondb.Session).Equal)
	expect(t, "entry", s.Entries(t.Context()), []sessiondb.Entry{EntryOf(2)}, (*sessiondb.Entry).Equal)
	expect(t, "tunnel", s.Tunnels(t.Context()), []sessiondb.Tunnel{TunnelOf(1)}, (*sessiondb.Tunnel).Equal)
}

// testAllOrNone has one invalid change among valid ones.
func testAllOrNone(t *testing.T, s sessiondb.Store) {
	zone := TunnelOf(1)
	zone.Key.Local = netip.MustParseAddrPort("[fe80::1%eth0]:1701")
	for name, bad := range map[string]sessiondb.Change{
		"no operation":     {},
		"unknown":          {Op: 99, Session: &sessiondb.Session{}},
		"tunnel missing":   {Op: sessiondb.PutTunnel},
		"session missing":  {Op: sessiondb.DropSession, End: &sessiondb.End{}},
		"entry missing":    {Op: sessiondb.PutEntry},
		"object missing":   {Op: sessiondb.DropObject},
		"no address":       {Op: sessiondb.PutTunnel, Tunnel: &sessiondb.Tunnel{}},
		"zone":             putTunnel(zone),
		"entry number":     putEntry(sessiondb.Entry{Seq: 1 << 63}),
		"object no name":   putObject("a", "", ""),
		"object no text":   putObject("a", "\xff", ""),
		"object zero byte": putObject("a\x00b", "c", ""),
	} {
		err := s.Apply(t.Context(), []sessiondb.Change{putEntry(EntryOf(1)), bad, putEntry(EntryOf(2))})
		if !errors.Is(err, sessiondb.ErrInvalid) {
			t.Errorf("%s: error %v, should be %v", name, err, sessiondb.ErrInvalid)
		}
	}
	expect(t, "entry", s.Entries(t.Context()), nil, (*sessiondb.Entry).Equal)
	apply(t, s)
}

func testCancelled(t *testing.T, s sessiondb.Store) {
	apply(t, s, putEntry(EntryOf(1)), putEntry(EntryOf(2)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Apply(ctx, []sessiondb.Change{putEntry(EntryOf(3))}); !errors.Is(err, context.Canceled) {
		t.Errorf("applying: error %v", err)
	}
	n := 0
	for _, err := range s.Entries(ctx) {
		if n++; !errors.Is(err, context.Canceled) {
			t.Errorf("reading: error %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d errors, should be 1", n)
	}
	expect(t, "entry", s.Entries(t.Context()), []sessiondb.Entry{EntryOf(1), EntryOf(2)}, (*sessiondb.Entry).Equal)
}

// testReadWhileWrite changes what is being read, and leaves in the middle.
func testReadWhileWrite(t *testing.T, s sessiondb.Store) {
	for i := range 100 {
		apply(t, s, putEntry(EntryOf(i+1)))
	}
	for e, err := range s.Entries(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		apply(t, s, dropEntry(e.Seq))
		if e.Seq == 50 {
			break
		}
	}
	rest := collect(t, s.Entries(t.Context()))
	if len(rest) != 50 || rest[0].Seq != 51 {
		t.Errorf("%d entries are left", len(rest))
	}
}

// testConcurrent has several writers with sessions of their own.
func testConcurrent(t *testing.T, s sessiondb.Store) {
	const writers, rounds = 4, 25
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range rounds {
				n := w*1000 + i
				changes := []sessiondb.Change{putSession(SessionOf(n)), putEntry(EntryOf(n + 1))}
				if i%5 == 4 {
					changes = append(changes, dropSession(SessionOf(n-1).Key, origin.Add(time.Duration(n))))
				}
				if err := s.Apply(t.Context(), changes); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	var want []sessiondb.Session
	for w := range writers {
		for i := range rounds {
			if i%5 != 3 {
				want = append(want, SessionOf(w*1000+i))
			}
		}
	}
	expect(t, "session", s.Sessions(t.Context()), want, (*sessiondb.Session).Equal)
	if got := len(collect(t, s.Entries(t.Context()))); got != writers*rounds {
		t.Errorf("%d entries", got)
	}
}

func testClosed(t *testing.T, s sessiondb.Store) {
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(t.Context(), []sessiondb.Change{putEntry(EntryOf(1))}); !errors.Is(err, sessiondb.ErrClosed) {
		t.Errorf("applying: error %v", err)
	}
	n := 0
	for _, err := range s.Sessions(t.Context()) {
		if n++; !errors.Is(err, sessiondb.ErrClosed) {
			t.Errorf("reading: error %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d errors, should be 1", n)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}
