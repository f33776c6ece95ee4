package dataplane

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func mustCounters(t *testing.T, path string) *CounterFile {
	t.Helper()
	c, err := OpenCounters(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCountersOutliveTheProcess has one life count, and the next go on, without a word between them.
func TestCountersOutliveTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "counters")
	first := mustCounters(t, path)
	first.settle()
	var before []*counts
	for id := uint64(1); id <= 40000; id++ { // more than two chunks
		s, found := first.take(id, &Counters{InOctets: 100})
		if found {
			t.Fatalf("session %d was there", id)
		}
		s.inOctets.Add(id)
		s.inPackets.Add(1)
		s.ns.Store(uint32(id))
		before = append(before, s)
	}
	first.give(before[6]) // ended
	// The first life is never closed: it was killed.
	second := mustCounters(t, path)
	for _, c := range []struct {
		id    uint64
		known Counters
		want  Counters
		found bool
	}{
		{1, Counters{InOctets: 100}, Counters{InOctets: 101, InPackets: 1}, true},
		{40000, Counters{}, Counters{InOctets: 40100, InPackets: 1}, true},
		{2, Counters{InOctets: 5000, OutOctets: 3}, Counters{InOctets: 5000, InPackets: 1, OutOctets: 3}, true}, // the journal knows more
		{7, Counters{InOctets: 9}, Counters{InOctets: 9}, false},
		{50000, Counters{OutPackets: 4}, Counters{OutPackets: 4}, false},
	} {
		s, found := second.take(c.id, &c.known)
		if got := s.get(); got != c.want || found != c.found {
			t.Errorf("session %d: %+v, %v, want %+v, %v", c.id, got, found, c.want, c.found)
		}
		if found && s.ns.Load() != uint32(c.id) {
			t.Errorf("session %d: Ns %d", c.id, s.ns.Load())
		}
	}
	second.settle()
	if _, found := second.take(3, &Counters{}); found {
		t.Error("what nobody has claimed is still there")
	}
	third := mustCounters(t, path)
	if n := len(third.left); n != 6 {
		t.Errorf("%d sessions are left, want 6", n)
	}
	for _, c := range []*CounterFile{first, second, third} {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestSlotsRest: a slot is not used again while a packet may still be counted on it.
func TestSlotsRest(t *testing.T) {
	c := mustCounters(t, filepath.Join(t.TempDir(), "counters"))
	defer c.Close()
	c.settle()
	last := map[*counts]int{}
	for i := range 100000 {
		s, _ := c.take(uint64(i+1), &Counters{})
		if was, ok := last[s]; ok && i-was < restingSlots {
			t.Fatalf("a slot is used again after %d others", i-was)
		}
		last[s] = i
		c.give(s)
	}
	if n := len(c.chunks); n != 1 {
		t.Errorf("%d chunks for one session at a time", n)
	}
}

// TestCountersRefuse leaves foreign files as they are.
func TestCountersRefuse(t *testing.T) {
	for content, want := range map[string]string{
		"something else entirely, of some length": "no file of counters",
		"x":                   "no file of counters",
		counterMagic + "\x02": "format 2",
	} {
		path := filepath.Join(t.TempDir(), "counters")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenCounters(path, nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: error %v", content, err)
		}
		if b, _ := os.ReadFile(path); string(b) != content {
			t.Errorf("%q became %q", content, b)
		}
	}
}

// TestSequenceOutlivesTheProcess: numbers of data messages go on exactly.
func TestSequenceOutlivesTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "counters")
	v := Session{ID: 5, Key: Key{Tunnel: 1, Session: 1}, Peer: netip.MustParseAddrPort("192.0.2.9:1701"),
		Address: netip.MustParseAddr("100.64.0.1"), Sequence: NewSequence(SequenceConfig{}, true)}
	v.Sequence.Resume(30)
	first := mustCounters(t, path)
	p := &userspace{config: Config{Counters: first}}
	p.counted(&v)
	for range 12 {
		v.Sequence.Take()
	}
	second := mustCounters(t, path)
	p = &userspace{config: Config{Counters: second}}
	v.Sequence = NewSequence(SequenceConfig{}, true)
	v.Sequence.Resume(9999) // as far as the journal knows
	s := &session{count: p.counted(&v)}
	s.sequence.Store(v.Sequence)
	if n := v.Sequence.Take(); n != 42 {
		t.Errorf("goes on with %d, want 42", n)
	}
	p.uncount(s)
	if n := v.Sequence.Take(); n != 43 {
		t.Errorf("after the session's end: %d, want 43", n)
	}
	first.Close()
	second.Close()
}

// TestCountersWaitForTheFence has a plane with a fence, whose sessions come after its start: they find what an
// earlier process has counted, until it is settled that they have been elsewhere.
func TestCountersWaitForTheFence(t *testing.T) {
	path := filepath.Join(t.TempDir(), "counters")
	first := mustCounters(t, path)
	first.settle()
	for id := range uint64(2) {
		s, _ := first.take(id+1, &Counters{})
		s.inOctets.Add(1000)
	}
	if err := first.Close(); err != nil { // what it has left stays
		t.Fatal(err)
	}
	second := mustCounters(t, path)
	defer second.Close()
	local := netip.MustParseAddrPort("127.0.0.1:1701")
	p, err := New(Config{Shards: 1, Listen: []netip.AddrPort{local}, Transport: &listening{&loop{}}, Core: nowhere{}, Fence: NewFence(1), Counters: second})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Start(handlerFunc(func(int, []Datagram) {})); err != nil {
		t.Fatal(err)
	}
	for i, want := range []uint64{1000, 7} {
		if i == 1 {
			p.(Settler).Settle()
		}
		k := Key{Tunnel: 1, Session: uint16(i + 1)}
		err := p.Add([]Session{{Key: k, ID: uint64(i + 1), Peer: local, Address: netip.AddrFrom4([4]byte{100, 64, 0, byte(i)}), Counted: Counters{InOctets: 7}}})
		out := make([]Counters, 1)
		if p.Counters([]Key{k}, out); err != nil || out[0].InOctets != want {
			t.Errorf("session %d has counted %d octets, want %d (%v)", i+1, out[0].InOctets, want, err)
		}
	}
}
