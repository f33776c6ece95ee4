package cluster

import (
	"net/netip"
	"slices"
	"time"
)

// claim takes what nobody answers for any more.
func (m *Machine) claim(now time.Duration, fx *Effects) {
	if !m.mayClaim(now) {
		return
	}
	for _, a := range m.view.Addresses {
		if _, pending := m.claiming[a.Local]; pending || a.Owner == m.cfg.Node || !slices.Contains(m.cfg.Serves, a.Local) {
			continue
		}
		c := Claim{Local: a.Local, Epoch: a.Epoch, From: a.Owner}
		if a.Owner == "" {
			if !m.takesVacant(now, a.Local) {
				continue
			}
		} else {
			n := m.node(a.Owner)
			if n == nil || m.self().Joined > n.Seen || !m.silent(now, n) {
				continue
			}
			c.Beat = m.peers[n.Name].beat
			fx.log("taking over an address: its node has not renewed its lease and does not answer", "address", a.Local, "from", a.Owner)
		}
		m.claiming[a.Local] = pendingClaim{from: a.Owner}
		fx.Claims = append(fx.Claims, c)
	}
}

// mayClaim tells whether this node may claim anything: it is a member with a
// lease, sees the database, and remembers every promise that it has given.
func (m *Machine) mayClaim(now time.Duration) bool {
	self := m.self()
	return m.known && !m.draining && self != nil && self.Member && now < m.leased &&
		now-m.viewed < 2*m.cfg.RenewEvery() && now-m.quiet >= m.cfg.Promise()
}

func (m *Machine) self() *Node { return m.node(m.cfg.Node) }

func (m *Machine) node(name string) *Node {
	for i := range m.view.Nodes {
		if m.view.Nodes[i].Name == name {
			return &m.view.Nodes[i]
		}
	}
	return nil
}

// silent tells whether a node has lost its lease and cannot go on by promises.
func (m *Machine) silent(now time.Duration, n *Node) bool {
	p := m.peers[n.Name]
	if p == nil || now-p.beatAt < max(n.Lease, m.cfg.Lease)+m.cfg.Grace() || now < p.gave {
		return false
	}
	return p.stopped || now-p.answered >= m.cfg.Promise()
}

// takesVacant tells whether an address that is nobody's is for this node: at
// once if it is preferred here, else when no other node has taken it.
func (m *Machine) takesVacant(now time.Duration, local netip.AddrPort) bool {
	since, ok := m.vacant[local]
	return slices.Contains(m.cfg.Prefer, local) || ok && now-since >= m.cfg.Lease+m.cfg.Grace()
}

// Claimed takes the answer to a claim: Won, Lost to somebody or something
// else, or Unknown.
func (m *Machine) Claimed(now time.Duration, c Claim, r Result, fx *Effects) {
	switch r {
	case Unknown:
		// It may have worked, and may yet. No promise is given before a
		// renewal has settled it.
		m.claiming[c.Local] = pendingClaim{from: c.From, failed: true, at: now}
	case Lost:
		delete(m.claiming, c.Local)
	case Won:
		delete(m.claiming, c.Local)
		a := Address{Local: c.Local, Owner: m.cfg.Node, Epoch: c.Epoch + 1}
		if m.changeOwner(now, a); m.knows(a) && m.mine[c.Local] == nil {
			m.own(now, a, fx)
		}
		m.save(fx)
	}
	m.renewAt = now
}

// Result is how a claim ended.
type Result uint8

// The results. Unknown is that of a transaction whose commit got no answer.
const (
	Unknown Result = iota
	Won
	Lost
)

// expel puts out members that are silent and own nothing.
func (m *Machine) expel(now time.Duration, fx *Effects) {
	if !m.mayClaim(now) {
		return
	}
	for i := range m.view.Nodes {
		n := &m.view.Nodes[i]
		if n.Name == m.cfg.Node || !n.Member || !m.silent(now, n) || m.owns(n.Name) {
			continue
		}
		fx.log("putting a silent node out of the cluster; it joins again when it is back", "node", n.Name)
		fx.Expel = append(fx.Expel, Expel{Node: n.Name, Beat: m.peers[n.Name].beat})
		m.peers[n.Name].beatAt = now // not again at once
	}
}

func (m *Machine) owns(name string) bool {
	for _, a := range m.view.Addresses {
		if a.Owner == name {
			return true
		}
	}
	for _, c := range m.claiming {
		if c.from == name {
			return true
		}
	}
	return false
}

// probe asks every other node directly.
func (m *Machine) probe(now time.Duration, fx *Effects) {
	for _, n := range m.view.Nodes {
		if n.Name != m.cfg.Node {
			m.tell(now, n.Name, KindProbe, fx)
		}
	}
}

// tell sends a message that is no answer.
func (m *Machine) tell(now time.Duration, to string, k Kind, fx *Effects) {
	if n := m.node(to); n != nil && n.At != "" {
		fx.Send = append(fx.Send, Out{n.At, Message{Kind: k, From: m.cfg.Node, To: to, Epoch: m.cfg.Epoch,
			Sent: now, Serving: m.serving(now), Claims: m.view.Claims}})
	}
}

func (m *Machine) serving(now time.Duration) bool {
	return len(m.mine) > 0 && !m.lapsed && now < m.until()
}

// Receive takes a message of another node; from is where it came from.
func (m *Machine) Receive(now time.Duration, from string, msg *Message, fx *Effects) {
	if msg.To != m.cfg.Node || msg.From == m.cfg.Node {
		return
	}
	if m.node(msg.From) == nil {
		return // the view will know it soon, if it is one of us
	}
	p := m.peer(msg.From, now)
	switch msg.Kind {
	case KindProbe:
		m.answer(now, from, p, msg, fx)
	case KindAnswer:
		m.answered(now, p, msg)
	case KindNews:
		m.renewAt = now
	}
	m.judge(now, fx)
}

// answer replies to a probe, with a promise unless this node is about to
// claim, or may have claimed, what is the other's.
func (m *Machine) answer(now time.Duration, from string, p *peer, msg *Message, fx *Effects) {
	p.stopped = !msg.Serving
	reply := Message{Kind: KindAnswer, From: m.cfg.Node, To: msg.From, Epoch: m.cfg.Epoch,
		Sent: msg.Sent, Serving: m.serving(now), Claims: m.view.Claims}
	n := m.node(msg.From)
	about := p.stopped && m.mayClaim(now) && m.silent(now, n) && m.owns(msg.From)
	for _, c := range m.claiming {
		about = about || c.from == msg.From
	}
	if !about {
		reply.Promise = m.cfg.Promise()
		p.gave = max(p.gave, now+m.cfg.Promise())
	}
	fx.Send = append(fx.Send, Out{from, reply})
}

// maxPromise is the longest promise that anybody gives: half of the longest lease.
const maxPromise = 150 * time.Second

// answered takes the answer to a probe that was sent at msg.Sent.
func (m *Machine) answered(now time.Duration, p *peer, msg *Message) {
	if msg.Sent > now || msg.Sent < m.began || msg.Promise > maxPromise {
		return // not an answer to this life of the node
	}
	p.heard = true
	p.answered = max(p.answered, msg.Sent)
	p.stopped = !msg.Serving
	p.told, p.toldEpoch = msg.Claims, msg.Epoch
	if msg.Promise > 0 {
		p.promised = max(p.promised, msg.Sent+msg.Promise)
	}
}
