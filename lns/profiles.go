package lns

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"

	"culvert/lns/link"
	"culvert/proto/l2tp"
)

// ErrNoProfile says that no LAC profile has that name.
var ErrNoProfile = errors.New("no such LAC profile")

// ErrProfileConflict says that a LAC profile cannot be in force beside another one.
var ErrProfileConflict = errors.New("LAC profiles in each other's way")

// profile is a LACProfile in force, with what is made of it once.
type profile struct {
	LACProfile
	link   link.Config
	tunnel l2tp.TunnelConfig
	line   *regexp.Regexp // LinePattern; nil for none
	// stoodIn: it stands in for one that is gone, whose secret is not known any more.
	stoodIn bool
	// sessions and tunnels count what its LACs have; they outlive a change of the profile.
	use *profileUse
}

// profileUse counts what the LACs of one profile name have, setting up included.
type profileUse struct{ tunnels, sessions atomic.Int64 }

// profileSet holds the profiles in force. Readers (the shards) see an
// immutable snapshot; writers are serialized.
type profileSet struct {
	mu  sync.Mutex
	cur atomic.Pointer[[]*profile]
}

func newProfileSet() *profileSet {
	s := &profileSet{}
	s.cur.Store(&[]*profile{})
	return s
}

// put adds a profile, or replaces the one of its name.
func (s *profileSet) put(p *profile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Clone(*s.cur.Load())
	i := slices.IndexFunc(list, func(q *profile) bool { return q.Name == p.Name })
	if i < 0 {
		p.use = &profileUse{}
		list = append(list, p)
	} else {
		p.use = list[i].use
		list[i] = p
	}
	slices.SortFunc(list, func(a, b *profile) int { return cmp.Compare(a.Name, b.Name) })
	s.cur.Store(&list)
}

// remove takes a profile away; tunnels that it matched live on with what they have.
func (s *profileSet) remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Clone(*s.cur.Load())
	i := slices.IndexFunc(list, func(q *profile) bool { return q.Name == name })
	if i < 0 {
		return fmt.Errorf("%w: %q", ErrNoProfile, name)
	}
	list = slices.Delete(list, i, i+1)
	s.cur.Store(&list)
	return nil
}

// named finds the profile of a name, or nil.
func (s *profileSet) named(name string) *profile {
	list := *s.cur.Load()
	i, ok := slices.BinarySearchFunc(list, name, func(p *profile, name string) int { return cmp.Compare(p.Name, name) })
	if !ok {
		return nil
	}
	return list[i]
}

// matches says whether the profile is one for the LAC.
func (p *profile) matches(src netip.Addr, hostName string) bool {
	_, ok := p.matchSource(src)
	return ok && (len(p.HostNames) == 0 || slices.Contains(p.HostNames, hostName))
}

// match finds the profile for a LAC: source address first, since a host name
// proves nothing, then host name. Nil means that nobody knows this LAC.
func (s *profileSet) match(src netip.Addr, hostName string) *profile {
	var best *profile
	bestBits, bestNamed := -1, false
	for _, p := range *s.cur.Load() {
		named := slices.Contains(p.HostNames, hostName)
		bits, ok := p.matchSource(src)
		if !ok || len(p.HostNames) > 0 && !named {
			continue
		}
		if bits > bestBits || bits == bestBits && named && !bestNamed {
			best, bestBits, bestNamed = p, bits, named
		}
	}
	return best
}

// matchSource gives the length of the longest prefix that holds src, 0 where
// the profile names none.
func (p *profile) matchSource(src netip.Addr) (int, bool) {
	if len(p.Prefixes) == 0 {
		return 0, true
	}
	bits := -1
	for _, x := range p.Prefixes {
		if x.Contains(src) && x.Bits() > bits {
			bits = x.Bits()
		}
	}
	return bits, bits >= 0
}
