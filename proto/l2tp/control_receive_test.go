package l2tp

import (
	"strings"
	"testing"
)

func TestControlAcknowledges(t *testing.T) {
	c := NewControl(&ControlConfig{})
	c.SetPeer(9, 4)
	expect(t, "not at once", hear(&c, 0, 0, 0, "a"), "a |")
	if c.Deadline() != 50*ms {
		t.Errorf("deadline %v", c.Deadline())
	}
	expect(t, "not yet", tick(&c, 49*ms), "")
	expect(t, "when due", tick(&c, 50*ms), "0/1")
	expect(t, "once", tick(&c, 60*ms), "")
	hear(&c, 100*ms, 1, 0, "b")
	expect(t, "piggybacked", say(t, &c, 100*ms, "x"), "0/2:x")
	if c.Deadline() != 1100*ms {
		t.Errorf("deadline %v, want that of the retransmission", c.Deadline())
	}
	expect(t, "duplicate", hear(&c, 200*ms, 0, 0, "a"), "| 1/2")
	expect(t, "ZLB gets no answer", hear(&c, 200*ms, 2, 1, ""), "|")
	if c.Unacked() != 0 {
		t.Errorf("%d unacknowledged", c.Unacked())
	}
}

// TestControlAckHalfWindow acknowledges before the peer's window is used up.
func TestControlAckHalfWindow(t *testing.T) {
	c := NewControl(&ControlConfig{Window: 8})
	for ns := range uint16(4) {
		expect(t, "below half", hear(&c, 0, ns, 0, "a"), "a |")
	}
	expect(t, "above half", hear(&c, 0, 4, 0, "a"), "a | 0/5")
}

func TestControlReorder(t *testing.T) {
	c := NewControl(&ControlConfig{Window: 4})
	expect(t, "early", hear(&c, 0, 2, 0, "c"), "|")
	expect(t, "early again", hear(&c, 0, 2, 0, "c"), "|")
	expect(t, "beyond the window", hear(&c, 0, 4, 0, "e"), "|")
	expect(t, "last of the window", hear(&c, 0, 3, 0, "d"), "|")
	expect(t, "next", hear(&c, 0, 0, 0, "a"), "a |")
	expect(t, "fills the gap", hear(&c, 0, 1, 0, "b"), "b c d | 0/4")
	if c.early != nil || c.earlyBytes != 0 || c.Nr() != 4 {
		t.Errorf("%d early, %d octets, Nr %d", len(c.early), c.earlyBytes, c.Nr())
	}
	if v := c.Receive(0, ControlHeader(1, 0, 8, 0), []byte("x"), &Effects{}); v != VerdictBeyond {
		t.Errorf("verdict %d", v)
	}
	big := make([]byte, maxEarlyBytes)
	if v := c.Receive(0, ControlHeader(1, 0, 5, 0), big, &Effects{}); v != VerdictEarly {
		t.Errorf("verdict %d", v)
	}
	if v := c.Receive(0, ControlHeader(1, 0, 6, 0), big, &Effects{}); v != VerdictBeyond {
		t.Errorf("verdict %d: the reorder queue is not bounded", v)
	}
}

func TestControlWrap(t *testing.T) {
	c := NewControl(&ControlConfig{})
	c.SetPeer(9, 4)
	c.nr, c.una, c.high = 0xffff, 0xffff, 0xffff
	expect(t, "sent", say(t, &c, 0, "a"), "65535/65535:a")
	say(t, &c, 0, "b")
	expect(t, "early over the wrap", hear(&c, 0, 0, 0xffff, "y"), "|")
	expect(t, "both ways over the wrap", hear(&c, 0, 0xffff, 0, "x"), "x y | 0/65535:b")
	expect(t, "acknowledged", tick(&c, 50*ms), "1/1")
	expect(t, "old is a duplicate", hear(&c, 50*ms, 0x8001, 0, "z"), "| 1/1")
	hear(&c, 50*ms, 1, 1, "")
	if c.Unacked() != 0 || c.Ns() != 1 || c.Nr() != 1 {
		t.Errorf("%d unacknowledged, Ns %d, Nr %d", c.Unacked(), c.Ns(), c.Nr())
	}
}

// TestControlBadAck ignores acknowledgements of what was never sent.
func TestControlBadAck(t *testing.T) {
	c := NewControl(&ControlConfig{})
	say(t, &c, 0, "a")
	say(t, &c, 0, "b") // queued, not sent
	for _, nr := range []uint16{2, 3, 0xffff, 0x8000} {
		hear(&c, 0, 0, nr, "")
		if c.Unacked() != 2 {
			t.Fatalf("Nr %d acknowledges what was not sent", nr)
		}
	}
}

// A late message of another control connection that had our id is not kept for when its number comes.
func TestControlStranger(t *testing.T) {
	c := NewControl(&ControlConfig{})
	c.SetPeer(9, 4)
	say(t, &c, 0, "SCCRQ")
	var fx Effects
	if v := c.Receive(0, ControlHeader(1, 0, 2, 8), []byte("HELLO of old"), &fx); v != VerdictStranger {
		t.Errorf("a message with Nr 8: verdict %d", v)
	}
	for ns, text := range []string{"SCCRP", "ICRP", "ICRP2"} {
		if got := hear(&c, ms, uint16(ns), 1, text); !strings.HasPrefix(got, text+" |") {
			t.Errorf("message %d: %s", ns, got)
		}
	}
}

// A tunnel that goes on behind its original skips what the original has acknowledged: to the
// first message that the peer sends again, and not past one that came early.
func TestControlSkipsBehind(t *testing.T) {
	c := NewControl(&ControlConfig{Window: 8})
	c.SetPeer(9, 4)
	c.restore(0, Never, SavedTunnel{PeerID: 9, Ns: 3, Una: 3, Nr: 5, Behind: true})
	expect(t, "early", hear(&c, 0, 8, 3, "eight"), "|")
	expect(t, "early too", hear(&c, 0, 10, 3, "ten"), "|")
	expect(t, "not past the eighth", hear(&c, 0, 10, 3, "ten"), "|")
	if c.Nr() != 5 {
		t.Fatalf("Nr %d: it has skipped what may come yet", c.Nr())
	}
	expect(t, "to the eighth", hear(&c, 0, 8, 3, "eight"), "eight |")
	expect(t, "from there on in order", hear(&c, 0, 9, 3, "nine"), "nine ten |")
	if c.Nr() != 11 || c.Una() != 3 || c.early != nil {
		t.Errorf("Nr %d, una %d, early %v", c.Nr(), c.Una(), c.early)
	}
}
