package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"culvert/sessiondb"
	"culvert/sessiondb/cluster"
	"culvert/sessiondb/storetest"
)

func openNode(t *testing.T, db, name string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Config{ConnString: db, Node: name, Fenced: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func member(local ...netip.AddrPort) Member {
	return Member{Epoch: 1, At: "192.0.2.9:9108", Lease: 10 * time.Second, Version: "1", Serves: local}
}

func renew(t *testing.T, s *Store, m Member, seen uint64) cluster.View {
	t.Helper()
	v, err := s.Renew(t.Context(), m, seen, false)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// nodeOf finds a node's row.
func nodeOf(t *testing.T, v cluster.View, name string) cluster.Node {
	t.Helper()
	for _, n := range v.Nodes {
		if n.Name == name {
			return n
		}
	}
	t.Fatalf("no node %s in %+v", name, v)
	return cluster.Node{}
}

// TestClaimFromAStoppedNode has a node stop in the middle of a transaction that has its rows locked, as one that
// is frozen, or cut off from the database, does: another can claim when the server has given that up.
func TestClaimFromAStoppedNode(t *testing.T) {
	db := newDatabase(t)
	a, err := Open(t.Context(), Config{ConnString: db, Node: "a", Fenced: true, SilenceTimeout: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	b := openNode(t, db, "b")
	local := storetest.TunnelOf(1).Key.Local
	renew(t, a, member(local), 0)
	v := renew(t, b, member(local), 0)
	if won, err := a.Claim(t.Context(), 1, cluster.Claim{Local: local, Epoch: 1}); won != cluster.Won {
		t.Fatal(won, err)
	}
	v = renew(t, a, member(local), v.Members)
	stopped, goOn := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		_, err := a.attempt(t.Context(), func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), "select from service_addresses for update"); err != nil {
				return err
			}
			close(stopped)
			<-goOn
			_, err := tx.Exec(t.Context(), "select 1")
			return err
		})
		ended <- err
	}()
	<-stopped
	if won, err := b.Claim(t.Context(), 1, cluster.Claim{Local: local, From: "a", Epoch: v.Addresses[0].Epoch, Beat: nodeOf(t, v, "a").Beat}); won != cluster.Won {
		t.Errorf("the claim is %v: %v", won, err)
	}
	close(goOn)
	if <-ended == nil {
		t.Error("the transaction of the stopped node went through")
	}
}

// TestClaim goes through a life of an address: nobody's, taken, refused to
// those who may not take it, taken over, moved.
func TestClaim(t *testing.T) {
	db := newDatabase(t)
	a, b := openNode(t, db, "a"), openNode(t, db, "b")
	session, tunnel := storetest.SessionOf(1), storetest.TunnelOf(1)
	local := session.Key.Tunnel.Local
	tunnel.Key.Local = local
	v := renew(t, a, member(local), 0)
	if len(v.Addresses) != 1 || v.Addresses[0] != (cluster.Address{Local: local, Epoch: 1}) || !nodeOf(t, v, "a").Member {
		t.Fatalf("the first view is %+v", v)
	}
	claim := func(s *Store, c cluster.Claim, want cluster.Result) {
		t.Helper()
		if got, err := s.Claim(t.Context(), 1, c); err != nil || got != want {
			t.Errorf("claim %+v: %v, %v; want %v", c, got, err, want)
		}
	}
	put := []sessiondb.Change{put(session), {Op: sessiondb.PutTunnel, Tunnel: &tunnel}}
	if err := a.Apply(t.Context(), put); !errors.Is(err, sessiondb.ErrConflict) || !strings.Contains(err.Error(), "another node") {
		t.Errorf("a change of an address that is nobody's: %v", err)
	}
	claim(a, cluster.Claim{Local: local, Epoch: 1}, cluster.Won)
	if err := a.Apply(t.Context(), put); err != nil {
		t.Fatal(err)
	}

	v = renew(t, b, member(local), 0)
	beat := nodeOf(t, v, "a").Beat
	claim(b, cluster.Claim{Local: local, Epoch: 1}, cluster.Lost)                            // somebody has it
	claim(b, cluster.Claim{Local: local, Epoch: 2, From: "a", Beat: beat}, cluster.Lost)     // a has not heard of b
	v = renew(t, a, member(local), v.Members)                                                // now it has
	claim(b, cluster.Claim{Local: local, Epoch: 2, From: "a", Beat: beat}, cluster.Lost)     // a has renewed since
	claim(b, cluster.Claim{Local: local, Epoch: 1, From: "a", Beat: beat + 1}, cluster.Lost) // an old epoch
	claim(b, cluster.Claim{Local: local, Epoch: 2, From: "a", Beat: beat + 1}, cluster.Won)
	if got, _ := b.Claim(t.Context(), 7, cluster.Claim{Local: local, Epoch: 3, From: "b"}); got != cluster.Lost {
		t.Error("another epoch of the node may claim")
	}
	v = renew(t, b, member(local), v.Members)
	if v.Addresses[0] != (cluster.Address{Local: local, Owner: "b", Epoch: 3}) || v.Claims != 3 {
		t.Errorf("after the takeover: %+v", v)
	}

	// All is b's now, and what a still writes of it is refused.
	late := session
	late.User = "late"
	if err := a.Apply(t.Context(), []sessiondb.Change{{Op: sessiondb.PutSession, Session: &late}, drop(session, "late")}); !errors.Is(err, sessiondb.ErrConflict) {
		t.Errorf("a node that lost its claim writes: %v", err)
	}
	for s, err := range b.Sessions(t.Context()) {
		if err != nil || s.Node != "b" || s.User != session.User {
			t.Errorf("b has %+v, %v", s, err)
		}
	}
	n := 0
	for _, err := range b.SessionsAt(t.Context(), local) {
		if err != nil {
			t.Error(err)
		}
		n++
	}
	for x, err := range b.TunnelsAt(t.Context(), local) {
		if err != nil || x.Node != "b" {
			t.Errorf("tunnel %+v, %v", x, err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d records at %v, want 2", n, local)
	}

	// Back by an operator, with the last word; an answer that is lost does no harm.
	late.User = "last word"
	for range 2 {
		if err := b.Transfer(t.Context(), v.Addresses[0], "a", []sessiondb.Change{{Op: sessiondb.PutSession, Session: &late}}); err != nil {
			t.Error(err)
		}
	}
	if err := b.Transfer(t.Context(), v.Addresses[0], "c", nil); !errors.Is(err, ErrNotOwner) || !CertainlyNot(err) {
		t.Errorf("moved twice: %v", err)
	}
	for s, err := range a.Sessions(t.Context()) {
		if err != nil || s.Node != "a" || s.User != "last word" {
			t.Errorf("a has %+v, %v", s, err)
		}
	}
	var events int
	if err := connect(t, db).QueryRow(t.Context(), "select count(*) from recent_events where kind like 'address-%'").Scan(&events); err != nil || events != 3 {
		t.Errorf("%d events, %v", events, err)
	}
}

// TestMembers has nodes put out, and joining again.
func TestMembers(t *testing.T) {
	db := newDatabase(t)
	a, b := openNode(t, db, "a"), openNode(t, db, "b")
	local := netip.MustParseAddrPort("192.0.2.1:1701")
	renew(t, a, member(local), 0)
	v := renew(t, b, member(local), 0)
	nb := nodeOf(t, v, "b")
	for beat, out := range map[uint64]bool{nb.Beat + 1: false, nb.Beat: true} {
		if err := a.Expel(t.Context(), cluster.Expel{Node: "b", Beat: beat}); err != nil {
			t.Fatal(err)
		}
		if out {
			break
		}
	}
	if err := a.Expel(t.Context(), cluster.Expel{Node: "b", Beat: nb.Beat}); err != nil {
		t.Fatal(err)
	}
	v2 := renew(t, a, member(local), 0)
	if nodeOf(t, v2, "b").Member || v2.Members != v.Members+1 {
		t.Errorf("after being put out: %+v", v2)
	}
	v3 := renew(t, b, member(local), 0)
	if n := nodeOf(t, v3, "b"); !n.Member || n.Joined != v2.Members+1 {
		t.Errorf("after joining again: %+v", v3)
	}
	if err := b.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v := renew(t, a, member(local), 0); nodeOf(t, v, "b").Member {
		t.Error("it has left and is a member")
	}
	// A second process of the same name; the first notices.
	second := member(local)
	second.Epoch = 5
	renew(t, a, second, 0)
	if _, err := a.Renew(t.Context(), member(local), 0, false); !errors.Is(err, ErrSuperseded) {
		t.Errorf("superseded: %v", err)
	}
}

// TestRaces has many nodes claim the same addresses at once, while they renew
// their leases and write: every address has one winner, and nothing deadlocks.
func TestRaces(t *testing.T) {
	db := newDatabase(t)
	var locals []netip.AddrPort
	for i := range 10 {
		locals = append(locals, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), 1701))
	}
	var stores []*Store
	for i := range 4 {
		stores = append(stores, openNode(t, db, fmt.Sprint("n", i)))
	}
	won := make([]int, len(locals))
	var mu sync.Mutex
	var group sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i, s := range stores {
		group.Go(func() {
			for j, local := range locals {
				if _, err := s.Renew(ctx, member(locals...), 0, false); err != nil {
					t.Error(err)
				}
				r, err := s.Claim(ctx, 1, cluster.Claim{Local: local, Epoch: 1})
				if err != nil {
					t.Error(err)
				}
				session := storetest.SessionOf(i*100 + j)
				session.Key.Tunnel.Local = local
				err = s.Apply(ctx, puts([]sessiondb.Session{session}))
				if (err == nil) != (r == cluster.Won) {
					t.Errorf("%v: claim %v, write %v", local, r, err)
				}
				if r == cluster.Won {
					mu.Lock()
					won[j]++
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	for j, n := range won {
		if n != 1 {
			t.Errorf("%v was won %d times", locals[j], n)
		}
	}
}

func TestPools(t *testing.T) {
	db := newDatabase(t)
	a, b := openNode(t, db, "a"), openNode(t, db, "b")
	net := func(s string) []Network { return []Network{{"main", netip.MustParsePrefix(s)}} }
	session := storetest.SessionOf(1)
	local := session.Key.Tunnel.Local
	renew(t, b, member(local), 0)
	if _, err := b.Claim(t.Context(), 1, cluster.Claim{Local: local, Epoch: 1}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // saying it again is no conflict
		if err := a.SetPools(t.Context(), net("100.0.0.0/24")); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.SetPools(t.Context(), net("100.0.0.128/25")); err == nil || !strings.Contains(err.Error(), "100.0.0.0/24 are handed out by node a") {
		t.Errorf("an overlap: %v", err)
	}
	if err := errors.Join(b.SetPools(t.Context(), net("100.0.1.0/24")), b.Apply(t.Context(), puts([]sessiondb.Session{session}))); err != nil {
		t.Fatal(err)
	}
	list, err := a.AddressesElsewhere(t.Context())
	if err != nil || len(list) != 1 || list[0] != session.Address {
		t.Errorf("elsewhere: %v, %v", list, err)
	}
	if list, err := b.AddressesElsewhere(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("elsewhere of the other: %v, %v", list, err)
	}
}

func TestEvents(t *testing.T) {
	db := newDatabase(t)
	a := openNode(t, db, "a")
	err := a.RecordEvents(t.Context(), []Event{
		{At: time.Now(), Kind: "session-rejected", User: "x\x00y", Cause: "auth", Local: netip.MustParseAddrPort("192.0.2.1:1701"), Tunnel: 1, Session: 2},
		{At: time.Now(), Kind: "node-start"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got string
	err = connect(t, db).QueryRow(t.Context(), `select string_agg(format('%s %s %s %s %s', node, kind, local, session_id, user_name), '; ' order by kind desc) from recent_events`).Scan(&got)
	if err != nil || got != `a session-rejected 192.0.2.1 2 x\x00y; a node-start   ` {
		t.Errorf("%q, %v", got, err)
	}
}

// TestTakeEntries brings the accounting records of a node that is out to another, once.
func TestTakeEntries(t *testing.T) {
	db := newDatabase(t)
	a, b := openNode(t, db, "a"), openNode(t, db, "b")
	local := storetest.SessionOf(1).Key.Tunnel.Local
	v := renew(t, a, member(local), 0)
	renew(t, b, member(local), 0)
	one, two := storetest.EntryOf(1), storetest.EntryOf(2)
	if err := a.Apply(t.Context(), []sessiondb.Change{{Op: sessiondb.PutEntry, Entry: &one}, {Op: sessiondb.PutEntry, Entry: &two}}); err != nil {
		t.Fatal(err)
	}
	var got []sessiondb.Entry
	take := func(err error) int {
		t.Helper()
		n, e := b.TakeEntries(t.Context(), 100, func(list []sessiondb.Entry) error {
			got = append(got, list...)
			return err
		})
		if !errors.Is(e, err) {
			t.Error(e)
		}
		return n
	}
	if n := take(nil); n != 0 {
		t.Errorf("%d records of a member were taken", n)
	}
	if err := b.Expel(t.Context(), cluster.Expel{Node: "a", Beat: nodeOf(t, v, "a").Beat}); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	if take(full); len(got) != 2 {
		t.Errorf("got %v", got)
	}
	got = nil
	if n := take(nil); n != 2 || len(got) != 2 || got[0].Session != one.Session || got[0].Node != "a" {
		t.Errorf("%d taken: %+v", n, got)
	}
	if n := take(nil); n != 0 {
		t.Errorf("%d were taken twice", n)
	}
	c, err := b.Counts(t.Context())
	if err != nil || len(c.Renewed) != 2 || c.Renewed["b"] > time.Minute {
		t.Errorf("counts %+v, %v", c, err)
	}
}
