package ipsec

import (
	"strings"

	"culvert/lns"
)

// The proposals of a profile that names none. AEAD and elliptic curves are
// first, then AES-CBC with SHA-2; the first one that both sides have is taken. An
// algorithm with authentication and one without cannot be in one proposal.
var (
	defaultIKE = []string{
		"aes256gcm16-aes128gcm16-prfsha384-prfsha256-ecp384-curve25519-ecp256-modp4096-modp3072-modp2048",
		"aes256-aes128-sha384-sha256-ecp384-curve25519-ecp256-modp4096-modp3072-modp2048",
	}
	// With a group in it, charon wants perfect forward secrecy (in IKEv2 from the first rekeying on).
	defaultESP = []string{
		"aes256gcm16-aes128gcm16-chacha20poly1305-ecp384-curve25519-ecp256-modp4096-modp3072-modp2048",
		"aes256-aes128-sha256-sha384-sha512-ecp384-curve25519-ecp256-modp4096-modp3072-modp2048",
	}
	// For peers that make no Diffie-Hellman exchange of their own for ESP.
	noPFSESP = []string{"aes256gcm16-aes128gcm16-chacha20poly1305", "aes256-aes128-sha256-sha384-sha512"}
	// What old LACs have, the better first.
	legacyIKE = []string{"aes256-aes128-sha1-modp2048-modp1536-modp1024", "3des-sha1-modp2048-modp1536-modp1024"}
	legacyESP = []string{"aes256-aes128-sha1", "aes256-aes128-sha1-modp2048-modp1536-modp1024", "3des-sha1", "3des-sha1-modp2048-modp1536-modp1024"}
)

// ikeProposals are those of a profile, the first one first.
func ikeProposals(p *lns.IPsecProfile) []string {
	list := p.IKEProposals
	if len(list) == 0 {
		list = defaultIKE
	}
	if p.Legacy {
		list = append(list[:len(list):len(list)], legacyIKE...)
	}
	return list
}

// espProposals are those of a profile, the first one first.
func espProposals(p *lns.IPsecProfile) []string {
	list := p.ESPProposals
	if len(list) == 0 {
		list = defaultESP
		if p.NoPFS || p.Legacy {
			list = append(list[:len(list):len(list)], noPFSESP...)
		}
	}
	if p.Legacy {
		list = append(list[:len(list):len(list)], legacyESP...)
	}
	return list
}

// weakWords are algorithms that are broken, or too short today.
var weakWords = []string{"null", "des", "3des", "blowfish", "cast128", "md5", "sha1", "sha", "modp768", "modp1024", "modp1536", "ecp192", "modp1024s160"}

// weak lists the weak algorithms that a profile would take.
func weak(p *lns.IPsecProfile) []string {
	var found []string
	seen := map[string]bool{}
	for _, list := range [][]string{ikeProposals(p), espProposals(p)} {
		for _, proposal := range list {
			for _, word := range strings.Split(proposal, "-") {
				for _, w := range weakWords {
					if word == w && !seen[w] {
						seen[w] = true
						found = append(found, w)
					}
				}
			}
		}
	}
	return found
}
