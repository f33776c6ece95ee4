package l2tp

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"
)

// restarts is a pair whose LNS is killed between steps again and again and goes on
// from what it saved, while both ends send numbered messages.
type restarts struct {
	*pair
	cfg   *TunnelConfig
	saved SavedTunnel
	sent  [2]uint32
	got   [2][]uint32 // what an end received
	kills int
}

func newRestarts(t *testing.T, seed uint64) *restarts {
	lac, lns := testConfig("lac", "swordfish", seed), testConfig("lns", "swordfish", seed+1)
	rnd := rand.New(rand.NewPCG(seed, 9))
	lac.Control.Window, lns.Control.Window = uint16(1+rnd.IntN(20)), uint16(1+rnd.IntN(20))
	lac.Control.MaxRetries, lns.Control.MaxRetries = 30, 30
	r := &restarts{pair: newPair(t, lac, lns), cfg: lns}
	r.rnd, r.loss, r.dup = rnd, rnd.Float64()*0.3, rnd.Float64()*0.2
	r.jitter = time.Duration(rnd.IntN(300)) * time.Millisecond
	r.act = func(end int, e *Event) {
		switch e.Kind {
		case EventMessage:
			r.got[end] = append(r.got[end], numberOf(&e.Message))
		case EventDown:
			t.Fatalf("seed %d: end %d: down after %d kills: %v %v", seed, end, r.kills, e.Reason, e.Err)
		}
	}
	return r
}

// numberOf is the number that say put into a message.
func numberOf(m *Message) uint32 { return binary.BigEndian.Uint32(m.Q931.Advisory) }

// say sends the next numbered message of an end.
func (r *restarts) say(end int) {
	r.sent[end]++
	m := Message{Type: MessageCDN, AssignedSessionID: 7, Result: Result{Code: CDNAdministrative},
		Q931: Q931Cause{Advisory: binary.BigEndian.AppendUint32(nil, r.sent[end])}}
	m.Set(AVPAssignedSessionID, AVPResultCode, AVPQ931Cause)
	if err := r.ends[end].Send(r.now, &m, 5, &r.fx[end]); err != nil {
		r.t.Fatalf("end %d: %v", end, err)
	}
	r.settle(end)
}

// save is the journal: exact but for Una, which may be an older one.
func (r *restarts) save() {
	s, ok := r.ends[1].Save()
	if !ok {
		return
	}
	if r.saved.PeerID != 0 && r.rnd.IntN(4) != 0 {
		s.Una = r.saved.Una
	}
	r.saved = s
}

func (r *restarts) kill() {
	r.kills++
	r.ends[1] = NewTunnel(RoleLNS, 22, r.cfg)
	r.ends[1].Restore(r.now, r.now+time.Duration(1+r.rnd.IntN(1000))*time.Millisecond, r.saved)
}

// TestRestoreUnderFire: whatever the moments of the kills, the tunnel lives; what the LAC
// sends arrives once and in order, and of what the LNS sends nothing arrives
// twice or out of order, and all that was sent after the last kill.
func TestRestoreUnderFire(t *testing.T) {
	for seed := range *seeds {
		r := newRestarts(t, seed)
		r.open()
		for r.ends[1].State() != TunnelEstablished || r.ends[0].State() != TunnelEstablished {
			r.step(r.now + time.Minute)
		}
		r.save()
		for range 300 {
			switch r.rnd.IntN(8) {
			case 0, 1:
				r.say(0)
			case 2, 3:
				r.say(1)
			case 4:
				if r.kills < 20 {
					r.kill()
				}
			default:
				r.step(r.now + time.Minute)
			}
			r.save()
		}
		after := r.sent[1]
		r.kill()
		for range 5 {
			r.say(1)
			r.save()
		}
		r.run(20 * time.Minute)
		r.check(seed, after)
	}
}

func (r *restarts) check(seed uint64, after uint32) {
	r.t.Helper()
	for i, n := range r.got[1] {
		if n != uint32(i+1) {
			r.t.Fatalf("seed %d: message %d of the LAC arrived in place of %d", seed, n, i+1)
		}
	}
	if len(r.got[1]) != int(r.sent[0]) {
		r.t.Fatalf("seed %d: %d messages of the LAC arrived of %d", seed, len(r.got[1]), r.sent[0])
	}
	last, late := uint32(0), 0
	for _, n := range r.got[0] {
		if n <= last {
			r.t.Fatalf("seed %d: message %d of the LNS arrived after %d", seed, n, last)
		}
		if last = n; n > after {
			late++
		}
	}
	if late != 5 {
		r.t.Fatalf("seed %d: %d of the 5 messages after the last kill arrived", seed, late)
	}
	if r.ends[0].Unacked()+r.ends[1].Unacked() != 0 {
		r.t.Fatalf("seed %d: not acknowledged: %d by the LNS, %d by the LAC", seed, r.ends[0].Unacked(), r.ends[1].Unacked())
	}
}

func TestRestoreTranscript(t *testing.T) {
	cfg := &TunnelConfig{Control: ControlConfig{Hello: time.Minute}}
	restored := func(s SavedTunnel) *Control {
		tun := NewTunnel(RoleLNS, 22, cfg)
		tun.Restore(time.Hour, time.Hour+ms, s)
		return &tun.ctl
	}
	hello := string(helloBody)
	c := restored(SavedTunnel{PeerID: 9, PeerWindow: 8, Ns: 7, Una: 7, Nr: 3})
	expect(t, "nothing before the probe", tick(c, time.Hour), "")
	expect(t, "a new HELLO", tick(c, time.Hour+ms), "7/3:"+hello)
	expect(t, "acknowledged", hear(c, time.Hour+2*ms, 3, 8, ""), "|")
	expect(t, "the next number", say(t, c, time.Hour+3*ms, "x"), "8/3:x")

	c = restored(SavedTunnel{PeerID: 9, PeerWindow: 8, Ns: 1, Una: 65534, Nr: 3})
	expect(t, "the oldest first", tick(c, time.Hour+ms), "65534/3:"+hello)
	expect(t, "the peer had the first two", hear(c, time.Hour+2*ms, 3, 0, ""), "| 0/3:"+hello)
	expect(t, "behind the gap", say(t, c, time.Hour+3*ms, "x"), "1/3:x")

	c = restored(SavedTunnel{PeerID: 9, PeerWindow: 8, Ns: 5, Una: 4, Nr: 3})
	expect(t, "something to say before the probe", say(t, c, time.Hour, "x"), "4/3:"+hello)
	expect(t, "a message already seen", hear(c, time.Hour, 2, 4, "old"), "| 5/3")
}

// TestRestoreNonsense restores from numbers that no tunnel can have.
func TestRestoreNonsense(t *testing.T) {
	for _, s := range []SavedTunnel{{Ns: 1, Una: 2}, {Ns: 0, Una: 1, PeerWindow: 65535}, {Ns: 40000, PeerWindow: 65535}} {
		tun, fx := NewTunnel(RoleLNS, 22, &TunnelConfig{}), Effects{}
		tun.Restore(0, 1, s)
		for now := time.Duration(1); now < 100; now++ {
			tun.Tick(now, &fx)
			h := ControlHeader(22, 0, 0, s.Ns-uint16(now))
			h.Append(nil)
			_ = tun.Receive(now, h.Append(nil), &fx)
		}
		if _, ok := tun.Save(); !ok {
			t.Errorf("%+v: not established", s)
		}
	}
}
