package ipsec

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"culvert/lns"
	"culvert/lns/ipsec/vici"
)

// refused says whether an IKE SA, or a CHILD_SA of it, that has just come must not be used, because another profile's key may
// have made it. Its mark is then nobody's, so that nothing that comes through it is taken, and the IKE SA ends.
func (m *Manager) refused(sa *lns.SA, localID string) bool {
	m.learn(sa.Local.Addr())
	why := m.ring.doubt(sa, localID)
	if why == "" {
		return false
	}
	m.tab.bury(sa.Mark)
	m.doubtful = append(m.doubtful, sa.IKEID)
	if t := m.ikes.trace(time.Since(m.began), sa.IKEID); !t.failed {
		t.failed = true
		m.tellFailure(&lns.IKEFailure{
			Reason: lns.IKEAuthFailed, Remote: netip.AddrPortFrom(sa.Remote.Addr(), 0), Profile: sa.Profile, Identity: sa.Identity, Detail: why,
		})
	}
	return true
}

// endDoubtful ends the IKE SAs that were refused.
func (s *session) endDoubtful(ctx context.Context) error {
	list := s.m.doubtful
	s.m.doubtful = nil
	for _, id := range slices.Compact(list) {
		var args vici.Section
		args.Set("ike-id", fmt.Sprint(id))
		args.Set("timeout", "-1")
		_, err := s.call(ctx, "terminate", args)
		if refusal(err) && strings.Contains(err.Error(), "no matching SAs") {
			continue // it has ended by itself
		}
		if err := s.tolerate("an SA that was refused was not ended; nothing that comes through it is taken", err, "ike_id", id); err != nil {
			return err
		}
	}
	return nil
}

// ownAddrs are this node's addresses that LACs may call: those of the configuration, or where that takes all, those that
// the host has and those that SAs have told of.
func (m *Manager) ownAddrs() []netip.Addr {
	list := m.cfg.named()
	if len(m.cfg.localAddrs()) > 0 {
		return list
	}
	have, _ := net.InterfaceAddrs() // without them, SAs tell
	for _, a := range have {
		if n, ok := a.(*net.IPNet); ok {
			if x, ok := netip.AddrFromSlice(n.IP); ok {
				list = append(list, x.Unmap())
			}
		}
	}
	return append(list, m.learned...)
}

// learn notes an address of ours that the host had not when the keys were given their owners, and has them given anew: until
// then a key may be good for everybody who calls us by that address.
func (m *Manager) learn(a netip.Addr) {
	if m.ring.sole || !a.IsValid() || len(m.cfg.localAddrs()) > 0 || slices.Contains(m.ring.own, a) || slices.Contains(m.learned, a) {
		return
	}
	m.learned = append(m.learned, a)
	m.mu.Lock()
	m.changed = true
	m.mu.Unlock()
	m.signal()
}

// mendKey makes a failure's words better where it was not the key that was wrong, but the identity. The line has it too: charon
// may hand over the one that says it first only after this one.
func (m *Manager) mendKey(f *lns.IKEFailure, line string) {
	if f.Reason != lns.IKEAuthFailed || !strings.HasPrefix(line, "tried ") && !strings.HasPrefix(line, "no shared key found for '") {
		return
	}
	if f.Identity == "" {
		f.Identity = lacOf(line)
	}
	if mend := m.ring.mend(f.Profile, f.Identity); mend != "" {
		f.Detail = mend
	}
}

// lacOf is the LAC's identity in a line about the key of 'us' - 'it'; empty where it has none.
func lacOf(line string) string {
	_, rest, _ := strings.Cut(line, "' - '")
	id, _, _ := strings.Cut(rest, "'")
	if id == "%any" {
		return ""
	}
	return id
}

// warnKeys says once what of the profiles' keys deserves an operator's attention, and gives what is wrong with profiles.
func (m *Manager) warnKeys() map[string]error {
	wrong := map[string]error{}
	said := map[string]bool{}
	say := func(log func(string, ...any), text string) {
		if !m.warned[text] {
			log(text)
		}
		said[text] = true
	}
	for _, c := range m.ring.conflicts() {
		say(m.cfg.Log.Error, c.Err.Error()+"; until then SAs that may be of either are refused")
		wrong[c.Profiles[0]] = c.Err
	}
	for _, w := range m.ring.warnings() {
		say(m.cfg.Log.Warn, w)
	}
	m.warnPeers(said)
	m.warned = said
	return wrong
}

// fewPeers is how many LACs are named that will not come back; of more only the number is told.
const fewPeers = 10

// warnPeers names LACs that are up by IKEv2 under an identity that their key is no longer good for, now that there are others.
func (m *Manager) warnPeers(said map[string]bool) {
	news := 0
	for _, p := range m.tab.peers {
		mend := m.ring.mend(p.sa.Profile, p.sa.Identity)
		if mend == "" || p.sa.IKEVersion == 1 {
			continue
		}
		said[mend] = true
		if m.warned[mend] {
			continue
		}
		if news++; news <= fewPeers {
			m.cfg.Log.Warn("a LAC that is up now will not come back as it is: "+mend, saKeys(&p.sa)...)
		}
	}
	if news > fewPeers {
		m.cfg.Log.Warn("more LACs that are up now will not come back as they are, for the same reason", "lacs", news-fewPeers)
	}
}

// warnings are about keys that work, but may not be meant so: those that an operator has given to everybody, and LACs whose
// IKEv1 is tried with another profile's key.
func (r *keyring) warnings() (list []string) {
	if r.sole {
		return nil
	}
	var open, mixed []string
	for i := range r.keys {
		k := &r.keys[i]
		if k.open {
			open = append(open, k.profile.Name)
		} else if others := r.mixed(k); len(others) > 0 {
			mixed = append(mixed, fmt.Sprintf("%s (that of %s)", k.profile.Name, strings.Join(others, ", ")))
		}
	}
	if len(open) > 0 {
		list = append(list, fmt.Sprintf(`LAC profiles with remote_ids "%%any" and a pre-shared key (%s): who knows that key and sends from the addresses of any other profile with a key may come in as its LAC; leave the remote_ids out, or name identities`, strings.Join(open, ", ")))
	}
	if len(mixed) > 0 {
		list = append(list, fmt.Sprintf("with IKEv1, LACs of these profiles may be tried with another profile's key, and are refused then: %s; give the profiles different prefixes, or write ike: ikev2 where it can be, or use certificates", strings.Join(mixed, "; ")))
	}
	return list
}

// mixed names the profiles whose keys charon may take for a LAC of a profile that calls by IKEv1.
func (r *keyring) mixed(k *ringKey) []string {
	if k.profile.IPsec.Version == 2 {
		return nil
	}
	others := map[string]bool{}
	for _, a := range r.samples(k) {
		for _, q := range r.candidates(a, netip.Addr{}) {
			if q.rivals(k) {
				others[q.profile.Name] = true
			}
		}
	}
	var list []string
	for name := range others {
		list = append(list, name)
	}
	sort.Strings(list)
	return list
}

// samples are addresses that a profile's LACs may call from: one in each prefix, where no longer one of others is; and where it
// has none, one that is in nobody's.
func (r *keyring) samples(k *ringKey) (list []netip.Addr) {
	for _, x := range k.profile.Prefixes {
		at := x.Addr()
		for _, s := range k.spans {
			if s.meets(spanOf(x)) {
				at = s.lo
				break
			}
		}
		list = append(list, at)
	}
	if len(k.profile.Prefixes) > 0 {
		return list
	}
	var all []span
	for _, p := range r.used {
		for _, x := range p.Prefixes {
			all = append(all, spanOf(x))
		}
	}
	for _, s := range everywhere {
		if left := s.less(all); len(left) > 0 {
			list = append(list, left[len(left)-1].hi)
		}
	}
	return list
}
