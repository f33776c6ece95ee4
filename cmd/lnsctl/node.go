package main

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"

	culvertv1 "culvert/proto/culvert/v1"
)

// version is set by the linker; without it, the module's is used.
var version string

type statusCommand struct{}

// Run shows the status.
func (statusCommand) Run(a *app) error {
	return a.call(func(ctx context.Context, c *client) error {
		resp, err := c.node().GetStatus(ctx, &culvertv1.GetStatusRequest{})
		if err != nil {
			return err
		}
		return printOne(a, resp.GetStatus(), func() []fact { return statusFacts(a, resp.GetStatus()) })
	})
}

func statusFacts(a *app, s *culvertv1.Status) []fact {
	state := "ready"
	if !s.GetReady() {
		state = "not ready"
	}
	facts := []fact{
		{"Node", s.GetNode()},
		{"State", state},
	}
	for _, r := range s.GetNotReady() {
		facts = append(facts, fact{"", "- " + r})
	}
	for _, w := range s.GetWarnings() {
		facts = append(facts, fact{"Warning", w})
	}
	return append(facts,
		fact{"Version", s.GetVersion()},
		fact{"Up", a.since(s.GetStarted())},
		fact{"Epoch", number(s.GetEpoch())},
		fact{"Tunnels", grouped(uint64(s.GetTunnels()))},
		fact{"Sessions", grouped(uint64(s.GetSessions()))},
		fact{"Setting up", grouped(uint64(s.GetSettingUp()))},
		fact{"Listeners", strings.Join(s.GetListeners(), ", ")},
		fact{"Data plane", fmt.Sprintf("%s, %s", s.GetPlane(), count(s.GetShards(), "shard"))},
	)
}

type drainCommand struct {
	To string `placeholder:"NODE" help:"Move the node's addresses, with their tunnels and sessions, to another node of the cluster."`
}

// Help explains.
func (drainCommand) Help() string {
	return `New tunnels and calls are refused with the busy result of their LAC's profile, so
that the LAC tries another LNS. Sessions that are up stay until they end. To move them:
  lnsctl drain
  lnsctl session disconnect --lac north --yes
  lnsctl status

In a cluster, --to moves the node's addresses to another node, with all that is up
on them; subscribers notice nothing. It ends with an error when one cannot go:
  lnsctl node drain --to lns2`
}

// Run drains.
func (d drainCommand) Run(a *app) error {
	if d.To != "" {
		return a.move(d.To)
	}
	return a.call(func(ctx context.Context, c *client) error {
		resp, err := c.node().Drain(ctx, &culvertv1.DrainRequest{})
		if err != nil {
			return err
		}
		s := resp.GetStatus()
		return a.said(s, fmt.Sprintf("%s is draining; %s and %s are still up",
			s.GetNode(), count(s.GetTunnels(), "tunnel"), count(s.GetSessions(), "session")))
	})
}

type undrainCommand struct{}

// Run ends draining.
func (undrainCommand) Run(a *app) error {
	return a.call(func(ctx context.Context, c *client) error {
		resp, err := c.node().Undrain(ctx, &culvertv1.UndrainRequest{})
		if err != nil {
			return err
		}
		s := resp.GetStatus()
		if !s.GetReady() {
			return a.said(s, fmt.Sprintf("%s is not draining any more, but not ready: %s", s.GetNode(), strings.Join(s.GetNotReady(), "; ")))
		}
		return a.said(s, s.GetNode()+" takes new tunnels and calls")
	})
}

// said prints one sentence, or the status as JSON.
func (a *app) said(s *culvertv1.Status, sentence string) error {
	if a.Output == "json" {
		return printOne(a, s, nil)
	}
	_, err := fmt.Fprintln(a.out, clean(sentence))
	return err
}

type versionCommand struct {
	Client bool `help:"Do not ask the node."`
}

// Run shows versions. A node that does not answer has none, which is no failure.
func (v versionCommand) Run(a *app) error {
	var node *culvertv1.Status
	var err error
	if !v.Client {
		err = a.call(func(ctx context.Context, c *client) error {
			resp, err := c.node().GetStatus(ctx, &culvertv1.GetStatusRequest{})
			node = resp.GetStatus()
			return err
		})
	}
	if err != nil {
		fmt.Fprintf(a.errOut, "lnsd: %s\n", clean(err.Error()))
	}
	if a.Output == "json" {
		b, err := json.Marshal(map[string]string{"lnsctl": ownVersion(), "lnsd": node.GetVersion()})
		if err != nil {
			return err
		}
		return writeJSON(a.out, b)
	}
	fmt.Fprintf(a.out, "lnsctl %s\n", ownVersion())
	if node != nil {
		fmt.Fprintf(a.out, "lnsd   %s on %s\n", clean(node.GetVersion()), clean(node.GetNode()))
	}
	return nil
}

func ownVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
