package lns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"culvert/lns/dataplane"
	"culvert/proto/l2tp"
)

// OutgoingCall is a call that a LAC is asked to place (RFC 2661 section 7.5). Once the subscriber
// has answered, it is a session like any other.
type OutgoingCall struct {
	// LAC names the LAC profile whose LAC is to call.
	LAC string
	// Number is the Called Number AVP, 1 to 64 printable characters as the LAC wants
	// them; SubAddress, which may be empty, is what follows it.
	Number, SubAddress string
	// MinimumBPS and MaximumBPS bound the line's speed in bit/s; a MaximumBPS of 0 is no bound.
	MinimumBPS, MaximumBPS uint32
}

// Errors of Server.Call.
var (
	// ErrNoWay says that a LAC has no tunnel, and none can be opened to it.
	ErrNoWay = errors.New("there is no tunnel to the LAC")
	// ErrCallRefused says that the call was not placed; the text says why.
	ErrCallRefused = errors.New("the call was not placed")
)

// maxNumber is the longest number and sub-address, in octets.
const maxNumber = 64

// answerTimeout bounds the wait for the subscriber of an outgoing call to answer, since a telephone rings for long.
const answerTimeout = 90 * time.Second

// Validate says what is wrong with a call, naming the field and what would be right.
func (c *OutgoingCall) Validate() error {
	printable := func(s string) bool {
		for i := range len(s) {
			if s[i] <= ' ' || s[i] > '~' {
				return false
			}
		}
		return true
	}
	switch {
	case c.LAC == "":
		return errors.New("lac: name the LAC profile whose LAC is to call")
	case c.Number == "" || len(c.Number) > maxNumber || !printable(c.Number):
		return fmt.Errorf("number: %q is not 1 to %d printable characters without spaces", c.Number, maxNumber)
	case len(c.SubAddress) > maxNumber || !printable(c.SubAddress):
		return fmt.Errorf("sub_address: %q is not at most %d printable characters without spaces", c.SubAddress, maxNumber)
	case c.MaximumBPS != 0 && c.MinimumBPS > c.MaximumBPS:
		return fmt.Errorf("minimum_bps: %d is more than maximum_bps, %d", c.MinimumBPS, c.MaximumBPS)
	}
	return nil
}

// message is the OCRQ, but for its ids.
func (c *OutgoingCall) message(serial uint32) *l2tp.Message {
	m := &l2tp.Message{
		CallSerial: serial, MinimumBPS: c.MinimumBPS, MaximumBPS: c.MaximumBPS,
		BearerType: l2tp.BearerDigital | l2tp.BearerAnalog, FramingType: l2tp.FramingSync | l2tp.FramingAsync,
		CalledNumber: []byte(c.Number), SubAddress: []byte(c.SubAddress),
	}
	if m.MaximumBPS == 0 {
		m.MaximumBPS = 1<<32 - 1
	}
	m.Set(l2tp.AVPCallSerial, l2tp.AVPMinimumBPS, l2tp.AVPMaximumBPS, l2tp.AVPBearerType, l2tp.AVPFramingType, l2tp.AVPCalledNumber)
	if c.SubAddress != "" {
		m.Set(l2tp.AVPSubAddress)
	}
	return m
}

// placing is an OutgoingCall on its way to the LAC.
type placing struct {
	OutgoingCall
	// done gets one value: what became of it.
	done chan placed
	// given up says that nobody waits any more: what was not placed by then never is.
	givenUp atomic.Bool
}

// placed is what became of a placing: the session's Acct-Session-Id, or why there is none.
type placed struct {
	id  string
	err error
}

func (p *placing) fail(format string, args ...any) {
	p.done <- placed{err: fmt.Errorf("%w: %s", ErrCallRefused, fmt.Sprintf(format, args...))}
}

// Call asks a LAC to call a subscriber, in a tunnel of its profile that is up, or else in one that
// is opened to the profile's Address. It returns the session's Acct-Session-Id as soon as the OCRQ is
// on its way: whether the subscriber answers is told by the session's events. Errors are of Validate,
// ErrNoProfile, ErrNoWay, ErrCallRefused, or ctx's.
func (s *Server) Call(ctx context.Context, c OutgoingCall) (string, error) {
	p, err := s.place(c)
	if err != nil {
		return "", err
	}
	select {
	case done := <-p.done:
		return done.id, done.err
	case <-ctx.Done():
		p.givenUp.Store(true)
		return "", ctx.Err()
	case <-s.ctx.Done():
		return "", fmt.Errorf("%w: this LNS is being shut down", ErrCallRefused)
	}
}

// place puts a call on its way.
func (s *Server) place(c OutgoingCall) (*placing, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	profile := s.profiles.named(c.LAC)
	if profile == nil {
		return nil, fmt.Errorf("%w: %q", ErrNoProfile, c.LAC)
	}
	p := &placing{OutgoingCall: c, done: make(chan placed, 1)}
	if f := s.tunnelTo(c.LAC); f != nil {
		s.shards[f.shard].inbox.put(dialIn{listener: f.listener, id: f.id, p: p})
		return p, nil
	}
	listener, err := s.wayTo(profile)
	if err != nil {
		return nil, err
	}
	s.shards[0].inbox.put(dialTo{profile, listener, p})
	return p, nil
}

// tunnelTo is the tunnel of a profile that is up and has the fewest calls, nil for none.
func (s *Server) tunnelTo(profile string) *tunnelFacts {
	type candidate struct {
		facts *tunnelFacts
		calls int
	}
	best := make([]candidate, len(s.shards))
	s.each(func(sh *shard) {
		for _, t := range sh.inOrder() {
			b := &best[sh.idx]
			if t.up && !t.down && t.facts.profile.Name == profile && (b.facts == nil || t.calls.len() < b.calls) {
				*b = candidate{t.facts, t.calls.len()}
			}
		}
	})
	var min candidate
	for _, b := range best {
		if b.facts != nil && (min.facts == nil || b.calls < min.calls) {
			min = b
		}
	}
	return min.facts
}

// wayTo is the listener to open a tunnel to a profile's LAC from.
func (s *Server) wayTo(p *profile) (uint16, error) {
	switch {
	case p.IPsec != nil:
		return 0, fmt.Errorf("%w: profile %q wants IPsec, and the LAC has to open the tunnel", ErrNoWay, p.Name)
	case !p.Address.IsValid():
		return 0, fmt.Errorf("%w: profile %q has no address to open one to; set its address", ErrNoWay, p.Name)
	}
	for i, l := range s.listeners {
		if l.Addr().Is4() == p.Address.Addr().Is4() {
			return uint16(i), nil
		}
	}
	return 0, fmt.Errorf("%w: %v of profile %q and all listen addresses are of different families", ErrNoWay, p.Address, p.Name)
}

// dialTo opens a tunnel to a LAC for a call, or finds the one that was opened for another: there is
// one for each listener and address. It is for shard 0, which gives tunnels their ids.
type dialTo struct {
	profile  *profile
	listener uint16
	p        *placing
}

func (m dialTo) deliver(sh *shard) {
	// No SCCRQ has tunnel id 0, so that no tunnel of the LAC's own goes by this key.
	key := acceptKey{listener: m.listener, peer: source{AddrPort: m.profile.Address}}
	id, known := sh.accept.known[key]
	if !known {
		if why := sh.tunnelAdmission(m.profile); why != "" {
			m.p.fail("%s", why)
			return
		}
		var ok bool
		if id, ok = sh.accept.ids[m.listener].take(); !ok {
			m.p.fail("no tunnel id is left on %v", sh.srv.listeners[m.listener])
			return
		}
		m.profile.use.tunnels.Add(1)
		sh.accept.known[key] = id
	}
	sh.send(dataplane.ShardOf(id, len(sh.srv.shards)), dialIn{m.listener, id, m.profile, !known, m.p})
}

// dialIn places a call in a tunnel, on the tunnel's shard; open makes the tunnel first, with
// an SCCRQ of ours.
type dialIn struct {
	listener, id uint16
	profile      *profile
	open         bool
	p            *placing
}

func (m dialIn) deliver(sh *shard) {
	t := sh.tunnels[tunnelID{m.listener, m.id}]
	if m.open {
		t = sh.makeTunnel(newTunnel{listener: m.listener, id: m.id, peer: lacPeer{source: source{AddrPort: m.profile.Address}}, profile: m.profile})
		t.t = l2tp.NewTunnel(l2tp.RoleLAC, m.id, &m.profile.tunnel) // the end that opens it
		t.waiting = append(t.waiting, m.p)
		sh.log.Info("opening a tunnel", "tunnel", m.id, "lac", m.profile.Address, "profile", m.profile.Name)
		sh.tunnelStep(t, func(fx *l2tp.Effects) { t.t.Open(sh.now, fx) })
		return
	}
	switch {
	case t == nil || t.down:
		m.p.fail("the tunnel to the LAC has just ended; try again")
	case !t.up:
		t.waiting = append(t.waiting, m.p)
	default:
		sh.placeCall(t, m.p)
	}
}

// placeWaiting places the calls that waited for their tunnel.
func (sh *shard) placeWaiting(t *tunnel) {
	list := t.waiting
	t.waiting = nil
	for _, p := range list {
		sh.placeCall(t, p)
	}
}

// failWaiting tells those who waited for a tunnel that it did not come up.
func (t *tunnel) failWaiting(why string) {
	for _, p := range t.waiting {
		p.fail("the tunnel to the LAC did not come up: %s", why)
	}
	t.waiting = nil
}

// placeCall gives a call its id and hands it to its shard.
func (sh *shard) placeCall(t *tunnel, p *placing) {
	if p.givenUp.Load() {
		return
	}
	if why := sh.callAdmission(t.facts.profile); why != "" {
		p.fail("%s", why)
		return
	}
	id, ok := t.calls.ids.take()
	if !ok {
		p.fail("the tunnel has no session id left")
		return
	}
	serial := sh.srv.lastSerial.Add(1)
	t.calls.add(id, callRef{serial: serial})
	sh.keepCall(t, id, 0)
	sh.srv.settingUp.Add(1)
	sh.srv.sessions.Add(1)
	t.facts.profile.use.sessions.Add(1)
	sh.send(dataplane.ShardOf(id, len(sh.srv.shards)), newOutCall{t.facts, id, serial, p})
}

// newOutCall makes the session of an outgoing call, on its shard, and sends the OCRQ.
type newOutCall struct {
	facts  *tunnelFacts
	id     uint16
	serial uint32
	p      *placing
}

func (m newOutCall) deliver(sh *shard) {
	f, ocrq := m.facts, m.p.message(m.serial)
	s := &session{
		key: dataplane.Key{Listener: f.listener, Tunnel: f.id, Session: m.id}, facts: f,
		owner: sh.srv.lastOwner.Add(1), serial: m.serial, setup: &setup{began: sh.now, call: l2tp.NewOutCall(l2tp.RoleLNS, m.id)},
	}
	s.timer.who = s
	s.who = sh.identify(s, ocrq)
	s.callFacts().outgoing = true
	sh.sessions[s.key] = s
	sh.traceBegin(s)
	fx := sh.callStep()
	s.setup.call.Dial(ocrq, fx)
	sh.callEffects(s, fx)
	sh.wheel.set(&s.timer, sh.now+answerTimeout)
	sh.log.Info("calling", sh.logKeys(s, "number", m.p.Number, "sub_address", m.p.SubAddress)...)
	m.p.done <- placed{id: s.who.AcctSessionID}
}

// replied notes, on the tunnel's shard, which id the LAC has given to a call of ours.
func (sh *shard) replied(t *tunnel, id uint16, m *l2tp.Message) {
	ref, ok := t.calls.ours[id]
	if !ok || ref.peerID != 0 || m.AssignedSessionID == 0 {
		return
	}
	ref.peerID = m.AssignedSessionID
	t.calls.add(id, ref)
	sh.keepCall(t, id, ref.peerID)
}

// outgoing says that the LNS asked for the call.
func (s *session) outgoing() bool { return s.rare != nil && s.rare.outgoing }

// checkAddress says what is wrong with where a profile's LAC is to be found.
func checkAddress(a netip.AddrPort) error {
	if a == (netip.AddrPort{}) {
		return nil
	}
	if !a.IsValid() || a.Port() == 0 || a.Addr().IsUnspecified() || a.Addr().IsMulticast() || a.Addr().Zone() != "" {
		return fmt.Errorf("address: %v is no address and port of a LAC, such as 198.51.100.7:1701", a)
	}
	return nil
}
