package ipsec

import (
	"slices"
	"strings"

	"culvert/lns"
)

// In IKEv1 a transform is a whole suite, and charon that begins puts the first algorithm of each kind of a proposal into
// it, nothing else (what it answers to is compared with all of them). So where we call a LAC in IKEv1, every combination
// becomes a proposal of its own.

// offeredIKE are the proposals for IKE of a connection.
func offeredIKE(p *lns.IPsecProfile) []string {
	if !p.Initiate || p.Version != 1 {
		return ikeProposals(p)
	}
	var list []string
	for _, s := range ikeProposals(p) {
		if k, ok := kinds(s); ok && !k.aead { // IKEv1 itself knows no such cipher
			list = append(list, k.combinations(k.groups)...)
		}
	}
	if len(list) == 0 {
		return ikeProposals(p) // words of the operator's own, which charon may understand
	}
	return list
}

// offeredESP are those for ESP. A quick mode begins with the public value of one group, the first.
func offeredESP(p *lns.IPsecProfile) []string {
	all := espProposals(p)
	if !p.Initiate || p.Version != 1 {
		return all
	}
	var list []string
	first := ""
	for _, s := range all {
		k, ok := kinds(s)
		if !ok {
			return all
		}
		if len(k.groups) > 0 && first == "" {
			first = k.groups[0]
		}
		switch {
		case len(k.groups) == 0:
			list = append(list, k.combinations(nil)...)
		case slices.Contains(k.groups, first):
			list = append(list, k.combinations([]string{first})...)
		}
	}
	return list
}

// suite is a proposal by kinds of algorithms.
type suite struct {
	ciphers, checks, prfs, groups []string
	aead                          bool
}

// kinds tells a proposal's words apart; not ok where one is not known here.
func kinds(proposal string) (k suite, ok bool) {
	for _, w := range strings.Split(proposal, "-") {
		is := func(prefixes ...string) bool {
			return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(w, p) })
		}
		switch {
		case is("prf"):
			k.prfs = append(k.prfs, w)
		case is("modp", "ecp", "curve", "x25519", "x448"):
			k.groups = append(k.groups, w)
		case is("aesxcbc", "aescmac", "sha", "md5"):
			k.checks = append(k.checks, w)
		case is("aes", "3des", "camellia", "chacha20poly1305"):
			k.ciphers = append(k.ciphers, w)
			k.aead = k.aead || strings.Contains(w, "gcm") || strings.Contains(w, "ccm") || is("chacha")
		default:
			return suite{}, false
		}
	}
	return k, len(k.ciphers) > 0
}

// combinations are all suites with one algorithm of each kind, the better groups first.
func (k *suite) combinations(groups []string) []string {
	list := []string{""}
	for _, of := range [][]string{groups, k.ciphers, k.checks, k.prfs} {
		if len(of) == 0 {
			continue
		}
		var longer []string
		for _, s := range list {
			for _, w := range of {
				longer = append(longer, s+"-"+w)
			}
		}
		list = longer
	}
	for i, s := range list {
		list[i] = s[1:]
	}
	return list
}
