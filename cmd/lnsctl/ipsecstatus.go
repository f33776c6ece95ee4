package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	culvertv1 "culvert/proto/culvert/v1"
)

type ipsecCommands struct {
	Show     ipsecShow     `cmd:"" help:"Show how the key exchange is, and which LACs are protected."`
	List     ipsecList     `cmd:"" help:"List SAs, those without a tunnel too."`
	Failures ipsecFailures `cmd:"" help:"List which LACs could not set up an SA, and why."`
	Rekey    ipsecRekey    `cmd:"" help:"Have an SA get new keys now."`
	Stop     ipsecStop     `cmd:"" help:"End an SA, and the tunnels in it."`
}

type ipsecShow struct{}

// Run shows the key exchange.
func (ipsecShow) Run(a *app) error {
	return a.call(func(ctx context.Context, c *client) error {
		resp, err := c.ipsec().GetIPsecStatus(ctx, &culvertv1.GetIPsecStatusRequest{})
		if err != nil {
			return err
		}
		s := resp.GetStatus()
		if a.Output == "json" {
			return printOne(a, s, nil)
		}
		if err := printFacts(a.out, ipsecFacts(s)); err != nil {
			return err
		}
		fmt.Fprintln(a.out)
		return printList(a, "LAC profiles with IPsec", s.GetLacs(), ipsecLACColumns())
	})
}

func ipsecFacts(s *culvertv1.IPsecStatus) []fact {
	daemon := "there, version " + s.GetVersion()
	if !s.GetConnected() {
		daemon = "AWAY: no LAC can set up an SA, those that have one go on; systemctl start strongswan"
	}
	return []fact{
		{"strongSwan", daemon},
		{"New keys", grouped(s.GetRekeyings()) + " times"},
		{"SAs gone", tally(s.GetEnds())},
		{"Failures", tally(s.GetFailures())},
	}
}

// tally writes counts by word, those that are 0 left out.
func tally(m map[string]uint64) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if m[k] > 0 {
			parts = append(parts, grouped(m[k])+" "+k)
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func ipsecLACColumns() []column[*culvertv1.IPsecLAC] {
	type l = *culvertv1.IPsecLAC
	return []column[l]{
		{title: "LAC", value: l.GetName},
		{title: "MODE", value: l.GetMode},
		{title: "SAS", right: true, value: func(x l) string { return number(x.GetSas()) }},
		{title: "TUNNELS-IN-CLEAR", right: true, value: func(x l) string { return number(x.GetInClear()) }},
	}
}

type ipsecList struct {
	LAC   string `name:"lac" placeholder:"NAME" help:"Only those of this LAC profile."`
	Peer  string `placeholder:"ADDRESS" help:"Only those of this IP address."`
	Limit int    `short:"n" placeholder:"N" help:"Print at most so many."`
}

// Help has examples.
func (*ipsecList) Help() string {
	return `A LAC with an SA and no tunnel: IKE works, and L2TP does not come through it. Examples:
  lnsctl ipsec list --peer 198.51.100.7
  lnsctl ipsec list --lac north -o wide`
}

// Run lists SAs, page by page.
func (l *ipsecList) Run(a *app) error {
	if l.Limit < 0 {
		return usagef("--limit: %d is negative", l.Limit)
	}
	req := &culvertv1.ListSAsRequest{Lac: l.LAC, Peer: l.Peer}
	var rows []*culvertv1.SecurityAssociation
	var total uint32
	err := a.pages(l.Limit, func(ctx context.Context, c *client, size uint32) (string, int, error) {
		req.PageSize = size
		resp, err := c.ipsec().ListSAs(ctx, req)
		if err != nil {
			return "", 0, err
		}
		rows = append(rows, resp.GetSas()...)
		if total == 0 {
			total = resp.GetTotalSize()
		}
		req.PageToken = resp.GetNextPageToken()
		return req.PageToken, len(rows), nil
	})
	if err != nil {
		return err
	}
	if err := printList(a, "SAs", rows, saColumns(a)); err != nil {
		return err
	}
	return a.cutNote(len(rows), total, "SAs")
}

func saColumns(a *app) []column[*culvertv1.SecurityAssociation] {
	type s = *culvertv1.SecurityAssociation
	return []column[s]{
		{title: "MARK", right: true, value: func(x s) string { return number(x.GetSa().GetMark()) }},
		{title: "LAC", value: s.GetLac},
		{title: "IDENTITY", value: func(x s) string { return x.GetSa().GetIdentity() }},
		{title: "ADDRESS", value: func(x s) string { return x.GetSa().GetRemote() }},
		{title: "IKE", value: func(x s) string { return fmt.Sprintf("v%d", x.GetSa().GetIkeVersion()) }},
		{title: "ESP", value: func(x s) string { return x.GetSa().GetAlgorithms() }},
		{title: "NAT-T", value: func(x s) string { return map[bool]string{true: "yes", false: "no"}[x.GetSa().GetEncapsulated()] }},
		{title: "AGE", right: true, value: func(x s) string { return a.age(x.GetSa().GetSince()) }},
		{title: "TUNNELS", right: true, value: func(x s) string { return number(x.GetTunnels()) }},
		{title: "IKE-ID", wide: true, right: true, value: func(x s) string { return number(x.GetSa().GetIkeId()) }},
		{title: "CHILD-ID", wide: true, right: true, value: func(x s) string { return number(x.GetSa().GetChildId()) }},
	}
}

type ipsecRekey struct {
	Mark uint32 `arg:"" help:"The SA's mark, as the list shows it."`
}

// Run renews the keys.
func (r *ipsecRekey) Run(a *app) error {
	return a.call(func(ctx context.Context, c *client) error {
		resp, err := c.ipsec().RekeySA(ctx, &culvertv1.RekeySARequest{Mark: r.Mark})
		if err != nil {
			return err
		}
		if a.Output == "json" {
			return printOne(a, resp.GetSa(), nil)
		}
		_, err = fmt.Fprintf(a.out, "the SA of %s gets new keys\n", clean(resp.GetSa().GetSa().GetIdentity()))
		return err
	})
}

type ipsecStop struct {
	Mark   uint32 `arg:"" help:"The SA's mark, as the list shows it."`
	Reason string `help:"A short text for the log."`
	Yes    bool   `short:"y" help:"Do not ask."`
}

// Run ends an SA.
func (s *ipsecStop) Run(a *app) error {
	if !s.Yes {
		if err := a.confirm(fmt.Sprintf("End the SA with mark %d, and the tunnels in it?", s.Mark)); err != nil {
			return err
		}
	}
	return a.call(func(ctx context.Context, c *client) error {
		resp, err := c.ipsec().StopSA(ctx, &culvertv1.StopSARequest{Mark: s.Mark, Reason: s.Reason})
		if err != nil {
			return err
		}
		x := resp.GetSa()
		if a.Output == "json" {
			return printOne(a, x, nil)
		}
		_, err = fmt.Fprintf(a.out, "the SA of %s ends, with %s\n", clean(x.GetSa().GetIdentity()), count(x.GetTunnels(), "tunnel"))
		return err
	})
}

type ipsecFailures struct {
	LAC  string `name:"lac" placeholder:"NAME" help:"Only those of this LAC profile."`
	Peer string `placeholder:"ADDRESS" help:"Only those of this IP address."`
}

// Help has examples.
func (*ipsecFailures) Help() string {
	return `What LACs failed with before they had a tunnel, the latest first: proposals that do not meet,
keys that differ, certificates that do not hold. Since the node's start, the last 512 of
different address, identity or reason. Examples:
  lnsctl ipsec failures --peer 198.51.100.7
  lnsctl ipsec failures -o json | jq -r '.[] | select(.reason == "no-proposal").detail'`
}

// Run lists failures.
func (f *ipsecFailures) Run(a *app) error {
	return a.call(func(ctx context.Context, c *client) error {
		resp, err := c.ipsec().ListIKEFailures(ctx, &culvertv1.ListIKEFailuresRequest{Lac: f.LAC, Peer: f.Peer})
		if err != nil {
			return err
		}
		return printList(a, "failures", resp.GetFailures(), failureColumns(a))
	})
}

func failureColumns(a *app) []column[*culvertv1.IKEFailure] {
	type f = *culvertv1.IKEFailure
	return []column[f]{
		{title: "LAST", right: true, value: func(x f) string { return a.age(x.GetLast()) }},
		{title: "TIMES", right: true, value: func(x f) string { return number(x.GetCount()) }},
		{title: "FIRST", wide: true, right: true, value: func(x f) string { return a.age(x.GetFirst()) }},
		{title: "ADDRESS", value: f.GetRemote},
		{title: "LAC", value: f.GetLac},
		{title: "IDENTITY", value: f.GetIdentity},
		{title: "REASON", value: f.GetReason},
		{title: "WHAT TO DO", value: f.GetDetail},
	}
}
