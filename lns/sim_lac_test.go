package lns

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"culvert/proto/l2tp"
)

// simLAC is a LAC's box: tunnels to the LNS that it opens again when they are
// down, from one address and port. It restarts when the plan says so.
type simLAC struct {
	w       *world
	index   int
	weather weather
	gone    bool // for ever
	tunnels []*simTunnel
	address netip.AddrPort // it may move
	lastID  uint16
	cfg     l2tp.TunnelConfig
	serial  uint32
}

// firstSerial is above all that an LNS gives to the calls that it asks for.
const firstSerial = 1 << 20

// simTunnel is one place of a LAC for a tunnel, and the tunnel in it.
type simTunnel struct {
	lac      *simLAC
	listener uint16
	*rigLAC         // nil between two tunnels
	life     int    // of the LNS, that the tunnel came up in
	stream   stream // what the LAC says in it
	heard    int    // how many call messages it has been told
	wakeAt   time.Duration
	users    []*simUser // that dial in it
	callers  map[*rigCall]*simUser
	served   bool // opened by the LNS
	told     told // what the LAC has said of lines
}

func newSimLAC(w *world, i int) *simLAC {
	p := w.plan
	var seed [32]byte
	seed[0], seed[1] = byte(p.seed), byte(100+i)
	l := &simLAC{w: w, index: i, weather: p.weather, address: lacAddress(i), serial: firstSerial, cfg: l2tp.TunnelConfig{
		HostName: "sim lac", Secret: []byte(p.profile.Secret), Rand: rand.NewChaCha8(seed), Hide: p.hide,
		Control: l2tp.ControlConfig{Window: p.lacWindow, Hello: 6 * time.Second},
	}}
	for range p.tunnels {
		t := &simTunnel{lac: l, listener: uint16(w.rnd.IntN(p.listeners)), wakeAt: never, callers: map[*rigCall]*simUser{}}
		l.tunnels = append(l.tunnels, t)
		w.after(w.upTo(3*time.Second), t.open)
	}
	return l
}

// open opens a tunnel under a new id.
func (t *simTunnel) open() {
	l := t.lac
	if t.rigLAC != nil || l.gone || t.served {
		return
	}
	l.lastID++
	t.openAs(l.lastID)
}

// openAs opens a tunnel under an id.
func (t *simTunnel) openAs(id uint16) {
	l := t.lac
	if t.rigLAC != nil || l.gone {
		return
	}
	t.starts(newLAC(l.w, l.address, id, &l.cfg))
	l.w.tell("LAC %d opens tunnel %d", l.index, id)
	t.touched()
}

// starts puts a tunnel into its place.
func (t *simTunnel) starts(r *rigLAC) {
	t.rigLAC, t.stream, t.heard, t.life, t.told = r, stream{}, 0, 0, told{}
	clear(t.callers)
	r.listener, r.early, r.sequencing = t.listener, t.lac.w.plan.early, t.lac.w.plan.sequencing
	r.connect = func(c *rigCall, iccn *l2tp.Message) {
		if u := t.callers[c]; u != nil {
			u.connected(c, iccn)
		}
	}
	r.noticed = t.event
}

// close forgets the tunnel, with all its calls.
func (t *simTunnel) close() {
	if t.rigLAC == nil {
		return
	}
	calls := t.order
	t.rigLAC = nil
	t.lose(calls)
}

// lose tells the users of calls that these are no more.
func (t *simTunnel) lose(calls []*rigCall) {
	for _, c := range calls {
		if u := t.callers[c]; u != nil {
			u.lost(c)
		}
	}
}

// tunnelOf is the place that a tunnel is in, nil when it is in none any more.
func (l *simLAC) tunnelOf(r *rigLAC) *simTunnel {
	for _, t := range l.tunnels {
		if t.rigLAC == r {
			return t
		}
	}
	return nil
}

// move has all that the LAC sends come from another address from now on.
func (l *simLAC) move(to netip.AddrPort) {
	l.address = to
	for _, t := range l.tunnels {
		if t.rigLAC != nil {
			t.rigLAC.address = to
		}
	}
}

// touched sends what is to be sent, and sees to the next time that something is due.
func (t *simTunnel) touched() {
	r := t.rigLAC
	if r == nil {
		return
	}
	r.flush()
	if t.rigLAC != r {
		return
	}
	if r.t.Done() {
		// A LAC waits a moment before it tries again.
		t.close()
		if t.served {
			return
		}
		t.lac.w.after(time.Second+t.lac.w.upTo(2*time.Second), t.open)
		return
	}
	at := r.t.Deadline()
	for _, c := range r.order {
		if c.call.State() == l2tp.CallEstablished {
			at = min(at, c.client.Deadline())
		}
	}
	if at == never || at == t.wakeAt {
		return
	}
	t.wakeAt = at
	t.lac.w.at(at, func() {
		if t.wakeAt == at {
			t.wakeAt = never
			if t.rigLAC != nil {
				t.rigLAC.tick()
				t.touched()
			}
		}
	})
}

// send is the tunnel's way to the network.
func (l *simLAC) send(r *rigLAC, b []byte) {
	t := l.tunnelOf(r)
	if t == nil {
		return
	}
	if h, payload, err := l2tp.ParseHeader(b); err != nil {
		l.w.fail("well-formed", "a LAC sends %x: %v", b, err)
	} else if h.Control {
		t.stream.send(l.w, h, payload, l.w.plan.profile.Window, "a LAC")
	}
	l.w.net.fromLAC(l, t.listener, r.address, b)
}

// receive takes a datagram from the network.
func (l *simLAC) receive(listener uint16, to netip.AddrPort, b []byte) {
	h, _, err := l2tp.ParseHeader(b)
	if err != nil {
		return
	}
	for _, t := range l.tunnels {
		if t.rigLAC != nil && t.listener == listener && t.rigLAC.address == to && t.rigLAC.t.LocalID() == h.TunnelID {
			if h.Control {
				t.stream.acknowledged(h.Nr, l.w.now)
			}
			t.rigLAC.receive(b)
			t.touched()
			return
		}
	}
	if h.Control && h.TunnelID == 0 && !l.gone && to == l.address {
		l.serve(listener, b)
	}
}

// event checks each message that the tunnel delivers against what the LNS has said.
func (t *simTunnel) event(e *l2tp.Event) {
	w := t.lac.w
	switch e.Kind {
	case l2tp.EventUp:
		t.life = w.lives
		w.tell("LAC %d: tunnel %d is up, as %d", t.lac.index, t.rigLAC.t.LocalID(), t.rigLAC.t.PeerID())
	case l2tp.EventDown:
		w.tell("LAC %d: tunnel %d is down: %v %v %v", t.lac.index, t.rigLAC.t.LocalID(), e.Reason, e.Result, e.Err)
		t.lose(slices.Clone(t.order))
	case l2tp.EventMessage:
		t.asked(e)
		if w.cluster != nil {
			return // what a node that is no more has said is known only as far as the database knows it
		}
		if w.net.corrupted || w.store.failed && w.lives > 1 {
			return // lnsd may have died with numbers that its failing journal had refused
		}
		s := w.net.streams[streamKey{t.life, t.listener, t.rigLAC.t.PeerID()}]
		if s != nil && s.blind {
			return
		}
		for s != nil && s.skips && t.heard < len(s.said)-1 && s.said[t.heard] != (said{e.Message.Type, e.SessionID}) {
			t.heard++
		}
		if s == nil || t.heard >= len(s.said) || s.said[t.heard] != (said{e.Message.Type, e.SessionID}) {
			w.fail("once and in order", "LAC %d, tunnel %d: message %d is a %v for session %d; the LNS said %v",
				t.lac.index, t.rigLAC.t.LocalID(), t.heard, e.Message.Type, e.SessionID, s)
		}
		t.heard++
	case l2tp.EventBadMessage:
		if !w.net.corrupted {
			w.fail("well-formed", "a LAC was sent a bad message: %v", e.Err)
		}
	}
}

// restart has the LAC forget everything; with again it gives its tunnels the ids that they had.
func (l *simLAC) restart(again, tell bool) {
	for _, t := range l.tunnels {
		if t.rigLAC != nil && tell {
			t.rigLAC.t.Stop(l.w.now, l2tp.Result{Code: l2tp.StopShutdown}, &t.rigLAC.fx)
			t.rigLAC.flush()
		}
		t.close()
		l.w.after(time.Second+l.w.upTo(time.Second), t.open)
	}
	if again {
		l.lastID = 0
	}
}

// leave takes the LAC away for ever.
func (l *simLAC) leave() {
	l.gone = true
	for _, t := range l.tunnels {
		t.close()
	}
}

// freeID gives a session id of the LAC's. Some LACs give each call the lowest one that is free.
func (t *simTunnel) freeID() uint16 {
	if !t.lac.w.plan.lowIDs {
		t.lastID++
		return t.lastID
	}
	id := uint16(1)
	for t.calls[id] != nil {
		id++
	}
	return id
}

func userName(i int) string { return fmt.Sprintf("user%d@sim", i) }

// userOf is the number of a user, or -1.
func userOf(name string) int {
	n := -1
	if _, err := fmt.Sscanf(name, "user%d@sim", &n); err != nil {
		return -1
	}
	return n
}
