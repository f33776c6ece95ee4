package lns

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/sessiondb"
)

// TestRecoveryRefuses has a node find what it cannot read: it says which record that is and
// what to do, and changes nothing.
func TestRecoveryRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(*memJournal)
		want []string
	}{
		"a session of a newer version": {eachSession(func(s *sessiondb.Session) { s.State[0] = 99 }),
			[]string{"session 192.0.2.1:1701/1/1", "version 99", "newer lnsd"}},
		"a session cut off": {eachSession(func(s *sessiondb.Session) { s.State = s.State[:len(s.State)/2] }),
			[]string{"session 192.0.2.1:1701/1/1", "cut off", "nothing was changed", "move its folder away"}},
		"a session without a state": {eachSession(func(s *sessiondb.Session) { s.State = nil }),
			[]string{"session 192.0.2.1:1701/1/1", "empty state"}},
		"a tunnel of a newer version": {eachTunnel(func(t *sessiondb.Tunnel) { t.State[0] = 99 }),
			[]string{"tunnel 192.0.2.1:1701/1", "newer lnsd"}},
		"a tunnel with nonsense": {eachTunnel(func(t *sessiondb.Tunnel) { t.State = append(t.State[:1], 0xff) }),
			[]string{"tunnel 192.0.2.1:1701/1", "nothing was changed"}},
	} {
		r, _, _ := oneUp(t, nil)
		r.run(time.Second)
		c.harm(r.journal)
		sessions, tunnels, entries := len(r.journal.sessions), len(r.journal.tunnels), len(r.journal.entries)
		err := r.life(nil)
		if err == nil {
			t.Errorf("%s: taken", name)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", name, err, w)
			}
		}
		if len(r.journal.sessions) != sessions || len(r.journal.tunnels) != tunnels || len(r.journal.entries) != entries {
			t.Errorf("%s: the journal was changed", name)
		}
		if tunnels, sessions, timers := r.counts(); tunnels+sessions+timers != 0 {
			t.Errorf("%s: %d tunnels, %d sessions, %d timers were begun", name, tunnels, sessions, timers)
		}
		if !errors.Is(err, sessiondb.ErrCorrupt) && !strings.Contains(err.Error(), "newer") {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

func eachSession(f func(*sessiondb.Session)) func(*memJournal) {
	return func(j *memJournal) {
		for k, s := range j.sessions {
			s.State = slices.Clone(s.State)
			f(&s)
			j.sessions[k] = s
		}
	}
}

func eachTunnel(f func(*sessiondb.Tunnel)) func(*memJournal) {
	return func(j *memJournal) {
		for k, s := range j.tunnels {
			s.State = slices.Clone(s.State)
			f(&s)
			j.tunnels[k] = s
		}
	}
}

// TestOlderJournals has what versions before this one have kept.
func TestOlderJournals(t *testing.T) {
	r, _, c := oneUp(t, nil)
	c.ping(c.client.Address(), 300)
	r.run(11 * time.Minute)
	id := r.session("alice").who.AcctSessionID
	// The first version kept the accounting record as the state, and no state of tunnels.
	eachSession(func(s *sessiondb.Session) {
		k, err := parseKeptSession(s.State)
		if err != nil {
			t.Fatal(err)
		}
		s.State = k.usage
	})(r.journal)
	eachTunnel(func(t *sessiondb.Tunnel) { t.State = nil })(r.journal)
	clear(r.journal.calls)
	r.start(nil) // the old life's shards are never stepped again
	r.checkAccounting(1)
	last := r.aaa.usages[len(r.aaa.usages)-1]
	if last.Kind != aaa.UsageStop || last.Identity.AcctSessionID != id || last.InOctets != 300 ||
		last.Cause != aaa.CauseNASReboot || last.Duration < 9*time.Minute {
		t.Errorf("the Stop is %+v", last)
	}
	if len(r.journal.sessions)+len(r.journal.tunnels)+len(r.journal.calls) != 0 {
		t.Error("the journal still holds sessions, tunnels or calls")
	}
	r.lacs = map[netip.AddrPort]*rigLAC{}
	l := r.lac(9, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	c = l.dial("alice", nil)
	r.until(5*time.Second, "up", func() bool { return c.up })
	if again := r.session("alice").who.AcctSessionID; again == id {
		t.Errorf("Acct-Session-Id %s came back", again)
	}
}
