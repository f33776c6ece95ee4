// Package opstest has a node without a network, for tests of ops and of its clients.
package opstest

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"culvert/aaa"
	"culvert/lns"
)

// Node implements ops.Node over what it is given. It is safe for concurrent use.
type Node struct {
	mu       sync.Mutex
	tunnels  []lns.TunnelInfo
	sessions []lns.SessionInfo
	lacs     []lns.LACProfile
	status   lns.Status
	stats    lns.Stats
	watchers map[chan lns.Event]struct{}
	traced   []lns.TracedSession
	tracers  map[chan lns.TraceItem]*atomic.Uint64
	ended    []Ended
	failing  error
}

// Ended is what the node was asked to end.
type Ended struct {
	Session string
	Tunnel  uint16
	Cause   aaa.TerminateCause
	Detail  string
}

// NewNode gives a node with nothing in it but a status.
func NewNode() *Node {
	return &Node{
		status: lns.Status{
			Node: "lns1", Version: "1.2.3", Epoch: 7, Shards: 2, Plane: "memory",
			Started:   time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC),
			Listeners: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1701")},
		},
		stats: lns.Stats{
			Downs: map[string]uint64{}, Rejects: map[string]uint64{}, Dropped: map[string]uint64{},
		},
		watchers: map[chan lns.Event]struct{}{},
		tracers:  map[chan lns.TraceItem]*atomic.Uint64{},
	}
}

// Add adds tunnels and sessions.
func (n *Node) Add(tunnels []lns.TunnelInfo, sessions []lns.SessionInfo) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tunnels = append(n.tunnels, tunnels...)
	n.sessions = append(n.sessions, sessions...)
	slices.SortFunc(n.sessions, func(a, b lns.SessionInfo) int { return strings.Compare(a.ID, b.ID) })
}

// SetStats replaces the counters.
func (n *Node) SetStats(s lns.Stats) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stats = s
}

// Fail makes every change fail with err from now on; nil lets them work again.
func (n *Node) Fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.failing = err
}

// Ended is what was ended so far.
func (n *Node) Ended() []Ended {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.ended)
}

// Publish gives an event to all watchers and says how many they are. It
// waits for those who are behind.
func (n *Node) Publish(e lns.Event) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	for w := range n.watchers {
		w <- e
	}
	return len(n.watchers)
}

// Tunnels implements ops.Node.
func (n *Node) Tunnels() []lns.TunnelInfo {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.tunnels)
}

// StopTunnel implements ops.Node.
func (n *Node) StopTunnel(local netip.AddrPort, id uint16, reason string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failing != nil {
		return n.failing
	}
	i := slices.IndexFunc(n.tunnels, func(t lns.TunnelInfo) bool { return t.Local == local && t.ID == id })
	if i < 0 {
		return fmt.Errorf("%w: %d on %v", lns.ErrNoTunnel, id, local)
	}
	n.tunnels = slices.Delete(n.tunnels, i, i+1)
	n.ended = append(n.ended, Ended{Tunnel: id, Detail: reason})
	return nil
}

// Sessions implements ops.Node.
func (n *Node) Sessions(q lns.SessionQuery) (page []lns.SessionInfo, total int, more bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	sorted := slices.SortedFunc(slices.Values(n.sessions), func(a, b lns.SessionInfo) int { return cmp.Compare(a.ID, b.ID) })
	for _, s := range sorted {
		if !selects(&q.Selector, &s) || len(q.States) > 0 && !slices.Contains(q.States, s.State) {
			continue
		}
		total++
		switch {
		case s.ID <= q.After && q.After != "":
		case len(page) == q.Limit:
			more = true
		default:
			page = append(page, s)
		}
	}
	return page, total, more
}

// SessionByID implements ops.Node.
func (n *Node) SessionByID(id string) (lns.SessionInfo, bool) {
	list, _, _ := n.Sessions(lns.SessionQuery{Selector: lns.Selector{ID: id}, Limit: 1})
	if len(list) == 0 {
		return lns.SessionInfo{}, false
	}
	return list[0], true
}

func selects(sel *lns.Selector, s *lns.SessionInfo) bool {
	return (sel.ID == "" || sel.ID == s.ID) && (sel.User == "" || sel.User == s.User) &&
		(sel.Calling == "" || sel.Calling == s.CallingStation) &&
		(!sel.Address.IsValid() || sel.Address == s.Address) && (sel.Profile == "" || sel.Profile == s.Profile) &&
		(!sel.Local.IsValid() || sel.Local == s.Local) && (sel.Tunnel == 0 || sel.Tunnel == s.Tunnel) &&
		(!sel.Peer.IsValid() || sel.Peer == s.Peer.Addr())
}

// Call makes a session that dials, of the profile that c names; there is no way to "south".
func (n *Node) Call(_ context.Context, c lns.OutgoingCall) (string, error) {
	if err := c.Validate(); err != nil {
		return "", err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.failing != nil:
		return "", n.failing
	case !slices.ContainsFunc(n.lacs, func(p lns.LACProfile) bool { return p.Name == c.LAC }):
		return "", fmt.Errorf("%w: %q", lns.ErrNoProfile, c.LAC)
	case c.LAC == "south":
		return "", fmt.Errorf("%w: profile %q has no address to open one to; set its address", lns.ErrNoWay, c.LAC)
	}
	s := lns.SessionInfo{ID: "lns1-00000007-0000ffff", State: "dialling", Profile: c.LAC, CalledStation: c.Number, Outgoing: true}
	n.sessions = append(n.sessions, s)
	return s.ID, nil
}

// RequestSpeed remembers nothing: it fails for sessions that there are not, and those
// whose LAC tells nothing of the line.
func (n *Node) RequestSpeed(id string) error {
	s, ok := n.SessionByID(id)
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.failing != nil:
		return n.failing
	case !ok:
		return fmt.Errorf("%w: %s", lns.ErrNoSession, id)
	case s.Line == nil:
		return lns.ErrNoSpeeds
	}
	return nil
}

// Disconnect implements ops.Node.
func (n *Node) Disconnect(sel lns.Selector, cause aaa.TerminateCause, detail string) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failing != nil {
		return 0, n.failing
	}
	if sel == (lns.Selector{}) {
		return 0, lns.ErrEmptySelector
	}
	before := len(n.sessions)
	n.sessions = slices.DeleteFunc(n.sessions, func(s lns.SessionInfo) bool {
		if !selects(&sel, &s) {
			return false
		}
		n.ended = append(n.ended, Ended{Session: s.ID, Cause: cause, Detail: detail})
		return true
	})
	return before - len(n.sessions), nil
}

// Watch implements ops.Node.
func (n *Node) Watch(ctx context.Context) <-chan lns.Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	ch := make(chan lns.Event, 16)
	n.watchers[ch] = struct{}{}
	context.AfterFunc(ctx, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.watchers, ch)
		close(ch)
	})
	return ch
}

// PutLAC implements ops.Node.
func (n *Node) PutLAC(p lns.LACProfile) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failing != nil {
		return n.failing
	}
	n.lacs = slices.DeleteFunc(n.lacs, func(q lns.LACProfile) bool { return q.Name == p.Name })
	n.lacs = append(n.lacs, p)
	return nil
}

// DeleteLAC implements ops.Node.
func (n *Node) DeleteLAC(name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failing != nil {
		return n.failing
	}
	before := len(n.lacs)
	n.lacs = slices.DeleteFunc(n.lacs, func(q lns.LACProfile) bool { return q.Name == name })
	if len(n.lacs) == before {
		return fmt.Errorf("%w: %q", lns.ErrNoProfile, name)
	}
	return nil
}

// LACs implements ops.Node.
func (n *Node) LACs() []lns.LACProfile {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.lacs)
}

// Status implements ops.Node; tunnels and sessions are counted.
func (n *Node) Status() lns.Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.status
	s.Tunnels = len(n.tunnels)
	for i := range n.sessions {
		if n.sessions[i].State == "up" {
			s.Sessions++
		} else {
			s.SettingUp++
		}
	}
	return s
}

// Drain implements ops.Node.
func (n *Node) Drain(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status.Draining = on
}

// Stats implements ops.Node.
func (n *Node) Stats() lns.Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stats
}

// Watched says whether anybody watches.
func (n *Node) Watched() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.watchers) > 0
}
