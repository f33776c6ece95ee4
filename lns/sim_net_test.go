package lns

import (
	"bytes"
	"net/netip"
	"slices"
	"time"

	"culvert/lns/dataplane"
	"culvert/proto/l2tp"
)

// weather is what the network does to the datagrams of one LAC.
type weather struct {
	loss, dup, corrupt float64
	delay, jitter      time.Duration
	// up and down cut the way to the LNS, and from it.
	up, down bool
}

var fair = weather{delay: 5 * time.Millisecond}

// simNet is the network between the LACs and the LNS. It sees every control
// message, and checks what may be said and what is heard.
type simNet struct {
	w *world
	// corrupted: a datagram was changed on its way, so that not all can be demanded any more.
	corrupted bool
	streams   map[streamKey]*stream
}

// streamKey names the control messages that one tunnel of the LNS sends.
type streamKey struct {
	life         int
	listener, id uint16
}

// stream is one direction of a control connection, as an observer at the sender sees it.
type stream struct {
	una, high uint16 // the oldest not acknowledged, and the next never sent
	// said are the call messages, in order. skips: the sender was killed, and what was not
	// acknowledged then may never be heard.
	said  []said
	skips bool
	// sentAt is when the oldest that is not acknowledged was sent last.
	sentAt time.Duration
	// blind: something may have been said that the observer cannot tell from what another has said.
	blind bool
}

type said struct {
	typ     l2tp.MessageType
	session uint16
}

func newSimNet(w *world) *simNet { return &simNet{w: w, streams: map[streamKey]*stream{}} }

// send takes a control datagram at the sender. The window is the peer's.
func (s *stream) send(w *world, h l2tp.Header, payload []byte, window uint16, who string) {
	if len(payload) == 0 || s.blind {
		return
	}
	if ahead := h.Ns - s.una; ahead >= max(window, 1) && int16(ahead) > 0 {
		w.fail("window is kept", "%s sends Ns %d, %d is not acknowledged, the window is %d", who, h.Ns, s.una, window)
	}
	if h.Ns == s.una {
		s.sentAt = w.now
	}
	if h.Ns != s.high {
		if int16(h.Ns-s.high) > 0 {
			w.fail("once and in order", "%s skips from Ns %d to %d", who, s.high, h.Ns)
		}
		return
	}
	s.high++
	if len(payload) < 8 {
		return
	}
	if t := l2tp.MessageType(uint16(payload[6])<<8 | uint16(payload[7])); t >= l2tp.MessageOCRQ && t <= l2tp.MessageSLI {
		s.said = append(s.said, said{t, h.SessionID})
	}
}

// acknowledged takes the Nr of a datagram that reached the sender.
func (s *stream) acknowledged(nr uint16, now time.Duration) {
	if n := nr - s.una; n > 0 && n <= s.high-s.una {
		s.una, s.sentAt = nr, now
	}
}

// goOn has the tunnels that outlive their LNS go on in its next life.
func (n *simNet) goOn() {
	for _, sh := range n.w.life.srv.shards {
		for id, t := range sh.tunnels {
			for life := n.w.lives - 1; life > 0; life-- {
				if s := n.streams[streamKey{life, id.listener, id.id}]; s != nil {
					// The last acknowledgements may have come to nobody.
					s.skips, s.sentAt, s.una = true, n.w.now, t.t.Una()
					n.streams[streamKey{n.w.lives, id.listener, id.id}] = s
					break
				}
			}
		}
	}
}

// stream gives what a tunnel of the LNS says.
func (n *simNet) stream(key streamKey) *stream {
	s := n.streams[key]
	if s == nil {
		s = &stream{}
		n.streams[key] = s
	}
	return s
}

// fromLNS takes a datagram that the LNS sends.
func (n *simNet) fromLNS(d dataplane.Datagram) {
	w := n.w
	i := lacIndex(d.Peer)
	if i < 0 || i >= len(w.lacs) {
		return
	}
	lac := w.lacs[i]
	w.tell("LNS > LAC %d: %s", i, describe(d.B))
	if h, payload, err := l2tp.ParseHeader(d.B); err != nil {
		w.fail("well-formed", "the LNS sends %x: %v", d.B, err)
	} else if h.Control && len(payload) > 0 && w.cluster == nil {
		if id, ok := n.speaker(&d, &h); ok {
			n.stream(streamKey{w.lives, d.Listener, id}).send(w, h, payload, w.plan.lacWindow, "the LNS")
		}
	}
	if !lac.weather.down {
		w.on(w.outside(), func() {
			n.carry(&lac.weather, d.B, func(b []byte) { lac.receive(d.Listener, d.Peer, b) })
		})
	}
}

// outside is where the LACs are.
func (w *world) outside() *simHost {
	if w.cluster != nil {
		return w.cluster.outside
	}
	return w.simHost
}

// speaker is the tunnel of the LNS that sends a control message to a LAC's tunnel. Where the LAC has
// two of one id, since it has begun anew, the numbers tell which; where they fit both, nobody can. And
// what is said in one of two that are at one place the LAC may take for the other's, sooner or later.
func (n *simNet) speaker(d *dataplane.Datagram, h *l2tp.Header) (id uint16, ok bool) {
	srv := n.w.life.srv
	if n.w.plan.big {
		if id, ok := srv.shards[0].accept.known[acceptKey{d.Listener, source{AddrPort: d.Peer}, h.TunnelID}]; ok {
			return id, true
		}
	}
	var found, twins []uint16
	for _, sh := range srv.shards {
		for k, t := range sh.tunnels {
			at := t.facts.peer.Load().AddrPort
			// Some of a step's datagrams may be for the port from which the LAC has moved in it.
			moved := n.w.plan.profile.FloatPeer && at.Addr() == d.Peer.Addr()
			if k.listener != d.Listener || at != d.Peer && !moved || t.t.PeerID() != h.TunnelID {
				continue
			}
			if says(t, h) {
				found = append(found, k.id)
			}
			if at == d.Peer {
				twins = append(twins, k.id)
			}
		}
	}
	one := len(found) == 1
	if !one {
		twins = append(twins, found...)
	}
	if len(twins) > 1 {
		for _, id := range twins {
			n.stream(streamKey{n.w.lives, d.Listener, id}).blind = true
		}
	}
	if one {
		return found[0], true
	}
	return 0, false
}

// twin says whether a LAC's tunnel is, or was, two of the LNS, of which the one may come to an end by what
// is said in the other.
func (n *simNet) twin(t *simTunnel) bool {
	s := n.streams[streamKey{n.w.lives, t.listener, t.rigLAC.t.PeerID()}]
	return s != nil && s.blind
}

// says tells whether a message can be a tunnel's, by its numbers.
func says(t *tunnel, h *l2tp.Header) bool {
	una := t.t.Una()
	return h.Ns-una < t.t.Ns()-una && t.t.Nr()-h.Nr < 100
}

// fromLAC takes a datagram that a LAC sends.
func (n *simNet) fromLAC(lac *simLAC, listener uint16, from netip.AddrPort, b []byte) {
	n.w.tell("LAC %d > LNS: %s", lac.index, describe(b))
	if lac.weather.up {
		return
	}
	n.carry(&lac.weather, b, func(b []byte) {
		if n.w.cluster != nil {
			n.w.cluster.arrive(listener, from, b)
			return
		}
		l := n.w.life
		if l == nil {
			return
		}
		if h, _, err := l2tp.ParseHeader(b); err == nil && h.Control {
			n.stream(streamKey{n.w.lives, listener, h.TunnelID}).acknowledged(h.Nr, n.w.now)
		}
		l.guard(func() { l.plane.inject(listener, from, b) })
	})
}

// carry brings a datagram to the other side, in one, no or two pieces.
func (n *simNet) carry(c *weather, b []byte, deliver func([]byte)) {
	w := n.w
	copies, whole, sum := 1, b, uint16(0)
	if c.corrupt > 0 {
		sum = checksum(b)
	}
	switch {
	case w.chance(c.loss):
		return
	case w.chance(c.dup):
		copies = 2
	}
	for range copies {
		b := slices.Clone(b)
		if w.chance(c.corrupt) {
			if w.chance(0.7) {
				spoil(b, w.rnd.IntN)
			} else {
				flip(b, w.rnd.IntN)
			}
			switch {
			case checksum(b) != sum:
				w.tell("  (spoilt on its way, which UDP's checksum sees)")
				continue
			case !bytes.Equal(b, whole):
				n.corrupted = true
			}
		}
		w.after(c.delay+w.upTo(c.jitter), func() { deliver(b) })
	}
}

// checksum is that of UDP over a datagram (RFC 768), but for the pseudo header.
func checksum(b []byte) uint16 {
	var sum uint32
	for i, x := range b {
		sum += uint32(x) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// spoil changes a few bits anywhere.
func spoil(b []byte, intn func(int) int) {
	for range 1 + intn(4) {
		b[intn(len(b))] ^= 1 << intn(8)
	}
}

// flip changes two bits so that UDP's checksum does not notice: the same bit of
// two words, one of which has it and one has not.
func flip(b []byte, intn func(int) int) {
	if len(b) < 4 {
		return
	}
	for range 8 {
		i, j, bit := intn(len(b)/2)*2+intn(2), 0, byte(1)<<intn(8)
		j = intn(len(b)/2)*2 + i%2
		if b[i]&bit != b[j]&bit {
			b[i] ^= bit
			b[j] ^= bit
			return
		}
	}
}
