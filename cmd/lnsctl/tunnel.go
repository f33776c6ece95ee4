package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	culvertv1 "culvert/proto/culvert/v1"
)

type tunnelCommands struct {
	List tunnelList `cmd:"" help:"List tunnels."`
	Show tunnelShow `cmd:"" help:"Show one tunnel in detail."`
	Stop tunnelStop `cmd:"" help:"End a tunnel and all its sessions."`
}

// parseTunnel reads "17" or "192.0.2.1:1701/17".
func parseTunnel(s string) (*culvertv1.TunnelRef, error) {
	local, id, found := strings.Cut(s, "/")
	if !found {
		local, id = "", s
	}
	n, err := strconv.ParseUint(id, 10, 16)
	if err != nil || n == 0 || found && local == "" {
		return nil, usagef("%q is not a tunnel; write its id, e.g. 17, or 192.0.2.1:1701/17", s)
	}
	return &culvertv1.TunnelRef{Local: local, Id: uint32(n)}, nil
}

type tunnelList struct {
	LAC   string `name:"lac" placeholder:"NAME" help:"Only those of this LAC profile."`
	Peer  string `placeholder:"ADDRESS" help:"Only those of the LAC with this IP address."`
	Limit int    `short:"n" placeholder:"N" help:"Print at most so many."`
}

// Help has examples.
func (*tunnelList) Help() string {
	return `Examples:
  lnsctl tunnel list
  lnsctl tunnel list --lac north -o wide`
}

// Run lists tunnels, page by page.
func (l *tunnelList) Run(a *app) error {
	if l.Limit < 0 {
		return usagef("--limit: %d is negative", l.Limit)
	}
	req := &culvertv1.ListTunnelsRequest{Lac: l.LAC, Peer: l.Peer}
	var rows []*culvertv1.Tunnel
	var total uint32
	err := a.pages(l.Limit, func(ctx context.Context, c *client, size uint32) (string, int, error) {
		req.PageSize = size
		resp, err := c.tunnels().ListTunnels(ctx, req)
		if err != nil {
			return "", 0, err
		}
		rows = append(rows, resp.GetTunnels()...)
		if total == 0 {
			total = resp.GetTotalSize()
		}
		req.PageToken = resp.GetNextPageToken()
		return req.PageToken, len(rows), nil
	})
	if err != nil {
		return err
	}
	if err := printList(a, "tunnels", rows, tunnelColumns(a)); err != nil {
		return err
	}
	return a.cutNote(len(rows), total, "tunnels")
}

func tunnelColumns(a *app) []column[*culvertv1.Tunnel] {
	type t = *culvertv1.Tunnel
	return []column[t]{
		{title: "TUNNEL", value: func(x t) string { return fmt.Sprintf("%s/%d", x.GetLocal(), x.GetId()) }},
		{title: "LAC", value: t.GetLac},
		{title: "LAC-NAME", value: t.GetPeerName},
		{title: "LAC-ADDRESS", value: t.GetPeer},
		{title: "STATE", value: func(x t) string { return tunnelState(x) }},
		{title: "IPSEC", value: func(x t) string { return tunnelProtection(x) }},
		{title: "AGE", right: true, value: func(x t) string { return a.age(x.GetSince()) }},
		{title: "SESSIONS", right: true, value: func(x t) string { return number(x.GetSessions()) }},
		{title: "RETRANS", right: true, value: func(x t) string { return number(x.GetRetransmissions()) }},
		{title: "LAC-ID", wide: true, right: true, value: func(x t) string { return number(x.GetPeerId()) }},
		{title: "NS", wide: true, right: true, value: func(x t) string { return number(x.GetNs()) }},
		{title: "NR", wide: true, right: true, value: func(x t) string { return number(x.GetNr()) }},
		{title: "WINDOW", wide: true, right: true, value: func(x t) string { return number(x.GetWindow()) }},
		{title: "VENDOR", wide: true, value: t.GetPeerVendor},
	}
}

func tunnelState(t *culvertv1.Tunnel) string { return word(t.GetState().String(), "TUNNEL_STATE_") }

type tunnelShow struct {
	Tunnel string `arg:"" help:"The tunnel: its id, or LOCAL/ID as the list shows it."`
}

// Help has examples.
func (*tunnelShow) Help() string {
	return `Examples:
  lnsctl tunnel show 17
  lnsctl tunnel show 192.0.2.1:1701/17`
}

// Run shows a tunnel.
func (s *tunnelShow) Run(a *app) error {
	ref, err := parseTunnel(s.Tunnel)
	if err != nil {
		return err
	}
	return a.call(func(ctx context.Context, c *client) error {
		resp, err := c.tunnels().GetTunnel(ctx, &culvertv1.GetTunnelRequest{Tunnel: ref})
		if err != nil {
			return err
		}
		return printOne(a, resp.GetTunnel(), func() []fact { return tunnelFacts(a, resp.GetTunnel()) })
	})
}

func tunnelFacts(a *app, t *culvertv1.Tunnel) []fact {
	facts := []fact{
		{"Tunnel", fmt.Sprintf("%d on %s, the LAC's %d", t.GetId(), t.GetLocal(), t.GetPeerId())},
		{"LAC", fmt.Sprintf("%s, %q at %s", t.GetLac(), t.GetPeerName(), t.GetPeer())},
		{"Vendor", t.GetPeerVendor()},
		{"State", tunnelState(t)},
		{"Age", a.since(t.GetSince())},
		{"Sessions", grouped(uint64(t.GetSessions()))},
		{"Ns, Nr", fmt.Sprintf("%d, %d", t.GetNs(), t.GetNr())},
		{"LAC's window", count(t.GetWindow(), "message")},
		{"Retransmitted", count(t.GetRetransmissions(), "message")},
	}
	facts = append(facts, fact{"Failover", tunnelFailover(t.GetFailover())})
	if f := t.GetFailed(); f != nil {
		facts = append(facts, fact{"Last failure", tunnelFailed(a, f)})
	}
	return append(facts, saFacts(a, t)...)
}

// tunnelFailover says what was negotiated of RFC 4951.
func tunnelFailover(f *culvertv1.TunnelFailover) string {
	words := "not negotiated"
	switch {
	case f.GetControl() && f.GetData():
		words = "negotiated, control and data channels"
	case f.GetControl():
		words = "negotiated, control channel"
	case f.GetData():
		words = "negotiated, data channels; a failure is silent"
	}
	if d := f.GetRecoveryTime().AsDuration(); d > 0 {
		words += fmt.Sprintf("; the LAC is waited for %s", d)
	}
	return words
}

// tunnelFailed says how a tunnel has lived on after its latest failure.
func tunnelFailed(a *app, f *culvertv1.TunnelFailed) string {
	words := map[culvertv1.TunnelFailureKind]string{
		culvertv1.TunnelFailureKind_TUNNEL_FAILURE_KIND_SILENT:     "silent: the LAC was told nothing",
		culvertv1.TunnelFailureKind_TUNNEL_FAILURE_KIND_RECOVERING: "being recovered by RFC 4951",
		culvertv1.TunnelFailureKind_TUNNEL_FAILURE_KIND_RECOVERED:  "recovered by RFC 4951",
		culvertv1.TunnelFailureKind_TUNNEL_FAILURE_KIND_PEER:       "the LAC failed, and recovered the tunnel by RFC 4951",
	}[f.GetKind()]
	if f.GetAsked() > 0 {
		words += fmt.Sprintf("; %s compared, %s not known to the LAC", count(f.GetAsked(), "session"), grouped(uint64(f.GetCleared())))
	}
	if f.GetUnsure() > 0 {
		words += fmt.Sprintf(", %s not answered for yet", grouped(uint64(f.GetUnsure())))
	}
	if f.GetAt() != nil {
		words += ", " + a.age(f.GetAt()) + " ago"
	}
	return words
}

type tunnelStop struct {
	Tunnel string `arg:"" help:"The tunnel: its id, or LOCAL/ID as the list shows it."`
	Reason string `help:"A short text for the LAC and the log."`
	Yes    bool   `short:"y" help:"Do not ask when the tunnel has several sessions."`
}

// Help has examples.
func (*tunnelStop) Help() string {
	return `Sends StopCCN and ends the tunnel's sessions; the LAC may open it again at once. To
keep a LAC out, change or remove its profile first. Examples:
  lnsctl tunnel stop 17
  lnsctl tunnel stop 192.0.2.1:1701/17 --yes --reason "moving to lns2"`
}

// Run stops a tunnel.
func (s *tunnelStop) Run(a *app) error {
	ref, err := parseTunnel(s.Tunnel)
	if err != nil {
		return err
	}
	var t *culvertv1.Tunnel
	err = a.call(func(ctx context.Context, c *client) error {
		resp, err := c.tunnels().GetTunnel(ctx, &culvertv1.GetTunnelRequest{Tunnel: ref})
		t = resp.GetTunnel()
		return err
	})
	if err != nil {
		return err
	}
	if t.GetSessions() > 1 && !s.Yes {
		if err := a.confirm(fmt.Sprintf("Stop tunnel %d of %s with %s?", t.GetId(), t.GetLac(), count(t.GetSessions(), "session"))); err != nil {
			return err
		}
	}
	return a.call(func(ctx context.Context, c *client) error {
		req := &culvertv1.StopTunnelRequest{Tunnel: &culvertv1.TunnelRef{Local: t.GetLocal(), Id: t.GetId()}, Reason: s.Reason}
		resp, err := c.tunnels().StopTunnel(ctx, req)
		if err != nil {
			return err
		}
		if a.Output == "json" {
			return printOne(a, resp.GetTunnel(), nil)
		}
		_, err = fmt.Fprintf(a.out, "tunnel %d stopped, with %s\n", t.GetId(), count(resp.GetTunnel().GetSessions(), "session"))
		return err
	})
}
