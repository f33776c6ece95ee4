package ipsec

import (
	"encoding/binary"
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"culvert/lns"
	"culvert/lns/ipsec/vici"
)

// ledger hears what the LNS would, and knows which marks are up.
type ledger struct {
	t  *testing.T
	up map[string]bool
}

func (l *ledger) SAUp(sa lns.SA) { l.up[keyOf(&sa)] = true }

func (l *ledger) SAGone(sa lns.SA, e lns.SAEnd) {
	if key := keyOf(&sa); sa.Mark != 0 && !l.up[key] {
		l.t.Fatalf("%s is gone and was never there", key)
	}
	delete(l.up, keyOf(&sa))
	if e.Cause == "" {
		l.t.Fatalf("an end without a cause: %+v", e)
	}
}

func (l *ledger) IKEFailed(f lns.IKEFailure) {
	if f.Reason == "" {
		l.t.Fatalf("a failure without a reason: %+v", f)
	}
}

// charonEvents are the events that the manager listens to.
var charonEvents = [...]string{"log", "child-updown", "child-rekey", "ike-rekey", "ike-update", "ike-updown"}

// fuzzSection encodes what charon says of one CHILD_SA.
func fuzzSection(t testing.TB, up, id, mark string) []byte {
	child := section("uniqueid", id, "mark-in", mark, "state", "INSTALLED", "spi-in", "c0000001", "spi-out", "c0000002",
		"encr-alg", "AES_GCM_16", "encr-keysize", "256", "install-time", "5", "rekey-time", "-3")
	b, err := section("up", up, "culvert-north+1", section("uniqueid", "3", "version", "2", "remote-id", "lac1",
		"local-host", "192.0.2.1", "local-port", "4500", "remote-host", "198.51.100.7", "remote-port", "4500",
		"child-sas", section("l2tp-1", child))).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzEvents gives the manager whatever charon may say, event by event: what others
// see are the SAs of the peers that there are, and no peer goes that has not come.
func FuzzEvents(f *testing.F) {
	event := func(kind byte, b []byte) []byte {
		return append(append([]byte{kind}, binary.BigEndian.AppendUint16(nil, uint16(len(b)))...), b...)
	}
	up, down := fuzzSection(f, "yes", "1", "2a"), fuzzSection(f, "no", "1", "2a")
	f.Add(true, append(event(1, up), event(1, down)...))
	f.Add(false, append(append(event(1, up), event(1, fuzzSection(f, "yes", "2", "2a"))...), event(1, down)...))
	f.Add(true, append(event(1, up), event(1, fuzzSection(f, "yes", "1", "2b"))...)) // one number twice
	rekey, err := section("culvert-north", section("uniqueid", "3", "child-sas", section("l2tp", section("old", section("uniqueid", "1"), "new", section("uniqueid", "2", "mark-in", "2a"))))).Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(true, append(event(1, up), event(2, rekey)...))
	moved, err := section("remote-host", "198.51.100.8", "remote-port", "4501", "culvert-north", section("uniqueid", "3")).Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(true, append(event(1, up), event(4, moved)...))
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	f.Fuzz(func(t *testing.T, marks bool, b []byte) {
		m, err := New(Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1701")}, Marks: marks, Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		m.kernel = &fakeKernel{}
		m.Notify(&ledger{t, map[string]bool{}})
		for len(b) >= 3 {
			n := min(int(binary.BigEndian.Uint16(b[1:])), len(b)-3)
			if body, err := vici.Parse(b[3 : 3+n]); err == nil {
				m.event(charonEvents[int(b[0])%len(charonEvents)], body)
				checkTable(t, m.tab)
			}
			b = b[3+n:]
		}
		m.dropLost(nil, false, time.Now())
		m.settle(time.Now().Add(time.Hour))
		if len(m.tab.peers)+len(m.tab.byMark)+len(m.tab.byAddr)+len(m.tab.byChild) != 0 {
			t.Fatalf("charon has nothing, and left are %+v", m.tab)
		}
	})
}

// checkTable compares what others see with the peers that there are.
func checkTable(t *testing.T, tab *table) {
	t.Helper()
	shown := 0
	for a, list := range tab.byAddr {
		for _, sa := range list {
			if shown++; sa.Remote.Addr() != a {
				t.Fatalf("%+v is shown under %v", sa, a)
			}
		}
	}
	if shown != len(tab.peers) {
		t.Fatalf("%d SAs are shown, of %d peers", shown, len(tab.peers))
	}
	for mark, sa := range tab.byMark {
		if p := tab.peers[keyOf(sa)]; mark == 0 || sa.Mark != mark || p == nil || p.sa != *sa {
			t.Fatalf("mark %d is %+v, and its peer %+v", mark, sa, p)
		}
	}
	for key, p := range tab.peers {
		if p.key != key || len(p.children) == 0 {
			t.Fatalf("peer %q: %+v", key, p)
		}
		for id := range p.children {
			if tab.byChild[id] != p {
				t.Fatalf("CHILD_SA %d of %q is taken for one of %+v", id, key, tab.byChild[id])
			}
		}
	}
}
