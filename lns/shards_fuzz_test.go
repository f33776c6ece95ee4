package lns

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"culvert/proto/l2tp"
)

// FuzzShards has a LAC send whole shards anything: raw datagrams, the next control message with any
// body, any frame on its subscriber's session, or nothing for a while. Its neighbour's
// subscriber notices nothing; and when it falls silent, everything of it ends and is accounted.
func FuzzShards(f *testing.F) {
	part := func(kind byte, b ...byte) []byte {
		return append([]byte{kind, byte(len(b))}, b...)
	}
	icrq := icrqAVPs()
	cdn := append(avp(true, 0, 0, 0, 14), avp(true, 0, 1, 0, 3)...)
	cdn = append(cdn, avp(true, 0, 14, 0, 77)...)
	f.Add(append(part(1, icrq...), part(1, cdn...)...))
	f.Add(append(part(1, icrq...), part(1, append(avp(true, 0, 0, 0, 12), append(avp(true, 0, 24, 0, 0, 1, 0), avp(true, 0, 19, 0, 0, 0, 1)...)...)...)...))
	f.Add(part(2, 0xff, 3, 0xc0, 0x21, 5, 9, 0, 4))
	f.Add(append(part(2, 0xff, 3, 0xc0, 0x21, 1, 9, 0, 4), append(part(4, 30), part(3, 1)...)...))
	f.Add(part(0, 0xc8, 2, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0))
	f.Add(part(1, append(avp(true, 0, 0, 0, 4), avp(true, 0, 1, 0, 6)...)...))
	fsq := l2tp.Message{Type: l2tp.MessageFSQ, SessionStates: []l2tp.SessionState{{Session: 1, Remote: 1}, {Session: 2, Remote: 9}}}
	fsr := l2tp.Message{Type: l2tp.MessageFSR, SessionStates: []l2tp.SessionState{{Remote: 1}}}
	f.Add(append(part(1, fsq.Append(nil)...), part(1, fsr.Append(nil)...)...))
	again := l2tp.Message{Type: l2tp.MessageSCCRQ, ProtocolVersion: l2tp.ProtocolVersion1, HostName: []byte("lac"), AssignedTunnelID: 300,
		TieBreaker: 5, Recovery: l2tp.Recovery{Tunnel: 102, Remote: 2}}
	again.Set(l2tp.AVPProtocolVersion, l2tp.AVPHostName, l2tp.AVPAssignedTunnelID, l2tp.AVPTieBreaker, l2tp.AVPTunnelRecovery)
	sccrq := again.Append(l2tp.ControlHeader(0, 0, 0, 0).Append(nil))
	l2tp.PutLength(sccrq)
	f.Add(append(part(0, sccrq...), append(part(1, fsq.Append(nil)...), part(4, 30)...)...))
	f.Fuzz(func(t *testing.T, script []byte) {
		r := newRig(t, nil)
		victim, bad := r.lac(1, "tunnel secret"), r.failoverLAC(2, bothCan)
		r.until(5*time.Second, "tunnels up", func() bool { return victim.up && bad.up })
		alice, mallory := victim.dial("alice", nil), bad.dial("mallory", nil)
		r.until(5*time.Second, "both up", func() bool { return alice.up && mallory.up })
		ns := bad.t.Ns()
		for n := 0; len(script) >= 2 && n < 64; n++ {
			size := min(int(script[1]), len(script)-2)
			z := misdeed{kind: script[0] % 5, body: script[2 : 2+size]}
			script = script[2+size:]
			z.do(r, bad, mallory, &ns)
			if tunnels, sessions, _ := r.counts(); tunnels > 2+n+1 || sessions > 2+n+1 {
				t.Fatalf("%d datagrams made %d tunnels and %d sessions", n+1, tunnels, sessions)
			}
		}
		delete(r.lacs, bad.address) // from now on nobody is there
		for range 4000 {
			if tunnels, sessions, _ := r.counts(); tunnels == 1 && sessions == 1 {
				break
			}
			r.clock.now += 100 * time.Millisecond
			victim.tick()
			r.step()
		}
		if tunnels, sessions, _ := r.counts(); tunnels != 1 || sessions != 1 || !alice.up || alice.cdn != nil || r.session("alice") == nil {
			t.Fatalf("%d tunnels and %d sessions are left; alice is up: %v, %v", tunnels, sessions, alice.up, alice.cdn)
		}
		alice.hangUp()
		r.run(time.Second)
		started := map[string]bool{}
		for _, u := range r.aaa.usages {
			started[u.Identity.AcctSessionID] = true
		}
		r.checkAccounting(len(started))
		if len(r.aaa.held) != 0 || r.srv.sessions.Load() != 0 || r.srv.settingUp.Load() != 0 {
			t.Fatalf("%d addresses are held, %d sessions are counted, %d being set up", len(r.aaa.held), r.srv.sessions.Load(), r.srv.settingUp.Load())
		}
	})
}

// misdeed is one thing that a LAC does.
type misdeed struct {
	kind byte
	body []byte
}

func (z misdeed) do(r *rig, bad *rigLAC, mallory *rigCall, ns *uint16) {
	switch z.kind {
	case 0: // anything, from its address or a neighbour's
		from := bad.address
		if len(z.body) > 0 && z.body[0]&1 != 0 {
			from = netip.MustParseAddrPort("198.51.100.77:1701")
		}
		r.plane.Inject(0, from, z.body)
	case 1: // the tunnel's next message
		d := l2tp.ControlHeader(bad.t.PeerID(), 0, *ns, bad.t.Nr()).Append(nil)
		d = append(d, z.body...)
		l2tp.PutLength(d)
		r.plane.Inject(0, bad.address, d)
		*ns++
	case 2: // a frame of the subscriber
		d := binary.BigEndian.AppendUint16([]byte{0, 2}, bad.t.PeerID())
		d = binary.BigEndian.AppendUint16(d, mallory.call.PeerID())
		r.plane.Inject(0, bad.address, append(d, z.body...))
	case 3:
		r.clock.now += time.Duration(len(z.body)) * 100 * time.Millisecond
	case 4: // time, with its own machines at work
		r.run(time.Duration(len(z.body)) * 4 * time.Millisecond)
	}
	r.step()
}
