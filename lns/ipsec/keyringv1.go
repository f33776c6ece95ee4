package ipsec

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"culvert/lns"
)

// v1Conn is a connection that takes IKEv1, as far as charon looks at it when it chooses a key.
type v1Conn struct {
	prefixes []netip.Prefix // of its LACs; none is any
	ids      [2]identity    // the LACs', which may be a pattern, and ours
}

// addV1 notes a profile's connections for IKEv1 that have an identity of ours; charon passes the others over.
func (r *keyring) addV1(p *lns.LACProfile) {
	s := p.IPsec
	if s.Version == 2 || s.Auth != "psk" && s.Auth != "cert" {
		return
	}
	for _, id := range r.cfg.remoteIDs(p) {
		local := r.cfg.localID(p, id)
		if s.Auth == "cert" && local == "" {
			local = subject(s.Certificate)
		}
		if local != "" {
			r.v1 = append(r.v1, v1Conn{p.Prefixes, [2]identity{parseIdentity(id), parseIdentity(local)}})
		}
	}
}

// subject is how charon prints whose certificate it is, near enough.
func subject(certificate string) string {
	var errs []error
	list := certificates("certificate", certificate, &errs)
	if len(list) == 0 {
		return "CN=?"
	}
	var parts []string
	for _, n := range list[0].Subject.Names {
		parts = append(parts, fmt.Sprintf("%v=%v", n.Type, n.Value))
	}
	return strings.Join(parts, ", ")
}

// closeness is how well a connection fits an address, by charon's rules: 0 not at all, the longer the prefix the better.
func (c *v1Conn) closeness(a netip.Addr) int {
	if len(c.prefixes) == 0 {
		return 1
	}
	best := 0
	for _, x := range c.prefixes {
		switch {
		case !x.Contains(a):
		case x.IsSingleIP():
			best = 129
		default:
			best = max(best, x.Bits()+1)
		}
	}
	return best
}

// candidates are the keys that charon may take for a main mode from an address: by the identities of the connections for it
// that have both, the closest first, and where no key is found so, by the addresses.
func (r *keyring) candidates(remote, local netip.Addr) []*ringKey {
	if r.v1 == nil {
		for _, p := range r.used {
			r.addV1(p)
		}
	}
	closest, found := 0, []*ringKey(nil)
	for i := range r.v1 {
		c := &r.v1[i]
		near := c.closeness(remote)
		if near == 0 || near < closest {
			continue
		}
		var keys []*ringKey
		for j := range r.keys {
			if k := &r.keys[j]; k.ownsPattern(&c.ids[0]) || k.ownsPattern(&c.ids[1]) {
				keys = append(keys, k)
			}
		}
		if len(keys) == 0 {
			continue
		}
		if near > closest {
			closest, found = near, nil
		}
		found = append(found, keys...)
	}
	if len(found) > 0 {
		return found
	}
	from, to := show(remote.String()), show(local.String())
	for j := range r.keys {
		if k := &r.keys[j]; k.owns(from, nil) || k.owns(to, nil) {
			found = append(found, k)
		}
	}
	return found
}

// ownsPattern says whether charon may take a key for that of a connection's identity.
func (k *ringKey) ownsPattern(id *identity) bool {
	switch {
	case k.open:
		return true
	case id.kind == idAny:
		return false // only %any is an owner of it
	case id.kind == idAddrs:
		return slices.ContainsFunc(k.spans, id.span.meets)
	}
	return slices.ContainsFunc(k.names, func(n identity) bool { return n.overlaps(id) })
}
