package ipsec

import (
	"fmt"
	"net/netip"
	"slices"

	"culvert/lns"
)

// A pre-shared key has owners in charon: identities, not connections. In IKEv2 charon tries every key of which an owner
// matches what the LAC says it is, or what it calls us, and whichever fits lets it in by the connection for its address; in
// IKEv1 it takes one key by the address, before it hears any identity. So which profile's key it was has to follow
// from these names alone. A keyring gives the keys owners that no two share: to a profile with remote_ids those, to
// another its prefixes without the longer ones of others, and without our own addresses. And it says of an SA
// whether another profile's key can have made it, which is true of none that has kept to this.
type keyring struct {
	cfg  *Config
	keys []ringKey
	// index finds a profile's key in keys.
	index map[string]int
	// sole: there is one key only, and it is everybody's.
	sole bool
	own  []netip.Addr
	// used are the profiles that use IPsec, v1 the connections for IKEv1 when they have been asked for.
	used []*lns.LACProfile
	v1   []v1Conn
}

// ringKey is one profile's key.
type ringKey struct {
	profile *lns.LACProfile
	// open: an operator has given it to everybody, with remote_ids: ["%any"].
	open  bool
	names []identity // remote_ids that are no addresses
	spans []span     // addresses, as identities and for IKEv1
	tied  []tie      // addresses that another profile has as much right to
}

// tie is an address range that two keys have the same right to.
type tie struct {
	with *lns.LACProfile
	at   span
}

// newKeyring makes the keyring of profiles, which must stay as they are. own are this node's addresses.
func newKeyring(cfg *Config, profiles []lns.LACProfile, own []netip.Addr) *keyring {
	r := &keyring{cfg: cfg, own: slices.Clone(own), index: map[string]int{}}
	secrets := map[string]bool{}
	for i := range profiles {
		p := &profiles[i]
		if p.IPsecMode() == lns.IPsecNever {
			continue
		}
		r.used = append(r.used, p)
		if p.IPsec.Auth != "psk" {
			continue
		}
		if id := parseIdentity(p.IPsec.LocalID); id.kind == idAddrs {
			r.own = append(r.own, id.span.lo) // as LACs know us beyond a NAT
		}
		secrets[p.IPsec.PSK] = true
		r.index[p.Name] = len(r.keys)
		r.keys = append(r.keys, ringKey{profile: p, open: slices.ContainsFunc(p.IPsec.RemoteIDs, isAnyID)})
	}
	r.sole = len(secrets) < 2
	if !r.sole {
		r.share()
	}
	return r
}

// claim is a profile's right to addresses; the highest rank has it. A weak one is for IKEv1 only: identities that it has
// are names.
type claim struct {
	key  int
	rank int
	weak bool
	span span
}

const (
	rankNamed = 1000 // an address of remote_ids; a prefix has its length
	rankAny   = -1   // all addresses
)

// everywhere is all addresses of either family.
var everywhere = []span{spanOf(netip.MustParsePrefix("0.0.0.0/0")), spanOf(netip.MustParsePrefix("::/0"))}

// claims lists what profiles have a right to, and fills in their names.
func (r *keyring) claims() (list []claim) {
	for i := range r.keys {
		k := &r.keys[i]
		if k.open {
			continue
		}
		s := k.profile.IPsec
		for _, text := range s.RemoteIDs {
			if id := parseIdentity(text); id.kind == idAddrs {
				list = append(list, claim{key: i, rank: rankNamed, span: id.span})
			} else {
				k.names = append(k.names, id)
			}
		}
		if len(s.RemoteIDs) == 0 || s.Version != 2 {
			for _, x := range k.profile.Prefixes {
				list = append(list, claim{key: i, rank: x.Bits(), weak: len(s.RemoteIDs) > 0, span: spanOf(x)})
			}
		}
		if len(s.RemoteIDs)+len(k.profile.Prefixes) == 0 {
			for _, x := range everywhere {
				list = append(list, claim{key: i, rank: rankAny, span: x})
			}
		}
	}
	return list
}

// share gives every key its addresses.
func (r *keyring) share() {
	list := r.claims()
	// Prefixes are inside each other or apart; so those that cut one begin in it. Ranges of remote_ids are few.
	byLow := slices.SortedFunc(slices.Values(list), func(a, b claim) int { return a.span.lo.Compare(b.span.lo) })
	named := slices.DeleteFunc(slices.Clone(list), func(c claim) bool { return c.rank != rankNamed })
	for i := range list {
		c := &list[i]
		k := &r.keys[c.key]
		var cuts []span
		for _, a := range r.own {
			cuts = append(cuts, span{a, a})
		}
		from, _ := slices.BinarySearchFunc(byLow, c.span.lo, func(x claim, a netip.Addr) int { return x.span.lo.Compare(a) })
		inside := byLow[from:]
		if end := slices.IndexFunc(inside, func(x claim) bool { return c.span.hi.Less(x.span.lo) }); end >= 0 {
			inside = inside[:end]
		}
		for _, others := range [][]claim{inside, named} {
			for j := range others {
				cuts = r.cut(k, c, &others[j], cuts)
			}
		}
		k.spans = append(k.spans, c.span.less(cuts)...)
	}
}

// cut adds to cuts what another claim takes of c, and notes where none of them has more right.
func (r *keyring) cut(k *ringKey, c, x *claim, cuts []span) []span {
	other := r.keys[x.key].profile
	switch {
	case !x.span.meets(c.span) || other.IPsec.PSK == k.profile.IPsec.PSK:
	case x.rank > c.rank, x.rank == c.rank && c.weak:
		return append(cuts, x.span)
	case x.rank == c.rank && !x.weak:
		k.tied = append(k.tied, tie{other, c.span})
	}
	return cuts
}

// owners are the identities whose shared key a profile's is, for charon.
func (r *keyring) owners(p *lns.LACProfile) []string {
	k := r.key(p.Name)
	if r.sole || k == nil || k.open {
		return openOwners(p)
	}
	var list []string
	for _, text := range p.IPsec.RemoteIDs {
		if id := parseIdentity(text); id.kind != idAddrs {
			list = append(list, text)
		}
	}
	known := map[span]bool{}
	for _, x := range k.spans {
		if !known[x] {
			known[x] = true
			list = append(list, x.String())
		}
	}
	return list
}

// openOwners are those of a key that nobody else's can be taken for: the only one, or one that is to be everybody's.
// The addresses are for IKEv1, where the closest owner wins.
func openOwners(p *lns.LACProfile) []string {
	list := slices.Clone(p.IPsec.RemoteIDs)
	for _, x := range p.Prefixes {
		list = append(list, prefixText(x))
	}
	if len(p.IPsec.RemoteIDs) > 0 && !slices.ContainsFunc(p.IPsec.RemoteIDs, isAnyID) {
		return list
	}
	if len(p.Prefixes) == 0 {
		list = append(list, "0.0.0.0/0", "::/0")
	}
	return append(list, "%any")
}

// key finds a profile's key.
func (r *keyring) key(profile string) *ringKey {
	i, ok := r.index[profile]
	if !ok {
		return nil
	}
	return &r.keys[i]
}

// owns says whether charon may take a key for that of an identity which it has printed so.
func (k *ringKey) owns(id *shown, kinds map[idKind]bool) bool {
	if k.open || id.isSpan && slices.ContainsFunc(k.spans, id.span.meets) {
		return true
	}
	return slices.ContainsFunc(k.names, func(n identity) bool { return n.may(id, kinds) })
}

// kinds are the kinds that an identity of a profile's LAC can be of: only those of remote_ids that it matches; nil is any.
func (k *ringKey) kinds(id *shown) map[idKind]bool {
	if k.open || len(k.profile.IPsec.RemoteIDs) == 0 {
		return nil
	}
	m := map[idKind]bool{}
	for _, n := range k.names {
		if n.may(id, nil) {
			m[n.kind] = true
		}
	}
	return m
}

// doubt says why it may have been another profile's key that has made an SA; empty where it was its own, or there is
// none to tell. local is the name by which the LAC has called us.
func (r *keyring) doubt(sa *lns.SA, local string) string {
	k := r.key(sa.Profile)
	if r.sole || k == nil {
		return ""
	}
	if sa.IKEVersion == 1 {
		for _, q := range r.candidates(sa.Remote.Addr(), sa.Local.Addr()) {
			if q.rivals(k) {
				return fmt.Sprintf("it came in as a LAC of profile %q, but from its address IKEv1 takes the key of %q, so that it has proved nothing: give the profiles different prefixes, or use ike: ikev2 or certificates", k.profile.Name, q.profile.Name)
			}
		}
		return ""
	}
	id, us := show(sa.Identity), show(local)
	kinds := k.kinds(id)
	for i := range r.keys {
		q := &r.keys[i]
		switch {
		case !q.rivals(k):
		case q.owns(id, kinds):
			return fmt.Sprintf("it came in as a LAC of profile %q, but under the identity '%s' the key of %q is good as well, so that it has not proved to be either: a LAC of %q has to show an identity of its own, see the remote_ids and prefixes of both",
				k.profile.Name, sa.Identity, q.profile.Name, k.profile.Name)
		case q.owns(us, nil):
			return fmt.Sprintf("it came in as a LAC of profile %q, but has called us '%s', and under that name the key of %q is good as well: it has to call us by our address, or as local_id of %q says",
				k.profile.Name, local, q.profile.Name, k.profile.Name)
		}
	}
	return ""
}

// rivals says whether it is another key than the one given, and not everybody's.
func (k *ringKey) rivals(of *ringKey) bool {
	return !k.open && k.profile.IPsec.PSK != of.profile.IPsec.PSK
}

// mend says what to do where a LAC of a profile was refused although it may have the right key: charon did not look for
// that under the identity which it has shown. Empty where that is not so.
func (r *keyring) mend(profile, id string) string {
	k := r.key(profile)
	if r.sole || k == nil || k.open || id == "" || k.owns(show(id), nil) {
		return ""
	}
	what := "none of its remote_ids"
	if len(k.profile.IPsec.RemoteIDs) == 0 {
		what = "not its address as prefixes has it"
		if len(k.profile.Prefixes) == 0 {
			what = "not an address that is no other profile's"
		}
	}
	return fmt.Sprintf("the LAC shows the identity '%s', which is %s, so that the key of profile %q was not tried; add '%s' to its remote_ids, or have the LAC show its address", id, what, profile, id)
}
