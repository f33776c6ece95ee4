package trace

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/proto/l2tp"
	"culvert/proto/ppp"
)

// What repeats is one event, and does not push out the others.
func TestRepetitionsAreOneEvent(t *testing.T) {
	var l Log
	l.Begin(time.Hour, nil)
	l.Note(time.Hour, SourceLNS, "first", testLimit)
	now := time.Hour
	for range 1000 {
		now += 30 * time.Second
		l.PPP(now, Sent, frame(ppp.ProtocolLCP, ppp.EchoRequest, uint8(now/time.Second), []byte{1, 2, 3, 4}), testLimit)
		l.PPP(now, Received, frame(ppp.ProtocolLCP, ppp.EchoReply, uint8(now/time.Second), []byte{1, 2, 3, 4}), testLimit)
		l.PPP(now, Received, frame(ppp.ProtocolCCP, 1, 1, nil), testLimit)
	}
	var list []Event
	for e := range l.Events() {
		list = append(list, e)
	}
	if len(list) != 4 || l.Dropped() != 0 {
		t.Fatalf("%d events, %d dropped: %v", len(list), l.Dropped(), list)
	}
	e := list[1]
	if e.Text != "LCP: send Echo-Request" || e.Count != 1000 || e.At != time.Hour+30*time.Second || e.Until != now {
		t.Errorf("got %+v, want 1000 until %v", e, now)
	}
	if list[0].Text != "first" || list[0].Until != list[0].At || list[0].Count != 1 {
		t.Errorf("got %+v", list[0])
	}
}

// A log never grows beyond its limit; the newest events stay, with their times.
func TestBound(t *testing.T) {
	for _, limit := range []int{MinLimit, 512, 2000} {
		var l Log
		l.Begin(0, nil)
		const n = 3000
		for i := range n {
			l.Note(time.Duration(i)*time.Second, SourceLNS, fmt.Sprint("event ", i, strings.Repeat("x", i%50)), limit)
			if len(l.b) > limit || l.Size() > limit+2*growBy {
				t.Fatalf("limit %d: %d octets, %d held", limit, len(l.b), l.Size())
			}
		}
		count, i := 0, 0
		for e := range l.Events() {
			fmt.Sscanf(e.Text, "event %d", &i)
			if e.At != time.Duration(i)*time.Second {
				t.Fatalf("limit %d: event %d is at %v", limit, i, e.At)
			}
			count++
		}
		if i != n-1 || count+l.Dropped() != n || count < 3 {
			t.Errorf("limit %d: %d events, %d dropped, the last is %d", limit, count, l.Dropped(), i)
		}
	}
}

// An answer says how long it took, also when it is read by itself.
func TestAnswerTime(t *testing.T) {
	var l Log
	l.Begin(time.Second, nil)
	l.Ask(time.Second, "alice", "PAP", testLimit)
	at := l.Answer(time.Second+3*time.Millisecond, VerdictAccept, "radius1", "", testLimit)
	e, ok := l.Event(at)
	if want := "RADIUS: Access-Accept from radius1 in 3 ms"; !ok || e.Text != want || texts(&l)[1] != want {
		t.Errorf("got %q, %q", e.Text, texts(&l))
	}
}

// Fit gives the large buffer back and keeps the events.
func TestFit(t *testing.T) {
	var l Log
	l.Begin(0, make([]byte, 0, 512))
	l.Note(0, SourceLNS, "one", testLimit)
	free := l.Fit()
	if cap(free) != 512 || l.Size() > 64 || texts(&l)[0] != "one" {
		t.Errorf("freed %d, holds %d: %q", cap(free), l.Size(), texts(&l))
	}
	free = append(free, bytes.Repeat([]byte{0xff}, 400)...)
	if l.Note(1, SourceLNS, "two", testLimit); len(texts(&l)) != 2 || texts(&l)[0] != "one" {
		t.Errorf("got %q after %d octets went into the freed buffer", texts(&l), len(free))
	}
}

// A log that is off takes nothing, whatever is recorded, and has nothing to tell.
func TestOff(t *testing.T) {
	hello := message(l2tp.MessageHello, nil).Append(l2tp.ControlHeader(1, 0, 0, 0).Append(nil))
	l2tp.PutLength(hello)
	for name, record := range map[string]func(*Log) int{
		"PPP": func(l *Log) int {
			return l.PPP(0, Sent, frame(ppp.ProtocolLCP, ppp.ConfigureRequest, 1, nil), testLimit)
		},
		"echo":    func(l *Log) int { return l.PPP(0, Sent, frame(ppp.ProtocolLCP, ppp.EchoRequest, 1, nil), testLimit) },
		"call":    func(l *Log) int { return l.Call(0, Sent, message(l2tp.MessageICRP, nil), testLimit) },
		"control": func(l *Log) int { return l.Control(0, Sent, hello, testLimit) },
		"resent":  func(l *Log) int { return l.Resent(0, 1, testLimit) },
		"stopped": func(l *Log) int { return l.Stopped(0, "timeout", &l2tp.Result{}, testLimit) },
		"ask":     func(l *Log) int { return l.Ask(0, "a", "PAP", testLimit) },
		"answer":  func(l *Log) int { return l.Answer(0, VerdictAccept, "s", "", testLimit) },
		"state":   func(l *Log) int { return l.State(0, StateLCP, testLimit) },
		"up":      func(l *Log) int { return l.Up(0, netip.Addr{}, testLimit) },
		"end":     func(l *Log) int { return l.End(0, "x", "", testLimit) },
		"note":    func(l *Log) int { return l.NoteRepeated(0, SourceLNS, "x", testLimit) },
	} {
		var off, on Log
		if at := record(&off); at != 0 || off.On() || off.Size() != 0 || len(texts(&off)) != 0 {
			t.Errorf("%s: a log that is off holds something", name)
		}
		on.Begin(0, nil)
		if at := record(&on); at == 0 || len(texts(&on)) != 1 {
			t.Errorf("%s: a log that is on holds nothing", name)
		}
	}
	var l Log
	if _, ok := l.Event(headLen); ok || l.Fit() != nil || l.Dropped() != 0 || l.Began() != 0 || len(l.Clone().b) != 0 {
		t.Error("a log that is off tells something")
	}
}

// One event is read by its offset, and no other place is taken for one.
func TestEventByOffset(t *testing.T) {
	var l Log
	l.Begin(0, nil)
	first := l.Note(time.Second, SourceLNS, "one", testLimit)
	second := l.Note(2*time.Second, SourceIKE, "two", testLimit)
	if e, ok := l.Event(second); !ok || e.Text != "two" || e.At != 2*time.Second || e.Source != SourceIKE {
		t.Errorf("got %+v, %v", e, ok)
	}
	for _, at := range []int{0, first - 1, first + 1, second + 1, 1 << 20} {
		if e, ok := l.Event(at); ok {
			t.Errorf("at %d is %+v", at, e)
		}
	}
	n := 0
	for range l.Events() {
		n++
		break // who has enough gets no more
	}
	if n != 1 {
		t.Errorf("%d events after the first was enough", n)
	}
}

// Began is the first event that is held, also when older ones had to go.
func TestBegan(t *testing.T) {
	var l Log
	l.Begin(time.Hour, nil)
	if l.Began() != time.Hour {
		t.Errorf("an empty log began at %v", l.Began())
	}
	for i := range 100 {
		l.Note(time.Hour+time.Duration(i)*time.Second, SourceLNS, "an event that takes some room in the log", MinLimit)
	}
	if want := time.Hour + time.Duration(l.Dropped())*time.Second; l.Dropped() == 0 || l.Began() != want {
		t.Errorf("began at %v after %d were dropped, want %v", l.Began(), l.Dropped(), want)
	}
}

// A clone stays as it is when the log goes on.
func TestClone(t *testing.T) {
	var l Log
	l.Begin(0, make([]byte, 0, 512))
	l.Note(0, SourceLNS, "one", testLimit)
	c := l.Clone()
	l.Note(0, SourceLNS, "two", testLimit)
	if got := texts(&c); len(got) != 1 || got[0] != "one" || c.Size() > 64 {
		t.Errorf("the clone has %q in %d octets", got, c.Size())
	}
}

// A record that is damaged, or cut off, is read as far as it goes: every kind, with no body and with
// each beginning of a long one.
func TestDamagedRecords(t *testing.T) {
	for k := range 256 {
		for i := range 3 * 24 {
			// The first octet of a message's record is its type.
			fill, n := []byte{0xff, byte(l2tp.MessageICRQ), byte(l2tp.MessageCDN)}[i%3], i/3
			body := bytes.Repeat([]byte{fill}, n)
			l := Log{b: append(make([]byte, headLen), append([]byte{byte(k), 1, byte(n)}, body...)...)}
			list := texts(&l)
			if len(list) != 1 || formats[k].text != nil && kind(k) != kindNote && kind(k) != kindNoteMany && list[0] == "" {
				t.Fatalf("kind %d with %d octets is %q", k, n, list)
			}
			l.b = l.b[:len(l.b)-1]
			if got := texts(&l); n > 0 && len(got) != 0 {
				t.Fatalf("kind %d, cut off, is %q", k, got)
			}
		}
	}
	// What does not read as a record cannot make room for another either: all of it goes.
	l := Log{b: append(make([]byte, headLen), bytes.Repeat([]byte{0xff}, MinLimit-headLen)...)}
	if l.Note(time.Second, SourceLNS, "after", MinLimit); len(texts(&l)) != 1 || texts(&l)[0] != "after" {
		t.Errorf("got %q", texts(&l))
	}
}
