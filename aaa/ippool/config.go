package ippool

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Config is what Pools are made of.
type Config struct {
	// Default names the pool that Acquire("") takes from; the first pool when empty.
	Default string
	Pools   []Pool
	// Remember is how many released addresses of a pool at least stay
	// reserved in memory for their last user, where the pool is that large;
	// zero is DefaultRemember.
	Remember int
}

// DefaultRemember is Config.Remember's default.
const DefaultRemember = 1 << 18

// Pool is one named set of IPv4 addresses. No address may be in two pools.
type Pool struct {
	Name string
	// Ranges are the pool's addresses, Exclude those of them not to hand out
	// unless a subscriber is given just that one.
	Ranges, Exclude []Range
	// SkipEdges keeps the first and last address of every range of four or more
	// addresses from being handed out. It is off by default: subscribers are on
	// point-to-point links, so a /24 has 256 usable addresses.
	SkipEdges bool
}

// Range is the addresses from First to Last, both included.
type Range struct {
	First, Last netip.Addr
}

// Prefix gives the range of all addresses of an IPv4 prefix.
func Prefix(p netip.Prefix) Range {
	p = p.Masked()
	first := p.Addr()
	if !first.Is4() {
		return Range{First: first, Last: first}
	}
	last := number(first) | uint32(uint64(1)<<(32-p.Bits())-1)
	return Range{First: first, Last: address(last)}
}

// ParseRange reads "192.0.2.0/24", "192.0.2.10-192.0.2.20" or "192.0.2.7".
func ParseRange(s string) (Range, error) {
	for i := range s {
		switch s[i] {
		case '/':
			p, err := netip.ParsePrefix(s)
			if err != nil || !p.Addr().Is4() {
				return Range{}, fmt.Errorf("ippool: %q is not an IPv4 prefix such as 192.0.2.0/24", s)
			}
			return Prefix(p), nil
		case '-':
			first, err1 := netip.ParseAddr(s[:i])
			last, err2 := netip.ParseAddr(s[i+1:])
			r := Range{first, last}
			if err := errors.Join(err1, err2); err != nil {
				return Range{}, fmt.Errorf("ippool: %q is not a range such as 192.0.2.10-192.0.2.20: %w", s, err)
			}
			return r, r.validate()
		}
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return Range{}, fmt.Errorf("ippool: %q is not an address, a prefix or a range: %w", s, err)
	}
	r := Range{a, a}
	return r, r.validate()
}

// String gives the range as First-Last.
func (r Range) String() string { return r.First.String() + "-" + r.Last.String() }

func (r Range) validate() error {
	if !r.First.Is4() || !r.Last.Is4() {
		return fmt.Errorf("ippool: range %s is not IPv4", r)
	}
	if r.Last.Less(r.First) {
		return fmt.Errorf("ippool: range %s ends before it begins", r)
	}
	return nil
}

// Validate says what is wrong with the configuration and what would be right.
func (c *Config) Validate() error {
	_, err := c.compile()
	return err
}

// span is a run of a pool's addresses; base is the index of the first.
type span struct {
	first, last uint32
	pool        int
	base        uint32
}

// compile gives every pool's spans, sorted by address over all pools.
func (c *Config) compile() ([]span, error) {
	var all []span
	seen := map[string]bool{}
	for i := range c.Pools {
		p := &c.Pools[i]
		if p.Name == "" || seen[p.Name] {
			return nil, fmt.Errorf("ippool: pool %d needs a name of its own, not %q", i+1, p.Name)
		}
		seen[p.Name] = true
		spans, err := p.compile(i)
		if err != nil {
			return nil, fmt.Errorf("ippool: pool %s: %w", p.Name, err)
		}
		all = append(all, spans...)
	}
	if c.Default != "" && !seen[c.Default] {
		return nil, fmt.Errorf("ippool: default pool %q does not exist", c.Default)
	}
	if c.Remember < 0 {
		return nil, errors.New("ippool: remember must not be negative")
	}
	slices.SortFunc(all, bySpan)
	for i := 1; i < len(all); i++ {
		if all[i].first <= all[i-1].last {
			return nil, fmt.Errorf("ippool: address %s is in pools %s and %s; an address may be in one only",
				address(all[i].first), c.Pools[all[i-1].pool].Name, c.Pools[all[i].pool].Name)
		}
	}
	return all, nil
}

// compile gives the pool's spans without the excluded addresses, in address order.
func (p *Pool) compile(pool int) ([]span, error) {
	var spans []span
	for _, r := range p.Ranges {
		if err := r.validate(); err != nil {
			return nil, err
		}
		s := span{first: number(r.First), last: number(r.Last), pool: pool}
		if p.SkipEdges && s.last-s.first >= 3 {
			s.first, s.last = s.first+1, s.last-1
		}
		spans = append(spans, s)
	}
	slices.SortFunc(spans, bySpan)
	for i := 1; i < len(spans); i++ {
		if spans[i].first <= spans[i-1].last {
			return nil, fmt.Errorf("address %s is given twice", address(spans[i].first))
		}
	}
	for _, x := range p.Exclude {
		if err := x.validate(); err != nil {
			return nil, err
		}
		spans = exclude(spans, number(x.First), number(x.Last))
	}
	total := uint64(0)
	for i := range spans {
		spans[i].base = uint32(total)
		total += uint64(spans[i].last-spans[i].first) + 1
	}
	if total == 0 {
		return nil, errors.New("has no address to hand out; give it a range such as 192.0.2.0/24")
	}
	if total > maxPool {
		return nil, fmt.Errorf("has %d addresses; at most %d (a /8) are possible", total, maxPool)
	}
	return spans, nil
}

// exclude cuts first to last out of the spans.
func exclude(spans []span, first, last uint32) []span {
	var out []span
	for _, s := range spans {
		if last < s.first || first > s.last {
			out = append(out, s)
			continue
		}
		if first > s.first {
			out = append(out, span{first: s.first, last: first - 1, pool: s.pool})
		}
		if last < s.last {
			out = append(out, span{first: last + 1, last: s.last, pool: s.pool})
		}
	}
	return out
}

func bySpan(a, b span) int {
	switch {
	case a.first < b.first:
		return -1
	case a.first > b.first:
		return 1
	}
	return 0
}
