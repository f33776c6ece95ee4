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
	var list []string
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
		if p.IPsecMode() == lns.IPsecRequired && p.IPsec.ReplayWindow == 0 {
			list = append(list, fmt.Sprintf("LAC profile %q has replay protection off", p.Name))
		}
		if p.IPsec.DPDDelay == 0 {
			list = append(list, fmt.Sprintf("LAC profile %q does not look for dead peers (dpd_delay: 0s); only L2TP's HELLO ends their tunnels", p.Name))
		}
	}
	list = append(list, newKeyring(&cfg, profiles, cfg.named()).warnings()...)
	return append(list, adviseCharon(ctx, cfg)...)
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
