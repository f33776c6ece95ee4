package l2tp

import (
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"
)

// sccrq is a whole SCCRQ of a peer, with a Tie Breaker unless it is nil.
func sccrq(tie *uint64) []byte {
	m := Message{Type: MessageSCCRQ, ProtocolVersion: ProtocolVersion1, HostName: []byte("peer"), AssignedTunnelID: 7, FramingCap: 3}
	m.Set(AVPProtocolVersion, AVPHostName, AVPAssignedTunnelID, AVPFramingCap)
	if tie != nil {
		m.TieBreaker = *tie
		m.Set(AVPTieBreaker)
	}
	d := m.Append(ControlHeader(0, 0, 0, 0).Append(nil))
	PutLength(d)
	return d
}

// collide lets an SCCRQ cross that of the tunnel, which has none to send by itself.
func collide(tun *Tunnel, won bool, fx *Effects) Tie {
	if tun.hand != nil {
		tun.hand.tie = 5
	}
	theirs := uint64(4)
	if won {
		theirs = 6
	}
	return tun.Collide(0, sccrq(&theirs), fx)
}

// TestCollide compares tie breakers as RFC 2661 section 4.4.3 says.
func TestCollide(t *testing.T) {
	value := func(v uint64) *uint64 { return &v }
	for _, tt := range []struct {
		name   string
		ours   uint64
		theirs *uint64
		want   Tie
	}{
		{"neither", 0, nil, TieNone},
		{"ours only", 5, nil, TieWon},
		{"theirs only", 0, value(5), TieLost},
		{"theirs only, zero", 0, value(0), TieLost},
		{"ours lower", 5, value(6), TieWon},
		{"theirs lower", 6, value(5), TieLost},
		{"theirs zero", 6, value(0), TieLost},
		{"equal", 5, value(5), TieBoth},
		{"compared as unsigned", 1, value(1 << 63), TieWon},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig("us", "", 1)
			cfg.TieBreaker = tt.ours
			tun := NewTunnel(RoleLAC, 22, cfg)
			var fx Effects
			tun.Open(0, &fx)
			fx.Reset()
			if got := tun.Collide(0, sccrq(tt.theirs), &fx); got != tt.want {
				t.Fatalf("%v, want %v", got, tt.want)
			}
			gone := tt.want == TieLost || tt.want == TieBoth
			if len(fx.Packets) != 0 || tun.Done() != gone || (len(fx.Events) == 1) != gone {
				t.Errorf("%d packets, %d events, done %v", len(fx.Packets), len(fx.Events), tun.Done())
			}
			if gone && (fx.Events[0].Kind != EventDown || fx.Events[0].Reason != ReasonTie || tun.Deadline() != Never) {
				t.Errorf("ended by %+v, deadline %v", fx.Events[0], tun.Deadline())
			}
			if !gone && tun.State() != TunnelWaitReply {
				t.Errorf("is %v", tun.State())
			}
			if fx.Reset(); gone {
				if tun.Tick(time.Hour, &fx); len(fx.Packets)+len(fx.Events) != 0 {
					t.Errorf("a tunnel that never was says %d things an hour later", len(fx.Packets)+len(fx.Events))
				}
			}
		})
	}
}

// What is no SCCRQ makes no tie.
func TestCollideWithNothing(t *testing.T) {
	cfg := testConfig("us", "", 1)
	cfg.TieBreaker = 9
	tun := NewTunnel(RoleLAC, 22, cfg)
	var fx Effects
	tun.Open(0, &fx)
	for _, datagram := range []string{"c8", "0002000b0016ff03c021", "c802000c0000000000000000", "c80200140000000000000000800800000000000a"} {
		if tie := tun.Collide(0, unhex(t, datagram), &fx); tie != TieNone || tun.State() != TunnelWaitReply {
			t.Errorf("%s: %v, then %v", datagram, tie, tun.State())
		}
	}
}

// TestTieBothEnds opens a tunnel from both ends at once, under loss too: one tunnel
// comes up, and the other has never been.
func TestTieBothEnds(t *testing.T) {
	for seed := uint64(1); seed < 20; seed++ {
		a, b := newTieEnd("a", 1, seed), newTieEnd("b", 2, seed+100)
		a.peer, b.peer = b, a
		for now := time.Duration(0); now < 30*time.Second; now += 10 * time.Millisecond {
			a.step(t, now)
			b.step(t, now)
		}
		if a.ups != 1 || b.ups != 1 || a.ties+b.ties != 1 {
			t.Fatalf("seed %d: %d and %d up, %d and %d ties lost", seed, a.ups, b.ups, a.ties, b.ties)
		}
		if a.tun.PeerID() != b.tun.LocalID() || b.tun.PeerID() != a.tun.LocalID() || a.tun.Role() == b.tun.Role() {
			t.Errorf("seed %d: %d and %d do not meet", seed, a.tun.PeerID(), b.tun.PeerID())
		}
	}
}

// tieEnd is an end that opens a tunnel, and answers the peer's when it loses the tie.
type tieEnd struct {
	cfg       *TunnelConfig
	tun       *Tunnel
	fx        Effects
	peer      *tieEnd
	in        [][]byte
	rnd       seeded
	ups, ties int
}

func newTieEnd(name string, id uint16, seed uint64) *tieEnd {
	e := &tieEnd{cfg: testConfig(name, "swordfish", seed), rnd: newSeeded(seed)}
	e.cfg.OneTunnel = true
	e.tun = NewTunnel(RoleLAC, id, e.cfg)
	e.tun.Open(0, &e.fx)
	return e
}

func (e *tieEnd) step(t *testing.T, now time.Duration) {
	for _, d := range e.in {
		h, _, err := ParseHeader(d)
		if err != nil {
			t.Fatal(err)
		}
		if h.TunnelID == 0 && e.tun.Role() == RoleLAC {
			if e.tun.Collide(now, d, &e.fx) != TieLost {
				continue
			}
			e.tun = NewTunnel(RoleLNS, e.tun.LocalID()+100, e.cfg)
		}
		_ = e.tun.Receive(now, d, &e.fx)
	}
	e.in = nil
	if e.tun.Deadline() <= now {
		e.tun.Tick(now, &e.fx)
	}
	for _, ev := range e.fx.Events {
		switch {
		case ev.Kind == EventUp:
			e.ups++
		case ev.Reason == ReasonTie:
			e.ties++
		default:
			t.Errorf("%v %v", ev.Kind, ev.Reason)
		}
	}
	for _, d := range e.fx.Packets {
		if e.rnd.Float64() > 0.2 {
			e.peer.in = append(e.peer.in, append([]byte(nil), d...))
		}
	}
	e.fx.Reset()
}

// TestTieRand: without randomness there is no Tie Breaker, so no SCCRQ.
func TestTieRand(t *testing.T) {
	cfg := testConfig("us", "", 1)
	cfg.OneTunnel, cfg.Rand = true, iotest.ErrReader(io.ErrUnexpectedEOF)
	tun := NewTunnel(RoleLAC, 22, cfg)
	var fx Effects
	tun.Open(0, &fx)
	if len(fx.Events) != 1 || !errors.Is(fx.Events[0].Err, io.ErrUnexpectedEOF) {
		t.Errorf("%d events", len(fx.Events))
	}
	for _, p := range fx.Packets {
		if _, payload, _ := ParseHeader(p); parse(t, payload).Type == MessageSCCRQ {
			t.Error("an SCCRQ was sent")
		}
	}
}
