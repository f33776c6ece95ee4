package main

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/fieldmaskpb"

	culvertv1 "culvert/proto/culvert/v1"
)

type lacCommands struct {
	List   lacList   `cmd:"" help:"List LAC profiles."`
	Show   lacShow   `cmd:"" help:"Show one LAC profile in detail."`
	Add    lacAdd    `cmd:"" help:"Add a LAC profile."`
	Change lacChange `cmd:"" help:"Change a LAC profile."`
	Remove lacRemove `cmd:"" help:"Remove a LAC profile."`
}

type lacList struct{}

// Run lists profiles.
func (lacList) Run(a *app) error {
	return a.call(func(ctx context.Context, c *client) error {
		resp, err := c.lacs().ListLACs(ctx, &culvertv1.ListLACsRequest{})
		if err != nil {
			return err
		}
		return printList(a, "LAC profiles", resp.GetLacs(), lacColumns())
	})
}

func lacColumns() []column[*culvertv1.LAC] {
	type l = *culvertv1.LAC
	return []column[l]{
		{title: "NAME", value: l.GetName},
		{title: "PREFIXES", value: func(x l) string { return anyOf(x.GetPrefixes(), ",") }},
		{title: "HOST-NAMES", value: func(x l) string { return anyOf(x.GetHostNames(), ",") }},
		{title: "SECRET", value: func(x l) string { return yesNo(x.GetHasSecret()) }},
		{title: "IPSEC", value: func(x l) string { return ipsecMode(x) }},
		{title: "TUNNELS", right: true, value: func(x l) string { return number(x.GetTunnels()) }},
		{title: "SESSIONS", right: true, value: func(x l) string { return number(x.GetSessions()) }},
		{title: "LOCAL-NAME", wide: true, value: l.GetLocalName},
		{title: "AUTH", wide: true, value: func(x l) string { return methodWords(x, ",") }},
		{title: "PROXY", wide: true, value: func(x l) string { return word(x.GetProxy().String(), "PROXY_POLICY_") }},
		{title: "HELLO", wide: true, right: true, value: func(x l) string { return limit(x.GetHello(), "off") }},
		{title: "ECHO", wide: true, right: true, value: func(x l) string { return limit(x.GetEchoInterval(), "off") }},
		{title: "MRU", wide: true, right: true, value: func(x l) string { return number(x.GetMru()) }},
		{title: "WINDOW", wide: true, right: true, value: func(x l) string { return number(x.GetWindow()) }},
		{title: "BUSY", wide: true, right: true, value: func(x l) string { return number(x.GetBusyResult()) }},
		{title: "MAX-TUNNELS", wide: true, right: true, value: func(x l) string { return orNone(x.GetMaxTunnels()) }},
		{title: "MAX-SESSIONS", wide: true, right: true, value: func(x l) string { return orNone(x.GetMaxSessions()) }},
	}
}

// anyOf is a list that matches anything when it is empty.
func anyOf(list []string, separator string) string {
	if len(list) == 0 {
		return "any"
	}
	return strings.Join(list, separator)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func methodWords(l *culvertv1.LAC, separator string) string {
	words := make([]string, len(l.GetAuth()))
	for i, m := range l.GetAuth() {
		words[i] = methodWord(m)
	}
	return strings.Join(words, separator)
}

type lacShow struct {
	Name string `arg:"" help:"The profile's name."`
}

// Run shows a profile.
func (s *lacShow) Run(a *app) error {
	return a.call(func(ctx context.Context, c *client) error {
		resp, err := c.lacs().GetLAC(ctx, &culvertv1.GetLACRequest{Name: s.Name})
		if err != nil {
			return err
		}
		return printOne(a, resp.GetLac(), func() []fact { return lacFacts(resp.GetLac()) })
	})
}

func lacFacts(l *culvertv1.LAC) []fact {
	echo := limit(l.GetEchoInterval(), "off")
	if l.GetEchoInterval().AsDuration() != 0 {
		echo = fmt.Sprintf("every %s, %s end a session", echo, count(l.GetEchoFailures(), "failure"))
	}
	facts := []fact{
		{"Name", l.GetName()},
		{"Prefixes", anyOf(l.GetPrefixes(), ", ")},
		{"Host names", anyOf(l.GetHostNames(), ", ")},
		{"Secret", map[bool]string{true: "set", false: "none: tunnels are not authenticated"}[l.GetHasSecret()]},
		{"Local name", l.GetLocalName()},
		{"Authentication", methodWords(l, ", ")},
		{"Proxy", proxyWords[l.GetProxy()]},
		{"MRU", number(l.GetMru()) + " octets"},
		{"LCP echo", echo},
		{"Hello", limit(l.GetHello(), "off")},
		{"Window", count(l.GetWindow(), "message")},
		{"Busy result", number(l.GetBusyResult())},
		{"Unknown AVPs", map[bool]string{true: "mandatory ones of other vendors are skipped", false: "mandatory ones are refused"}[l.GetAcceptUnknownMandatory()]},
		{"Floating peer", yesNo(l.GetFloatPeer())},
		{"Outgoing calls", outgoingWords(l)},
		{"Pool by group", yesNo(l.GetPoolByGroup())},
		{"Hidden AVPs", map[bool]string{true: "sent and read", false: "read, not sent"}[l.GetHideAvps()]},
		{"Line pattern", l.GetLinePattern()},
		{"DF", map[bool]string{true: "ignored: what is too large is fragmented", false: "heeded: senders are told what is too large"}[l.GetIgnoreDf()]},
		{"Sequencing", sequencingWords(l)},
		{"Failover", failoverWords(l)},
		{"Tunnels", used(l.GetTunnels(), l.GetMaxTunnels())},
		{"Sessions", used(l.GetSessions(), l.GetMaxSessions())},
	}
	return append(facts, lacIPsecFacts(l)...)
}

// proxyWords say what the policies do.
var proxyWords = map[culvertv1.ProxyPolicy]string{
	culvertv1.ProxyPolicy_PROXY_POLICY_ON_MISMATCH: "on-mismatch: what does not fit is negotiated anew",
	culvertv1.ProxyPolicy_PROXY_POLICY_ACCEPT:      "accept: a larger MRU and compression are lived with",
	culvertv1.ProxyPolicy_PROXY_POLICY_STRICT:      "strict: a call whose proxy does not fit is ended",
	culvertv1.ProxyPolicy_PROXY_POLICY_ALWAYS:      "always: all is negotiated anew",
}

// outgoingWords say through which tunnels outgoing calls go.
func outgoingWords(l *culvertv1.LAC) string {
	if l.GetAddress() == "" {
		return "in tunnels that the LAC opens"
	}
	return "in tunnels that the LAC opens, or one opened to " + l.GetAddress()
}

// sequencingWords say when data messages are numbered, and whether missing ones are waited for.
func sequencingWords(l *culvertv1.LAC) string {
	words := map[culvertv1.DataSequencing]string{
		culvertv1.DataSequencing_DATA_SEQUENCING_NEGOTIATION: "until PPP is up",
		culvertv1.DataSequencing_DATA_SEQUENCING_ALWAYS:      "always",
	}[l.GetSequencing()]
	if words == "" {
		words = "where the LAC requires it"
	}
	if n := l.GetReorderPackets(); n > 0 {
		words += fmt.Sprintf("; %s or %s wait for a missing one", count(n, "packet"), l.GetReorderTime().AsDuration())
	}
	return words
}

// failoverWords say how tunnels live on after a failure of the node.
func failoverWords(l *culvertv1.LAC) string {
	wait := fmt.Sprintf("; the LAC is asked to wait %s", limit(l.GetRecoveryTime(), "no longer"))
	switch l.GetFailover() {
	case culvertv1.FailoverMode_FAILOVER_MODE_NEVER:
		return "silent"
	case culvertv1.FailoverMode_FAILOVER_MODE_ALWAYS:
		return "by RFC 4951 where the LAC offers it" + wait
	}
	return "by RFC 4951 where the LAC offers it and sequence numbers may have drifted, else silent" + wait
}

// used is a number and its bound.
func used(n, most uint32) string {
	if most == 0 {
		return grouped(uint64(n))
	}
	return fmt.Sprintf("%s of at most %s", grouped(uint64(n)), grouped(uint64(most)))
}

type lacAdd struct {
	Name string `arg:"" help:"The profile's name: letters, digits, \"-\", \"_\", \".\"."`
	lacFlags
}

// Help has examples.
func (*lacAdd) Help() string {
	return `What is not given gets the node's defaults. The profile holds for tunnels that open
from now on. Examples:
  lnsctl lac add north --prefix 198.51.100.0/24 --secret-file north.secret
  lnsctl lac add south --prefix 203.0.113.9 --host-name lac-s1 --hello 30s --auth chap --auth pap`
}

// Run adds a profile.
func (s *lacAdd) Run(a *app) error {
	l, _, err := s.proto(a)
	if err != nil {
		return err
	}
	l.Name = s.Name
	return a.call(func(ctx context.Context, c *client) error {
		resp, err := c.lacs().AddLAC(ctx, &culvertv1.AddLACRequest{Lac: l})
		if err != nil {
			return err
		}
		s.warn(a, resp.GetLac())
		return a.did(resp.GetLac(), "added")
	})
}

// warn tells what may not be meant.
func (*lacAdd) warn(a *app, l *culvertv1.LAC) {
	if len(l.GetPrefixes()) == 0 && len(l.GetHostNames()) == 0 {
		fmt.Fprintf(a.errOut, "note: %s has neither prefix nor host name, so it matches every LAC that no other profile does\n", l.GetName())
	}
	if !l.GetHasSecret() {
		fmt.Fprintf(a.errOut, "note: %s has no secret, so its tunnels are not authenticated\n", l.GetName())
	}
}

type lacChange struct {
	Name string `arg:"" help:"The profile's name."`
	lacFlags
	Reset []string `placeholder:"FIELD" help:"Put a field back to the node's default, by its name in the API, e.g. hello, prefixes or secret."`
}

// Help has examples.
func (*lacChange) Help() string {
	return `Changes what is given and leaves the rest. Lists are replaced as a whole. The change
holds for tunnels that open from now on. Examples:
  lnsctl lac change north --hello 30s --max-sessions 20000
  lnsctl lac change north --secret-file - < new.secret
  lnsctl lac change north --reset host_names`
}

// Run changes a profile.
func (s *lacChange) Run(a *app) error {
	l, mask, err := s.proto(a)
	if err != nil {
		return err
	}
	l.Name = s.Name
	mask = append(mask, s.Reset...)
	if len(mask) == 0 {
		return usagef("say what to change, e.g. --hello 30s")
	}
	return a.call(func(ctx context.Context, c *client) error {
		resp, err := c.lacs().ChangeLAC(ctx, &culvertv1.ChangeLACRequest{Lac: l, UpdateMask: &fieldmaskpb.FieldMask{Paths: mask}})
		if err != nil {
			return err
		}
		return a.did(resp.GetLac(), "changed")
	})
}

// did prints what was done to a profile, or the profile as JSON.
func (a *app) did(l *culvertv1.LAC, what string) error {
	if a.Output == "json" {
		return printOne(a, l, nil)
	}
	_, err := fmt.Fprintf(a.out, "LAC profile %s %s\n", l.GetName(), what)
	return err
}

type lacRemove struct {
	Name string `arg:"" help:"The profile's name."`
}

// Help explains.
func (*lacRemove) Help() string {
	return `Its LACs can open no further tunnels. SAs of IPsec end, and the tunnels in them; tunnels in clear stay
until they are stopped ("lnsctl tunnel list --lac NAME", "lnsctl tunnel stop").`
}

// Run removes a profile.
func (s *lacRemove) Run(a *app) error {
	return a.call(func(ctx context.Context, c *client) error {
		if _, err := c.lacs().RemoveLAC(ctx, &culvertv1.RemoveLACRequest{Name: s.Name}); err != nil {
			return err
		}
		_, err := fmt.Fprintf(a.out, "LAC profile %s removed\n", s.Name)
		return err
	})
}
