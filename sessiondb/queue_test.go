package sessiondb

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

var testTunnel = TunnelKey{Local: netip.MustParseAddrPort("192.0.2.1:1701"), ID: 1}

// change makes one from a text such as "PS1 x": put session 1 with user x.
func change(text string) Change {
	var kind, user string
	var id int
	if _, err := fmt.Sscanf(text, "%2s%d %s", &kind, &id, &user); err != nil && user != "" {
		panic(err)
	}
	session := &Session{Key: SessionKey{Tunnel: testTunnel, ID: uint16(id)}, User: user}
	switch kind {
	case "PS":
		return Change{Op: PutSession, Session: session}
	case "DS":
		return Change{Op: DropSession, Session: session, End: &End{Cause: user}}
	case "PE":
		return Change{Op: PutEntry, Entry: &Entry{Seq: uint64(id), Session: user}}
	case "DE":
		return Change{Op: DropEntry, Entry: &Entry{Seq: uint64(id)}}
	case "PT":
		return Change{Op: PutTunnel, Tunnel: &Tunnel{Key: TunnelKey{Local: testTunnel.Local, ID: uint16(id)}, PeerName: user}}
	case "DT":
		return Change{Op: DropTunnel, Tunnel: &Tunnel{Key: TunnelKey{Local: testTunnel.Local, ID: uint16(id)}}}
	case "PO":
		return Change{Op: PutObject, Object: &Object{Kind: "k", Name: fmt.Sprint(id), Payload: []byte(user)}}
	case "DO":
		return Change{Op: DropObject, Object: &Object{Kind: "k", Name: fmt.Sprint(id)}}
	}
	panic(text)
}

// text is the inverse of change.
func text(c Change) string {
	switch c.Op {
	case PutSession:
		return fmt.Sprintf("PS%d %s", c.Session.Key.ID, c.Session.User)
	case DropSession:
		return fmt.Sprintf("DS%d %s", c.Session.Key.ID, c.End.Cause)
	case PutEntry:
		return fmt.Sprintf("PE%d %s", c.Entry.Seq, c.Entry.Session)
	case DropEntry:
		return fmt.Sprintf("DE%d", c.Entry.Seq)
	case PutTunnel:
		return fmt.Sprintf("PT%d %s", c.Tunnel.Key.ID, c.Tunnel.PeerName)
	case DropTunnel:
		return fmt.Sprintf("DT%d", c.Tunnel.Key.ID)
	case PutObject:
		return fmt.Sprintf("PO%s %s", c.Object.Name, c.Object.Payload)
	}
	return fmt.Sprintf("DO%s", c.Object.Name)
}

func TestQueueCoalesces(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"PS1 a, PS1 b", "PS1 b"},
		{"PS1 a, PS2 a, PS1 b", "PS1 b, PS2 a"},
		{"PS1 a, DS1 x", "PS1 a, DS1 x"},
		{"PS1 a, PS1 b, DS1 x", "PS1 b, DS1 x"},
		{"DS1 x, PS1 b", "DS1 x, PS1 b"},
		{"PS1 a, DS1 x, PS1 b, PS1 c", "PS1 a, DS1 x, PS1 c"},
		{"PS1 a, DS1 x, PS1 b, DS1 y, DS1 z", "PS1 a, DS1 x, PS1 b, DS1 y"},
		{"PE1 a, PE1 b, DE1", "DE1"},
		{"DE1, PE2 b, PE1 a", "PE1 a, PE2 b"},
		{"PT1 a, PS1 a, DT1, PT1 b", "PT1 b, PS1 a"},
		{"PO1 a, PO2 a, DO1", "DO1, PO2 a"},
	} {
		q := newQueue()
		for s := range strings.SplitSeq(c.in, ", ") {
			q.add(change(s), time.Now())
		}
		var out []string
		changes, _ := q.take(100)
		for _, c := range changes {
			out = append(out, text(c))
		}
		if got := strings.Join(out, ", "); got != c.out {
			t.Errorf("%s became %s, should be %s", c.in, got, c.out)
		}
		checkEmpty(t, q)
	}
}

func checkEmpty(t *testing.T, q *queue) {
	t.Helper()
	if q.bytes != 0 || len(q.slots) != 0 || len(q.tunnels)+len(q.sessions)+len(q.entries)+len(q.objects) != 0 {
		t.Errorf("an empty queue holds %+v", q)
	}
}

// TestQueueAge has the age of news survive that the news is replaced.
func TestQueueAge(t *testing.T) {
	q := newQueue()
	start := time.Now()
	for i := range 5000 {
		q.add(change("PS1 a"), start.Add(time.Duration(i)*time.Second))
	}
	if q.len() != 1 {
		t.Errorf("%d slots", q.len())
	}
	if got := q.oldest(); !got.Equal(start) {
		t.Errorf("the oldest is %v late", got.Sub(start))
	}
	if _, since := q.take(1); !since.Equal(start) {
		t.Errorf("taken with %v", since.Sub(start))
	}
	checkEmpty(t, q)
}

// TestQueueAddress has a session give up its address before another gets it,
// however it changes later.
func TestQueueAddress(t *testing.T) {
	address := func(c Change, last byte) Change {
		c.Session.Address = netip.AddrFrom4([4]byte{10, 0, 0, last})
		return c
	}
	q := newQueue()
	for _, c := range []Change{address(change("PS1 a"), 1), address(change("PS2 b"), 9), address(change("PS1 c"), 2), address(change("PS1 d"), 2)} {
		q.add(c, time.Now())
	}
	changes, _ := q.take(2)
	more, _ := q.take(9)
	if got := fmt.Sprint(text(changes[0]), text(changes[1]), text(more[0]), len(more)); got != "PS1 aPS2 bPS1 d1" {
		t.Errorf("the changes are %s", got)
	}
	checkEmpty(t, q)
}

// TestQueueRandom compares the state that random changes make with the one
// that the queue's changes make.
func TestQueueRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 1))
	q := newQueue()
	direct, queued := make(map[string]string), make(map[string]string)
	var ends, queuedEnds []string
	for step := range 20000 {
		kinds := []string{"PS", "DS", "PE", "DE", "PT", "DT", "PO", "DO"}
		c := change(fmt.Sprintf("%s%d %d", kinds[rnd.IntN(len(kinds))], 1+rnd.IntN(20), step))
		ends = applyText(direct, c, ends)
		q.add(c, time.Now())
		if rnd.IntN(30) == 0 {
			changes, _ := q.take(1 + rnd.IntN(60))
			for _, c := range changes {
				queuedEnds = applyText(queued, c, queuedEnds)
			}
		}
	}
	changes, _ := q.take(1 << 20)
	for _, c := range changes {
		queuedEnds = applyText(queued, c, queuedEnds)
	}
	checkEmpty(t, q)
	if fmt.Sprint(direct) != fmt.Sprint(queued) {
		t.Errorf("seed %d: the state differs", seed)
	}
	slices.Sort(ends) // sessions of different keys may change places
	slices.Sort(queuedEnds)
	if !slices.Equal(ends, queuedEnds) {
		t.Errorf("seed %d: the history differs", seed)
	}
}

// applyText keeps a state as text, and gives the history of its sessions.
func applyText(state map[string]string, c Change, ends []string) []string {
	s := text(c)
	key, value, _ := strings.Cut(s[1:], " ")
	if s[0] == 'P' {
		state[key] = value
		return ends
	}
	if old, ok := state[key]; ok && s[1] == 'S' {
		ends = append(ends, key+" "+old+" "+value)
	}
	delete(state, key)
	return ends
}

func BenchmarkQueue(b *testing.B) {
	b.ReportAllocs()
	q := newQueue()
	sessions := make([]Change, 1000)
	for i := range sessions {
		sessions[i] = change(fmt.Sprintf("PS%d a", i))
	}
	now := time.Now()
	for i := range b.N {
		q.add(sessions[i%1000], now)
		if q.len() == 1000 {
			q.take(1000)
		}
	}
}
