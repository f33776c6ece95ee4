package lns

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"culvert/lac/subscriber"
	"culvert/proto/l2tp"
)

// lacHost is what a rigLAC lives in: a rig, or the simulator's world.
type lacHost interface {
	// time is the host's monotonic time.
	time() time.Duration
	// toLNS takes a datagram of the LAC, which is the host's from then on.
	toLNS(l *rigLAC, b []byte)
	// broken is told what the LNS sent and no LAC can read.
	broken(b []byte, err error)
}

// rigLAC is a LAC with one tunnel.
type rigLAC struct {
	host lacHost
	// listener is the number of the LNS's address that it calls.
	listener uint16
	address  netip.AddrPort
	mark     uint32 // of its SA
	t        *l2tp.Tunnel
	fx       l2tp.Effects
	calls    map[uint16]*rigCall
	order    []*rigCall // calls, as they were dialled
	lastID   uint16
	up       bool
	down     *l2tp.Event
	early    bool // send PPP before the ICCN
	// sequencing: require sequence numbers in data messages.
	sequencing bool
	// connect, where set, may fill in the ICCN of a call.
	connect func(c *rigCall, iccn *l2tp.Message)
	queue   [][]byte
	// noticed, where set, is called after each event of the tunnel.
	noticed func(*l2tp.Event)
	// recovery, where set, knows RFC 4951.
	recovery *rigRecovery
}

// rigCall is one call of a LAC, with its subscriber.
type rigCall struct {
	lac     *rigLAC
	call    l2tp.Call
	client  subscriber.Client
	up      bool
	closed  bool // the subscriber's link has ended
	reason  subscriber.Reason
	message string
	cdn     *l2tp.Result        // why the call ended, from whichever side
	ppp     *l2tp.PPPDisconnect // what the LNS's CDN said of PPP
	packets [][]byte
	// number: data messages carry numbers, as the LNS's latest did or because the ICCN said so.
	number bool
	ns     uint16
	// noticed, where set, is called after each step of the call or its subscriber.
	noticed func()
	// tap, where set, is shown each PPP frame before the subscriber is, and may take it.
	tap func(frame []byte) bool
}

var lacConfigs sync.Map // by secret: a Tunnel's configuration must not change

// newLAC makes a LAC and opens its tunnel, with the id that it gives to it.
func newLAC(host lacHost, address netip.AddrPort, id uint16, c *l2tp.TunnelConfig) *rigLAC {
	l := &rigLAC{host: host, address: address, calls: map[uint16]*rigCall{}, t: l2tp.NewTunnel(l2tp.RoleLAC, id, c)}
	l.t.Open(host.time(), &l.fx)
	return l
}

func (r *rig) lac(n int, secret string) *rigLAC {
	address := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}), 1701)
	l := newLAC(r, address, uint16(100+n), lacConfigOf(secret))
	r.lacs[l.address] = l
	return l
}

// lacConfigOf is the configuration of all LACs with that secret.
func lacConfigOf(secret string) *l2tp.TunnelConfig {
	c, _ := lacConfigs.LoadOrStore(secret, &l2tp.TunnelConfig{
		HostName: "lac", VendorName: "test", Secret: []byte(secret), Rand: rand.NewChaCha8([32]byte{2}),
	})
	return c.(*l2tp.TunnelConfig)
}

func (r *rig) time() time.Duration { return r.clock.now }

func (r *rig) toLNS(l *rigLAC, b []byte) {
	if r.mangle != nil {
		b = r.mangle(b)
	}
	if r.lose == nil || !r.lose(true, b) {
		r.plane.InjectMarked(l.listener, l.address, l.mark, b)
	}
}

func (r *rig) broken(b []byte, err error) { r.t.Fatalf("the LNS sent %x: %v", b, err) }

// dial places a call for user, whose password is "secret".
func (l *rigLAC) dial(user string, change func(*l2tp.Message)) *rigCall {
	l.lastID++
	return l.dialAs(l.lastID, uint32(l.lastID), user, change)
}

// dialAs places a call under an id that is not in use.
func (l *rigLAC) dialAs(id uint16, serial uint32, user string, change func(*l2tp.Message)) *rigCall {
	c := &rigCall{lac: l, call: l2tp.NewCall(l2tp.RoleLAC, id)}
	l.calls[id] = c
	l.order = append(l.order, c)
	m := &l2tp.Message{CallSerial: serial, CallingNumber: []byte("0123")}
	m.Set(l2tp.AVPCallSerial, l2tp.AVPCallingNumber)
	if change != nil {
		change(m)
	}
	var fx l2tp.CallEffects
	c.call.Dial(m, &fx)
	l.t.Send(l.host.time(), fx.Send, 0, &l.fx)
	var sfx subscriber.Effects
	c.client.Start(l.host.time(), &subscriberConfig, user, "secret", rand.New(rand.NewPCG(uint64(serial), 7)), &sfx)
	return c
}

var subscriberConfig = subscriber.DefaultConfig()

func (l *rigLAC) receive(b []byte) {
	h, frame, err := l2tp.ParseHeader(b)
	if err != nil {
		l.host.broken(b, err)
		return
	}
	if !h.Control {
		if c := l.calls[h.SessionID]; c != nil && h.TunnelID == l.t.LocalID() {
			c.number = h.HasSequence || l.sequencing
			c.frame(frame)
		}
		return
	}
	if l.recovery != nil && l.recovery.receive(h, frame, b) {
		return
	}
	_ = l.t.Receive(l.host.time(), b, &l.fx)
}

func (l *rigLAC) tick() {
	now := l.host.time()
	if l.recovery != nil {
		l.recovery.tick(now)
	}
	if l.t.Deadline() <= now {
		l.t.Tick(now, &l.fx)
	}
	for _, c := range slices.Clone(l.order) {
		if c.call.State() == l2tp.CallEstablished && c.client.Deadline() <= now {
			var fx subscriber.Effects
			c.client.Tick(now, &fx)
			c.effects(&fx)
		}
	}
}

// flush gives the LNS what the LAC wants to send, and says whether that was anything.
func (l *rigLAC) flush() bool {
	for i := 0; i < len(l.fx.Events); i++ {
		l.event(&l.fx.Events[i])
	}
	packets := append(slices.Clone(l.queue), l.fx.Packets...)
	any := len(packets) > 0
	for i := range packets {
		packets[i] = slices.Clone(packets[i])
	}
	l.queue = nil
	l.fx.Reset()
	for _, p := range packets {
		l.host.toLNS(l, p)
	}
	return any
}

func (l *rigLAC) event(e *l2tp.Event) {
	switch e.Kind {
	case l2tp.EventUp:
		l.up = true
	case l2tp.EventDown:
		l.down = &l2tp.Event{Kind: e.Kind, Local: e.Local, Reason: e.Reason, Result: e.Result}
	case l2tp.EventMessage:
		if l.recovery != nil && l.recovery.states(&e.Message) {
			break
		}
		c := l.calls[e.SessionID]
		if e.SessionID == 0 && e.Message.Type == l2tp.MessageCDN {
			c = l.byPeer(e.Message.AssignedSessionID)
		}
		if c == nil {
			break
		}
		var fx l2tp.CallEffects
		iccn := &l2tp.Message{TxSpeed: 80_000_000, FramingType: l2tp.FramingSync}
		iccn.Set(l2tp.AVPTxSpeed, l2tp.AVPFramingType)
		if l.sequencing {
			iccn.SequencingRequired = true
			iccn.Set(l2tp.AVPSequencingRequired)
		}
		if l.connect != nil && e.Message.Type == l2tp.MessageICRP {
			l.connect(c, iccn)
		}
		c.call.Receive(&e.Message, iccn, &fx)
		if e.Message.Type == l2tp.MessageICRP && l.early {
			c.lcpRequest() // on the wire before the ICCN
		}
		if fx.Send != nil {
			l.t.Send(l.host.time(), fx.Send, c.call.PeerID(), &l.fx)
		}
		if fx.Down {
			c.cdn = &fx.Result
			if e.Message.Has(l2tp.AVPPPPDisconnect) {
				d := e.Message.PPPDisconnect
				d.Message = slices.Clone(d.Message)
				c.ppp = &d
			}
		}
		c.notice()
	}
	if l.noticed != nil {
		l.noticed(e)
	}
}

// byPeer finds a call by the LNS's id.
func (l *rigLAC) byPeer(id uint16) *rigCall {
	for _, c := range l.order {
		if id != 0 && c.call.PeerID() == id && c.cdn == nil {
			return c
		}
	}
	return nil
}

func (c *rigCall) notice() {
	if c.noticed != nil {
		c.noticed()
	}
}

// data queues a PPP frame to the LNS.
func (c *rigCall) data(frame []byte) {
	b := binary.BigEndian.AppendUint16([]byte{0, 2}, c.lac.t.PeerID())
	b = binary.BigEndian.AppendUint16(b, c.call.PeerID())
	if c.number {
		b[0] |= 0x08
		b = append(binary.BigEndian.AppendUint16(b, c.ns), 0, 0)
		c.ns++
	}
	c.lac.queue = append(c.lac.queue, append(b, frame...))
}

// lcpRequest sends a Configure-Request without options.
func (c *rigCall) lcpRequest() { c.data([]byte{0xff, 3, 0xc0, 0x21, 1, 9, 0, 4}) }

func (c *rigCall) frame(frame []byte) {
	if c.tap != nil && c.tap(frame) {
		return
	}
	var fx subscriber.Effects
	c.client.Receive(c.lac.host.time(), frame, &fx)
	c.effects(&fx)
}

func (c *rigCall) effects(fx *subscriber.Effects) {
	for _, f := range fx.Frames {
		c.data(f)
	}
	if fx.Packet != nil {
		c.packets = append(c.packets, slices.Clone(fx.Packet))
	}
	c.up = (c.up || fx.Up) && !fx.Down
	if fx.Message != nil {
		c.message = string(fx.Message)
	}
	if fx.Down {
		c.closed, c.reason = true, fx.Reason
	}
	c.notice()
}

// ping sends an IP packet of n octets from src.
func (c *rigCall) ping(src netip.Addr, n int) {
	var fx subscriber.Effects
	c.client.Send(ipPacket(src, netip.MustParseAddr("203.0.113.5"), n), &fx)
	c.effects(&fx)
}

// ipPacket is a UDP packet without a checksum, n octets long.
func ipPacket(src, dst netip.Addr, n int) []byte {
	p := make([]byte, n)
	p[0], p[8], p[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(p[2:], uint16(n))
	copy(p[12:], src.AsSlice())
	copy(p[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(p[24:], uint16(n-20))
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(p[10:], ^uint16(sum))
	return p
}

func (c *rigCall) hangUp() {
	var fx l2tp.CallEffects
	c.call.Close(l2tp.Result{Code: l2tp.CDNLostCarrier}, nil, &fx)
	c.lac.t.Send(c.lac.host.time(), fx.Send, c.call.PeerID(), &c.lac.fx)
}

// forget takes a call that is over away, so that its id may be used again.
func (l *rigLAC) forget(c *rigCall) {
	delete(l.calls, c.call.LocalID())
	l.order = slices.DeleteFunc(l.order, func(o *rigCall) bool { return o == c })
}
