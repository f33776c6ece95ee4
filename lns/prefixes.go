package lns

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"culvert/aaa"
)

// prefixes say which session holds each network behind a subscriber (Framed-Route). The
// plane sends a packet to one session, so a network that two were granted would follow
// whichever came last, and both could send from it. Sessions without any, which are
// nearly all, never come here.
type prefixes struct {
	mu   sync.Mutex
	held map[netip.Prefix]prefixHolder
}

type prefixHolder struct {
	owner uint64
	user  string
}

// acquire takes all networks of the list for a session, or none of them. Those that an
// earlier session of the same subscriber holds change hands, and stale gives the owner numbers of such
// sessions, which have to end. The error is errOutdated where a later one of the same subscriber has
// one, and aaa.ErrAddressInUse where somebody else has.
func (p *prefixes) acquire(list []netip.Prefix, user string, owner uint64) (stale []uint64, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range list {
		switch h, ok := p.held[n.Masked()]; {
		case !ok || h.owner == owner:
		case h.user != user:
			return nil, fmt.Errorf("%w: network %v is routed to %q, session number %d; one of the two has a wrong Framed-Route", aaa.ErrAddressInUse, n, h.user, h.owner)
		case h.owner > owner:
			return nil, fmt.Errorf("network %v: %w", n, errOutdated)
		default:
			stale = append(stale, h.owner)
		}
	}
	if p.held == nil {
		p.held = make(map[netip.Prefix]prefixHolder)
	}
	for _, n := range list {
		p.held[n.Masked()] = prefixHolder{owner, user}
	}
	return stale, nil
}

// release gives back what of the list is still the session's.
func (p *prefixes) release(list []netip.Prefix, owner uint64) {
	if len(list) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range list {
		if p.held[n.Masked()].owner == owner {
			delete(p.held, n.Masked())
		}
	}
}

// len is how many networks are held.
func (p *prefixes) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.held)
}

// routes are the networks that the session was granted.
func (s *session) routes() []netip.Prefix {
	if s.terms == nil {
		return nil
	}
	return s.terms.routes
}

// routed takes the networks of a grant, which replace those of an earlier one.
func (sh *shard) routed(s *session, g *aaa.Grant) error {
	if had := s.routes(); len(had) > 0 {
		sh.srv.prefixes.release(had, s.owner)
		// Whatever follows, they are not this session's any more.
		t := *s.terms
		t.routes = nil
		s.terms = &t
	}
	return sh.route(s, g.Routes)
}

// route takes networks for a session from the same subscriber's earlier ones, which end.
func (sh *shard) route(s *session, list []netip.Prefix) error {
	stale, err := sh.srv.prefixes.acquire(list, s.who.User, s.owner)
	for _, owner := range stale {
		sh.replace(owner)
	}
	return err
}

// refused is the cause of the end of a session that cannot have what it was granted.
func refused(err error) Cause {
	switch {
	case errors.Is(err, errOutdated):
		return CauseReplaced
	case errors.Is(err, aaa.ErrAddressInUse):
		return CauseAddressInUse
	}
	return CauseNoAddress
}
