package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	culvertv1 "culvert/proto/culvert/v1"
)

type clusterCommands struct {
	Status clusterStatus `cmd:"" help:"Show the nodes, their leases, and which address is whose."`
}

type nodeCommands struct {
	Status   statusCommand   `cmd:"" hidden:"" help:"Show how the node is (as lnsctl status)."`
	Drain    drainCommand    `cmd:"" help:"Refuse new tunnels and calls; with --to, move what is up to another node."`
	Undrain  undrainCommand  `cmd:"" help:"Take new tunnels and calls again."`
	Shutdown shutdownCommand `cmd:"" help:"End lnsd; its tunnels and sessions go on with the next start, or end with it."`
}

type clusterStatus struct{}

// Run shows the cluster as the node sees it.
func (clusterStatus) Run(a *app) error {
	return a.call(func(ctx context.Context, c *client) error {
		resp, err := c.cluster().GetClusterStatus(ctx, &culvertv1.GetClusterStatusRequest{})
		if err != nil {
			return err
		}
		s := resp.GetStatus()
		if a.Output == "json" {
			return printOne(a, s, nil)
		}
		fmt.Fprintln(a.out, clean(clusterSentence(s)))
		fmt.Fprintln(a.out)
		if err := printList(a, "nodes", s.GetNodes(), clusterNodeColumns(s)); err != nil {
			return err
		}
		fmt.Fprintln(a.out)
		return printList(a, "service addresses", s.GetAddresses(), serviceAddressColumns())
	})
}

// clusterSentence says how the node that was asked stands.
func clusterSentence(s *culvertv1.ClusterStatus) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: lease %s, others' promises %s", s.GetNode(), left(s.GetLease()), left(s.GetPromise()))
	if s.GetPromise() == nil {
		b.WriteString("not needed")
	}
	if s.GetStopped() {
		b.WriteString("; STOPPED: it answers for nothing")
	}
	if s.GetDraining() {
		b.WriteString("; draining")
	}
	if s.GetDatabase() != "" {
		fmt.Fprintf(&b, "; the database has not answered for %s: %s", seconds(s.GetAge()), s.GetDatabase())
	}
	return b.String()
}

func left(d *durationpb.Duration) string {
	if d == nil {
		return ""
	}
	if d.AsDuration() <= 0 {
		return "none"
	}
	return "for " + seconds(d)
}

func seconds(d *durationpb.Duration) string {
	return d.AsDuration().Round(100 * time.Millisecond).String()
}

func clusterNodeColumns(s *culvertv1.ClusterStatus) []column[*culvertv1.ClusterNode] {
	type n = *culvertv1.ClusterNode
	return []column[n]{
		{title: "NODE", value: n.GetName},
		{title: "STATE", value: nodeState},
		{title: "LEASE", value: func(x n) string { return seconds(x.GetLease()) }},
		{title: "RENEWED", value: func(x n) string { return ago(x.GetRenewed()) }},
		{title: "ANSWERED", value: func(x n) string {
			if x.GetName() == s.GetNode() {
				return ""
			}
			return ago(x.GetAnswered())
		}},
		{title: "EPOCH", wide: true, right: true, value: func(x n) string { return fmt.Sprint(x.GetEpoch()) }},
		{title: "ADDRESS", value: n.GetAddress},
	}
}

func nodeState(n *culvertv1.ClusterNode) string {
	switch {
	case !n.GetMember():
		return "out"
	case n.GetRenewed() != nil && n.GetRenewed().AsDuration() > n.GetLease().AsDuration():
		return "silent"
	case n.GetDraining():
		return "draining"
	case n.GetRenewed() == nil:
		return ""
	}
	return "alive"
}

func ago(d *durationpb.Duration) string {
	if d == nil {
		return ""
	}
	return seconds(d) + " ago"
}

func serviceAddressColumns() []column[*culvertv1.ServiceAddress] {
	type x = *culvertv1.ServiceAddress
	known := func(n *uint32) string {
		if n == nil {
			return ""
		}
		return grouped(uint64(*n))
	}
	return []column[x]{
		{title: "SERVICE-ADDRESS", value: x.GetAddress},
		{title: "NODE", value: x.GetOwner},
		{title: "SERVED-HERE", value: func(a x) string {
			if a.GetServing() {
				return "yes"
			}
			return ""
		}},
		{title: "TUNNELS", right: true, value: func(a x) string { return known(a.Tunnels) }},
		{title: "SESSIONS", right: true, value: func(a x) string { return known(a.Sessions) }},
		{title: "EPOCH", wide: true, right: true, value: func(a x) string { return fmt.Sprint(a.GetEpoch()) }},
	}
}

// moveTimeout is how long moving addresses may take, unless --timeout is longer.
const moveTimeout = 2 * time.Minute

// move moves the node's addresses to another.
func (a *app) move(to string) error {
	a.Timeout = max(a.Timeout, moveTimeout)
	return a.call(func(ctx context.Context, c *client) error {
		if _, err := c.node().Drain(ctx, &culvertv1.DrainRequest{}); err != nil {
			return err
		}
		resp, err := c.cluster().MoveAddresses(ctx, &culvertv1.MoveAddressesRequest{To: to})
		if err != nil {
			return err
		}
		if a.Output == "json" {
			return printOne(a, resp, nil)
		}
		if len(resp.GetMoved()) == 0 {
			fmt.Fprintln(a.out, "the node is draining; it had no address to move")
			return nil
		}
		fmt.Fprintln(a.out, clean(fmt.Sprintf("moved to %s: %s; the node is draining (\"lnsctl undrain\" ends that)", to, strings.Join(resp.GetMoved(), ", "))))
		return nil
	})
}
