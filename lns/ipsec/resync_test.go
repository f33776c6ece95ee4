package ipsec

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"culvert/lns"
	"culvert/lns/ipsec/vici"
)

// TestResync: what becomes of a peer when charon's list is not what was known, as after events that nobody has
// heard because charon was too slow to answer, and after charon's restart.
func TestResync(t *testing.T) {
	const patience = 90 * time.Second
	peer := func(mark, id string, child, spi string) vici.Section {
		return section("culvert-a", section("uniqueid", id, "version", "2", "remote-id", "x", "local-host", "192.0.2.1", "local-port", "4500",
			"remote-host", "192.0.2.7", "remote-port", "4500", "child-sas", section("l2tp-"+child, section("uniqueid", child, "mark-in", mark,
				"state", "INSTALLED", "spi-in", spi, "spi-out", spi+"0"))))
	}
	for _, c := range []struct {
		name      string
		list      []vici.Section
		restarted bool
		ends      int
		cause     lns.SACause
		patience  time.Duration
		child     uint32 // of the peer afterwards, 0 for none
	}{
		{"nothing new", []vici.Section{peer("5", "1", "3", "c1")}, false, 0, "", 0, 3},
		{"new keys", []vici.Section{peer("5", "1", "4", "c2")}, false, 0, "", 0, 4},
		{"gone", nil, false, 1, lns.SAEndUnknown, 0, 0},
		{"another in its place", []vici.Section{peer("6", "2", "4", "c2")}, false, 1, lns.SAEndUnknown, 0, 0},
		{"nothing new after a restart of ours", []vici.Section{peer("5", "1", "3", "c1")}, true, 0, "", 0, 3},
		{"charon restarted", nil, true, 1, lns.SAEndRestart, patience, 0},
		{"charon restarted, and the mark is another SA's", []vici.Section{peer("5", "1", "3", "c9")}, true, 1, lns.SAEndRestart, patience, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := &lastEnd{}
			m, err := New(Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1701")}, Marks: true})
			if err != nil {
				t.Fatal(err)
			}
			m.kernel = &fakeKernel{}
			m.loading = []lns.LACProfile{{Name: "a", IPsec: &lns.IPsecProfile{Mode: lns.IPsecRequired, Patience: patience}}}
			m.Notify(h)
			eachChild(peer("5", "1", "3", "c1"), time.Now(), m.childUp)
			s := &session{m: m, cmd: lists(t, c.list)}
			if err := s.resync(t.Context(), c.restarted); err != nil {
				t.Fatal(err)
			}
			if h.many != c.ends || h.end.Cause != c.cause || h.end.Patience != c.patience {
				t.Errorf("%d ends, the last %+v", h.many, h.end)
			}
			if sa, ok := m.tab.lookup(5); sa.ChildID != c.child || ok != (c.child != 0) {
				t.Errorf("mark 5 is %+v, %v", sa, ok)
			}
			checkTable(t, m.tab)
		})
	}
}

// lists gives a connection to a charon that has these SAs and answers nothing but list-sas.
func lists(t *testing.T, list []vici.Section) *vici.Conn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for _, p := range answers(list) {
			head := make([]byte, 4)
			if p == nil { // wait for a request
				if _, err := io.ReadFull(c, head); err != nil {
					return
				}
				_, _ = io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head)))
				continue
			}
			if _, err := c.Write(p); err != nil {
				return
			}
		}
	}()
	c, err := vici.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// answers are what charon says to a client that registers for list-sa, lists, and unregisters; nil is where it waits for
// the client.
func answers(list []vici.Section) [][]byte {
	const response, confirm, event = 1, 5, 7
	packet := func(b ...byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }
	out := [][]byte{nil, packet(confirm), nil}
	for _, sa := range list {
		b, err := sa.Append(append([]byte{event, byte(len("list-sa"))}, "list-sa"...))
		if err != nil {
			panic(err)
		}
		out = append(out, packet(b...))
	}
	return append(out, packet(response), nil, packet(confirm))
}

// TestPID: the process that listens is known, which is how a charon that was slow is told from one begun anew.
func TestPID(t *testing.T) {
	l := newLab(t)
	pid := func() int {
		c, err := vici.Dial(context.Background(), l.lns)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.PID()
	}
	first := pid()
	if first <= 1 || pid() != first {
		t.Errorf("charon's process is said to be %d, then %d", first, pid())
	}
	l.stop["lns"]()
	l.lns = l.charon("lns", l.space)
	if again := pid(); again == first || again <= 1 {
		t.Errorf("charon begun anew is process %d, was %d", again, first)
	}
}
