package sessiondb_test

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"culvert/sessiondb"
	"culvert/sessiondb/storetest"
)

// has tells whether the store has session n.
func (n *node) has(i int) bool {
	for s, err := range n.store.Sessions(n.t.Context()) {
		if err != nil {
			n.t.Fatal(err)
		}
		if s.Key == storetest.SessionOf(i).Key {
			return true
		}
	}
	return false
}

// TestConfirm confirms nothing that the store does not have, whatever happens to it.
func TestConfirm(t *testing.T) {
	for _, c := range []struct {
		name string
		mode string
		max  int64
	}{{"healthy", "", 0}, {"dead", "dead", 0}, {"stalled", "stalled", 0}, {"overflow", "stalled", 20_000}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode(t, sessiondb.WriterOptions{MaxPending: c.max, BatchSize: 7})
				n.Start()
				time.Sleep(time.Second)
				n.store.set(c.mode)
				confirmed := 0
				for i := range 200 {
					n.change(put(i))
					n.Confirm(func() {
						if confirmed++; !n.has(i) {
							t.Errorf("session %d is confirmed and not there", i)
						}
					})
					time.Sleep(time.Millisecond)
				}
				if c.mode != "" && confirmed > 0 {
					t.Errorf("%d were confirmed by a store that is %s", confirmed, c.mode)
				}
				n.store.set("")
				time.Sleep(20 * time.Second)
				if confirmed != 200 {
					t.Errorf("%d of 200 were confirmed", confirmed)
				}
				n.close()
			})
		})
	}
}

func TestConfirmAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, sessiondb.WriterOptions{})
		n.Start()
		time.Sleep(time.Second)
		done := false
		n.Confirm(func() { done = true })
		if !done {
			t.Error("nothing is pending, and yet it waits")
		}
		n.change(put(1))
		if err := n.Flush(t.Context()); err != nil || !n.has(1) {
			t.Errorf("flushed: %v; there: %v", err, n.has(1))
		}
		n.close()
	})
}

// TestResyncServes leaves alone what is not this node's to write.
func TestResyncServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serves := false
		n := newNode(t, sessiondb.WriterOptions{Serves: func(netip.AddrPort) bool { return serves }})
		for i, m := range []*storetest.Memory{&n.store.Memory, &n.journal} {
			tunnel := storetest.TunnelOf(i)
			if err := m.Apply(t.Context(), []sessiondb.Change{put(i), {Op: sessiondb.PutTunnel, Tunnel: &tunnel}}); err != nil {
				t.Fatal(err)
			}
		}
		n.Start()
		time.Sleep(time.Second)
		if !n.has(0) || n.has(1) {
			t.Error("the resync touched what is not ours: " + fmt.Sprint(n.has(0), n.has(1)))
		}
		if s := n.Stats(); s.Resyncs != 1 || s.Repaired != 0 {
			t.Errorf("stats are %+v", s)
		}
		serves = true
		n.Resync()
		time.Sleep(time.Second)
		n.same()
		n.close()
	})
}

// TestConfirmAfterRestart has the node begin anew while the store has a session that has ended, whose address a
// new one has: the store refuses that at first, and it is not confirmed before the resync has made room.
func TestConfirmAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, sessiondb.WriterOptions{})
		n.store.choosy = true
		old, fresh := storetest.SessionOf(1), storetest.SessionOf(2)
		fresh.Address = old.Address
		if err := n.store.Apply(t.Context(), []sessiondb.Change{{Op: sessiondb.PutSession, Session: &old}}); err != nil {
			t.Fatal(err)
		}
		n.change(sessiondb.Change{Op: sessiondb.PutSession, Session: &fresh})
		confirmed := false
		n.Confirm(func() {
			if confirmed = true; !n.has(2) {
				t.Error("the session is confirmed and not there")
			}
		})
		n.Start()
		time.Sleep(time.Second)
		if s := n.Stats(); !confirmed || s.Conflicts != 1 {
			t.Errorf("confirmed: %v; %+v", confirmed, s)
		}
		n.same()
		n.close()
	})
}

// TestLeftIsLookedAtAgain has the resync find an address that is not the node's at the moment: it is looked at again soon
// when it is, and at once when something is refused, which is not confirmed before. For good it is not looked at often.
func TestLeftIsLookedAtAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serves := false
		n := newNode(t, sessiondb.WriterOptions{Serves: func(netip.AddrPort) bool { return serves }})
		n.store.choosy = true
		old, gone, fresh := storetest.SessionOf(1), storetest.SessionOf(3), storetest.SessionOf(2)
		fresh.Address = old.Address
		for _, s := range []*sessiondb.Session{&old, &gone} {
			if err := n.store.Apply(t.Context(), []sessiondb.Change{{Op: sessiondb.PutSession, Session: s}}); err != nil {
				t.Fatal(err)
			}
		}
		n.Start()
		time.Sleep(20 * time.Minute)
		if s := n.Stats(); s.Resyncs < 5 || s.Resyncs > 12 || !n.has(3) {
			t.Errorf("%d resyncs in 20 minutes; the store has what is not ours: %v", s.Resyncs, n.has(3))
		}
		n.Resync()
		time.Sleep(time.Second)
		serves = true
		time.Sleep(6 * time.Minute)
		n.same()

		serves = false
		if err := n.store.Apply(t.Context(), []sessiondb.Change{{Op: sessiondb.PutSession, Session: &old}}); err != nil {
			t.Fatal(err)
		}
		n.Resync()
		time.Sleep(time.Second)
		serves = true
		n.change(sessiondb.Change{Op: sessiondb.PutSession, Session: &fresh})
		confirmed := false
		n.Confirm(func() {
			if confirmed = true; !n.has(2) {
				t.Error("the session is confirmed and not there")
			}
		})
		time.Sleep(time.Second)
		if !confirmed {
			t.Error("the session is not confirmed")
		}
		n.same()
		n.close()
	})
}
