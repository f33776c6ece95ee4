package ipsec

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"culvert/lns"
	"culvert/lns/ipsec/vici"
)

// neededPlugins are those of charon without which no LAC comes in; harmfulPlugins
// undo what we rely on.
var (
	neededPlugins  = []string{"kernel-netlink", "socket-default", "vici", "nonce"}
	harmfulPlugins = map[string]string{
		"bypass-lan":      "lets neighbours of this host in without IPsec",
		"connmark":        "sets marks of its own, which takes those that tell SAs apart",
		"kernel-libipsec": "does ESP outside of the kernel, without transport mode",
	}
)

// fewThreads is too few for a mass redial: some wait for the kernel, some for a certificate's CRL.
const fewThreads = 16

// Advise says what deserves an operator's attention before the start, in sentences: weak
// algorithms, profiles that charon cannot tell apart, and a charon that is too small, or lacks plugins
// or has some that do harm. None of it keeps lnsd from starting.
func Advise(ctx context.Context, cfg Config, profiles []lns.LACProfile) []string {
	cfg = cfg.withDefaults()
	var list, vague []string
	for i := range profiles {
		p := &profiles[i]
		if p.IPsecMode() == lns.IPsecNever {
			continue
		}
		if w := weak(p.IPsec); len(w) > 0 {
			list = append(list, fmt.Sprintf("LAC profile %q takes weak algorithms (%s); leave them out as soon as its LACs can do better", p.Name, strings.Join(w, " ")))
		}
		if len(p.IPsec.PSK) > 0 && len(p.IPsec.PSK) < 16 {
			list = append(list, fmt.Sprintf("LAC profile %q has a pre-shared key of %d characters, which can be guessed from one captured exchange; make one with openssl rand -base64 36", p.Name, len(p.IPsec.PSK)))
		}
		if p.IPsec.Auth == "psk" && len(p.IPsec.RemoteIDs)+len(p.Prefixes) == 0 {
			vague = append(vague, p.Name)
		}
		if p.IPsecMode() == lns.IPsecRequired && p.IPsec.ReplayWindow == 0 {
			list = append(list, fmt.Sprintf("LAC profile %q has replay protection off", p.Name))
		}
		if p.IPsec.DPDDelay == 0 {
			list = append(list, fmt.Sprintf("LAC profile %q does not look for dead peers (dpd_delay: 0s); only L2TP's HELLO ends their tunnels", p.Name))
		}
	}
	if len(vague) > 1 {
		list = append(list, fmt.Sprintf("LAC profiles %s match any source with a pre-shared key and no remote_ids: charon tries the key of one of them only", strings.Join(vague, ", ")))
	}
	if w := cfg.warnMixed(profiles); w != "" {
		list = append(list, w)
	}
	if w := warnExchanged(profiles); w != "" {
		list = append(list, w)
	}
	return append(list, adviseCharon(ctx, cfg)...)
}

// warnExchanged names LAC profiles that other profiles' LACs could come in as. In IKEv2 charon tries every key that may
// be the one of the identity that it is told; where a profile has no remote_ids that is told freely, so that any
// profile's key does. What is left between them is the source address. Empty where all is well.
func warnExchanged(profiles []lns.LACProfile) string {
	var open []string
	keys := map[string]bool{}
	for i := range profiles {
		p := &profiles[i]
		if p.IPsecMode() == lns.IPsecNever || p.IPsec.Auth != "psk" {
			continue
		}
		keys[p.IPsec.PSK] = true
		if p.IPsec.Version != 1 && len(p.IPsec.RemoteIDs) == 0 {
			open = append(open, p.Name)
		}
	}
	if len(open) == 0 || len(keys) < 2 {
		return ""
	}
	return fmt.Sprintf("LAC profiles with a pre-shared key and no remote_ids (%s): with IKEv2, who knows any other profile's key and sends from their addresses comes in as their LAC; give every profile with a key its remote_ids, or use certificates",
		strings.Join(open, ", "))
}

// warnMixed names LAC profiles whose key charon may not find in IKEv1. There it has to choose the key before it knows who
// calls, and it begins with connections that have an identity of ours: those with certificates always do,
// whether the LAC has one or not. Empty where all is well.
func (c *Config) warnMixed(profiles []lns.LACProfile) string {
	var certs, keys []string
	distinct := map[string]bool{}
	for i := range profiles {
		p := &profiles[i]
		if p.IPsecMode() == lns.IPsecNever || p.IPsec.Version == 2 {
			continue
		}
		switch {
		case p.IPsec.Auth == "psk":
			distinct[p.IPsec.PSK] = true
			if len(p.Prefixes) > 0 && !c.paired(p) {
				keys = append(keys, p.Name)
			}
		case len(p.Prefixes) == 0:
			certs = append(certs, p.Name)
		}
	}
	if len(certs) == 0 || len(keys) == 0 || len(distinct) < 2 {
		return ""
	}
	return fmt.Sprintf("with IKEv1, LACs of %s may be tried with another profile's key, because %s with certificates match any source: write ike: ikev2 where it can be, or give the profiles with keys both a local_id (this node's address) and remote_ids (the LAC's address)",
		strings.Join(keys, ", "), strings.Join(certs, ", "))
}

func adviseCharon(ctx context.Context, cfg Config) []string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := vici.Dial(ctx, cfg.Socket)
	if err != nil {
		return nil // whoever asks knows that already
	}
	defer c.Close()
	s, err := c.Call(ctx, "stats", nil)
	if err != nil {
		return []string{fmt.Sprintf("charon at %s: %v", cfg.Socket, err)}
	}
	var list []string
	plugins := s.GetList("plugins")
	for _, p := range neededPlugins {
		if !slices.Contains(plugins, p) {
			list = append(list, fmt.Sprintf("charon has no plugin %s, without which no LAC comes in; load it", p))
		}
	}
	for _, p := range plugins {
		if why := harmfulPlugins[p]; why != "" {
			list = append(list, fmt.Sprintf("charon's plugin %s %s; do not load it", p, why))
		}
	}
	if n := number(s.GetSub("workers").Get("total")); n < fewThreads {
		list = append(list, fmt.Sprintf("charon has %d threads; %d and more are wanted (charon-systemd.threads, see ops/strongswan/culvert.conf)", n, fewThreads))
	}
	return list
}

// paired says whether all LACs of a profile have a connection with an identity at both ends.
func (c *Config) paired(p *lns.LACProfile) bool {
	ids := c.remoteIDs(p)
	if len(p.IPsec.RemoteIDs) > 0 {
		return c.localID(p, ids[0]) != ""
	}
	return len(ids) == len(p.Prefixes)+1 // that for any identity
}
