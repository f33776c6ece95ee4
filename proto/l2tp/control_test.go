package l2tp

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// say queues a body and returns the packets that go out.
func say(t *testing.T, c *Control, now time.Duration, text string) string {
	t.Helper()
	var fx Effects
	if err := c.Send(now, 0, []byte(text), &fx); err != nil {
		t.Fatal(err)
	}
	return show(&fx)
}

// hear gives a datagram to a Control, as Tunnel does, and returns what is
// delivered and sent: "a b | ns/nr:body".
func hear(c *Control, now time.Duration, ns, nr uint16, text string) string {
	var fx Effects
	var in []string
	h := ControlHeader(1, 0, ns, nr)
	if c.Receive(now, h, []byte(text), &fx) == VerdictDeliver {
		in = append(in, text)
		for {
			_, payload, ok := c.Next(now)
			if !ok {
				break
			}
			in = append(in, string(payload))
		}
	}
	c.Flush(now, &fx)
	return strings.TrimSpace(strings.Join(in, " ") + " | " + show(&fx))
}

func tick(c *Control, now time.Duration) string {
	var fx Effects
	c.Tick(now, &fx)
	return show(&fx)
}

// show writes packets as "ns/nr:body", a ZLB as "ns/nr".
func show(fx *Effects) string {
	var out []string
	for _, p := range fx.Packets {
		h, payload, err := ParseHeader(p)
		s := fmt.Sprintf("%d/%d", h.Ns, h.Nr)
		if len(payload) > 0 {
			s += ":" + string(payload)
		}
		if err != nil {
			s = err.Error()
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestControlSlowStart(t *testing.T) {
	c := NewControl(&ControlConfig{})
	c.SetPeer(9, 4)
	expect(t, "first", say(t, &c, 0, "a"), "0/0:a")
	expect(t, "window of one", say(t, &c, 0, "b"), "")
	for _, s := range []string{"c", "d", "e", "f", "g", "h", "i", "j", "k"} {
		say(t, &c, 0, s)
	}
	expect(t, "one acknowledged, two sent", hear(&c, 0, 0, 1, ""), "| 1/0:b 2/0:c")
	expect(t, "two acknowledged, four sent", hear(&c, 0, 0, 3, ""), "| 3/0:d 4/0:e 5/0:f 6/0:g")
	expect(t, "never more than the peer's window", hear(&c, 0, 0, 7, ""), "| 7/0:h 8/0:i 9/0:j 10/0:k")
	if c.Ns() != 11 || c.Unacked() != 4 {
		t.Errorf("Ns %d, %d unacknowledged", c.Ns(), c.Unacked())
	}
	hear(&c, 0, 0, 11, "")
	if c.Unacked() != 0 || c.Deadline() != Never {
		t.Errorf("%d unacknowledged, deadline %v", c.Unacked(), c.Deadline())
	}
}

func TestControlCongestionAvoidance(t *testing.T) {
	c := NewControl(&ControlConfig{})
	c.SetPeer(9, 64)
	for range 200 {
		say(t, &c, 0, "x")
	}
	nr := uint16(0)
	for range 4 { // 1, 2, 4, 8 messages in flight, all acknowledged
		nr += uint16(c.flight)
		hear(&c, 0, 0, nr, "")
	}
	if c.cwnd != 16 || c.flight != 16 {
		t.Fatalf("cwnd %d, %d in flight, want 16", c.cwnd, c.flight)
	}
	expect(t, "timeout", tick(&c, time.Second), fmt.Sprintf("%d/0:x", nr))
	if c.cwnd != 1 || c.ssthresh != 8 || c.Retransmissions() != 1 {
		t.Errorf("cwnd %d, ssthresh %d, %d retransmissions", c.cwnd, c.ssthresh, c.Retransmissions())
	}
	// The peer had all but the first.
	nr += 16
	hear(&c, time.Second, 0, nr, "")
	if c.cwnd != 9 || c.Retransmissions() != 1 {
		t.Errorf("cwnd %d after slow start to 8 and one more window, %d retransmissions", c.cwnd, c.Retransmissions())
	}
	nr += 7
	hear(&c, time.Second, 0, nr, "")
	if c.cwnd != 9 {
		t.Errorf("cwnd %d, want 9: it takes a whole window", c.cwnd)
	}
	nr++
	hear(&c, time.Second, 0, nr, "")
	if c.cwnd != 10 {
		t.Errorf("cwnd %d, want 10", c.cwnd)
	}
}

// TestControlGoBack retransmits what followed a lost message, to a peer that
// keeps nothing out of order.
func TestControlGoBack(t *testing.T) {
	c := NewControl(&ControlConfig{})
	c.SetPeer(9, 8)
	say(t, &c, 0, "a")
	hear(&c, 0, 0, 1, "")
	say(t, &c, 0, "b")
	say(t, &c, 0, "c")
	expect(t, "head only", tick(&c, time.Second), "1/0:b")
	expect(t, "the rest follows", hear(&c, time.Second, 0, 2, ""), "| 2/0:c")
	if c.Retransmissions() != 2 {
		t.Errorf("%d retransmissions, want 2", c.Retransmissions())
	}
}

func TestControlBackoff(t *testing.T) {
	c := NewControl(&ControlConfig{})
	c.SetPeer(9, 4)
	say(t, &c, 0, "a")
	var at []time.Duration
	for now := time.Duration(0); !c.Dead() && now < time.Minute; {
		now = c.Deadline()
		if out := tick(&c, now); out != "" {
			expect(t, "head", out, "0/0:a")
			at = append(at, now/time.Second)
		} else if now != 31*time.Second || now != c.cfg.Cycle() {
			t.Errorf("dead at %v, cycle %v, want 31s", now, c.cfg.Cycle())
		}
	}
	if !slices.Equal(at, []time.Duration{1, 3, 7, 15, 23}) {
		t.Errorf("retransmitted at %v", at)
	}
	if !c.Dead() || c.Deadline() != Never {
		t.Errorf("dead %v, deadline %v", c.Dead(), c.Deadline())
	}
}

func TestControlConfigured(t *testing.T) {
	cfg := ControlConfig{RetryFirst: 100 * ms, RetryCap: 150 * ms, MaxRetries: 2, AckDelay: -1, SendQueue: 2, Window: 2}
	if cfg.Cycle() != 400*ms {
		t.Errorf("cycle %v", cfg.Cycle())
	}
	c := NewControl(&cfg)
	expect(t, "acknowledged at once", hear(&c, 0, 0, 0, "a"), "a | 0/1")
	say(t, &c, 0, "x")
	say(t, &c, 0, "y")
	var fx Effects
	if err := c.Send(0, 0, []byte("z"), &fx); !errors.Is(err, ErrQueueFull) {
		t.Errorf("third of two: %v", err)
	}
	if err := c.Send(0, 0, make([]byte, maxBody+1), &fx); !errors.Is(err, ErrTooLong) {
		t.Errorf("too long: %v", err)
	}
}

func TestControlHello(t *testing.T) {
	c := NewControl(&ControlConfig{Hello: 10 * time.Second})
	c.SetPeer(9, 4)
	if c.Deadline() != Never {
		t.Errorf("deadline %v before the connection is up", c.Deadline())
	}
	c.StartHello(0)
	hear(&c, 4*time.Second, 0, 0, "") // any control traffic counts as life
	expect(t, "not yet", tick(&c, 13*time.Second), "")
	if c.Deadline() != 14*time.Second {
		t.Errorf("deadline %v", c.Deadline())
	}
	expect(t, "HELLO", tick(&c, 14*time.Second), "0/0:"+string(helloBody))
	expect(t, "one at a time", tick(&c, 14500*ms), "")
	if c.Deadline() != 15*time.Second {
		t.Errorf("deadline %v, want the retransmission", c.Deadline())
	}
	hear(&c, 14600*ms, 0, 1, "")
	if c.Deadline() != 24600*ms {
		t.Errorf("deadline %v, want the next HELLO", c.Deadline())
	}
}

// TestControlMemory checks that the queue moves in place, and that a rush does
// not keep its memory.
func TestControlMemory(t *testing.T) {
	c := NewControl(&ControlConfig{})
	c.SetPeer(9, 1)
	say(t, &c, 0, "0")
	for i := range 2000 {
		say(t, &c, 0, strings.Repeat("x", 100))
		hear(&c, 0, 0, uint16(i+1), "")
	}
	if cap(c.buf) > 1024 || cap(c.queue) > 32 {
		t.Errorf("one message outstanding keeps %d octets and %d places", cap(c.buf), cap(c.queue))
	}
	for range 300 {
		say(t, &c, 0, strings.Repeat("x", 100))
	}
	for c.Unacked() > 0 {
		hear(&c, 0, 0, c.una+1, "")
	}
	if c.buf != nil || c.queue != nil {
		t.Errorf("an empty queue keeps %d octets and %d places", cap(c.buf), cap(c.queue))
	}
}

func TestControlDrop(t *testing.T) {
	c := NewControl(&ControlConfig{})
	say(t, &c, 0, "a")
	say(t, &c, 0, "b")
	say(t, &c, 0, "c")
	c.dropUnsent()
	if c.Unacked() != 1 || c.Ns() != 1 {
		t.Errorf("%d unacknowledged, Ns %d", c.Unacked(), c.Ns())
	}
	say(t, &c, 0, "stop")
	expect(t, "after the head", hear(&c, 0, 0, 1, ""), "| 1/0:stop")
	c.dropAll()
	if c.Unacked() != 0 || c.Ns() != 2 || c.Deadline() != Never {
		t.Errorf("%d unacknowledged, Ns %d, deadline %v", c.Unacked(), c.Ns(), c.Deadline())
	}
}
