package main

import (
	"context"
	"fmt"

	culvertv1 "culvert/proto/culvert/v1"
)

type shutdownCommand struct {
	EndSessions bool `name:"end-sessions" help:"End tunnels (StopCCN) and sessions (accounting Stop) first. Without it they go on with the next start, and nobody notices if that is soon."`
	Yes         bool `short:"y" help:"Do not ask."`
}

// Help explains.
func (shutdownCommand) Help() string {
	return `The program ends in good order. Its service manager does not start it again by itself; to restart or
upgrade it, use systemctl restart lnsd.

  lnsctl node shutdown                     sessions wait for the next start
  lnsctl node shutdown --end-sessions      everybody is disconnected

In a cluster, move what is up to another node first: lnsctl node drain --to NODE.`
}

// Run ends the node.
func (s shutdownCommand) Run(a *app) error {
	return a.call(func(ctx context.Context, c *client) error {
		resp, err := c.node().GetStatus(ctx, &culvertv1.GetStatusRequest{})
		if err != nil {
			return err
		}
		st := resp.GetStatus()
		up := fmt.Sprintf("%s and %s", count(st.GetTunnels(), "tunnel"), count(st.GetSessions(), "session"))
		what := up + " wait for its next start"
		if s.EndSessions {
			what = up + " end"
		}
		if !s.Yes {
			if err := a.confirm(fmt.Sprintf("End lnsd on %s? %s.", st.GetNode(), what)); err != nil {
				return err
			}
		}
		done, err := c.node().Shutdown(ctx, &culvertv1.ShutdownRequest{EndSessions: s.EndSessions})
		if err != nil {
			return err
		}
		return a.said(done.GetStatus(), fmt.Sprintf("lnsd on %s ends; %s", st.GetNode(), what))
	})
}
