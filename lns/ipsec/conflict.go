package ipsec

import (
	"fmt"
	"net/netip"
	"slices"

	"culvert/lns"
)

// Conflict is what keeps two LAC profiles with pre-shared keys from being told apart: both keys would be good under one
// identity, so that neither says whose LAC it is.
type Conflict struct {
	// Profiles are the names of both, the later one first.
	Profiles [2]string
	Err      error
}

// Conflicts lists the profiles that must not be in force together, in the order of the profiles. The SAs of those that are
// nevertheless are refused where it cannot be told whose they are.
func Conflicts(cfg Config, profiles []lns.LACProfile) []Conflict {
	return newKeyring(&cfg, profiles, cfg.named()).conflicts()
}

// named are our addresses as far as the configuration says them.
func (c *Config) named() (list []netip.Addr) {
	for _, a := range c.Listen {
		if !a.Addr().IsUnspecified() && !slices.Contains(list, a.Addr().Unmap()) {
			list = append(list, a.Addr().Unmap())
		}
	}
	return list
}

// called are the addresses that LACs call; none where that is any.
func (c *Config) called() []netip.Addr {
	if c.localAddrs() == nil {
		return nil
	}
	return c.named()
}

// Check implements lns.IPsec: why a profile cannot be in force beside others.
func (m *Manager) Check(p lns.LACProfile, others []lns.LACProfile) error {
	list := slices.DeleteFunc(slices.Clone(others), func(x lns.LACProfile) bool { return x.Name == p.Name })
	for _, c := range Conflicts(m.cfg, append(list, p)) {
		if slices.Contains(c.Profiles[:], p.Name) {
			return c.Err
		}
	}
	return nil
}

// eachOwn is the end of most mends.
const eachOwn = "; give each remote_ids of its own, or both the same key, or use certificates"

func (r *keyring) conflicts() (list []Conflict) {
	if r.sole {
		return nil
	}
	told := map[[2]string]bool{}
	add := func(p, q *lns.LACProfile, format string, args ...any) {
		pair := [2]string{p.Name, q.Name}
		if told[pair] || told[[2]string{q.Name, p.Name}] {
			return
		}
		told[pair] = true
		list = append(list, Conflict{pair, fmt.Errorf("LAC profiles %q and %q have different pre-shared keys, but "+format, append([]any{p.Name, q.Name}, args...)...)})
	}
	// From the last to the first, so that the later one of two is complained of.
	for i := len(r.keys) - 1; i >= 0; i-- {
		k := &r.keys[i]
		for _, t := range k.tied {
			if t.at == everywhere[0] || t.at == everywhere[1] {
				add(k.profile, t.with, `both are for any source and identity: give all but one prefixes or remote_ids, or use certificates (remote_ids: ["%%any"] in one gives its key to everybody, who then comes in as anybody's LAC)`)
			} else {
				add(k.profile, t.with, "both take LACs that show the address %v"+eachOwn, t.at)
			}
		}
	}
	r.sameNames(add)
	r.ourNames(add)
	slices.Reverse(list)
	return list
}

// sameNames finds patterns of remote_ids that meet.
func (r *keyring) sameNames(add func(p, q *lns.LACProfile, format string, args ...any)) {
	type owned struct {
		k  *ringKey
		id *identity
	}
	type exact struct {
		kind idKind
		text string
	}
	known, wild := map[exact]*ringKey{}, []owned(nil)
	meet := func(k, q *ringKey, id *identity) {
		if k.rivals(q) {
			add(k.profile, q.profile, "a LAC that shows the identity '%s' may be of either"+eachOwn, id)
		}
	}
	for i := range r.keys {
		k := &r.keys[i]
		for j := range k.names {
			id := &k.names[j]
			key := exact{id.kind, id.text}
			if q := known[key]; q != nil && !id.wild {
				meet(k, q, id)
			} else if !id.wild {
				known[key] = k
			}
			if id.wild || id.kind == idDN || id.kind == idOther {
				wild = append(wild, owned{k, id})
			}
		}
	}
	for _, w := range wild {
		for i := range r.keys {
			k := &r.keys[i]
			for j := range k.names {
				if k != w.k && k.names[j].overlaps(w.id) {
					meet(k, w.k, &k.names[j])
				}
			}
		}
	}
}

// ourNames finds patterns that hold a name of ours: whoever calls us by that may have either key.
func (r *keyring) ourNames(add func(p, q *lns.LACProfile, format string, args ...any)) {
	asked := map[string]bool{}
	for i := range r.keys {
		p := r.keys[i].profile
		if s := p.IPsec.LocalID; s != "" && !asked[s] {
			asked[s] = true
			id := parseIdentity(s)
			for j := range r.keys {
				if k := &r.keys[j]; k.rivals(&r.keys[i]) && slices.ContainsFunc(k.names, func(n identity) bool { return n.overlaps(&id) }) {
					add(k.profile, p, "the remote_ids of the first hold '%s', which is our own name (local_id) to the second; take it out of them", s)
				}
			}
		}
	}
}

// String is the identity as it was written, about.
func (p *identity) String() string {
	if p.wild {
		return "*" + p.text
	}
	return p.text
}
