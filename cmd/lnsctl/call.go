package main

import (
	"context"
	"fmt"

	culvertv1 "culvert/proto/culvert/v1"
)

type callCommand struct {
	Number     string `arg:"" help:"The number to call, as the LAC wants it."`
	LAC        string `name:"lac" required:"" placeholder:"NAME" help:"The LAC profile whose LAC is to call."`
	SubAddress string `placeholder:"TEXT" help:"What follows the number."`
	MinBPS     uint32 `name:"min-bps" placeholder:"N" help:"Least speed of the line, in bit/s."`
	MaxBPS     uint32 `name:"max-bps" placeholder:"N" help:"Greatest speed of the line, in bit/s; 0 is no bound."`
}

// Help has examples.
func (*callCommand) Help() string {
	return `The call goes through a tunnel of the LAC that is up, or one is opened to the address
in its profile. The session's id is printed when the LAC has been asked; "lnsctl session
watch" tells whether the subscriber answers. Examples:
  lnsctl call 02075550123 --lac north
  lnsctl call 0815 --lac north --sub-address 7 --max-bps 64000`
}

// Run has the LAC call.
func (s *callCommand) Run(a *app) error {
	return a.call(func(ctx context.Context, c *client) error {
		resp, err := c.sessions().PlaceCall(ctx, &culvertv1.PlaceCallRequest{
			Lac: s.LAC, Number: s.Number, SubAddress: s.SubAddress, MinimumBps: s.MinBPS, MaximumBps: s.MaxBPS,
		})
		if err != nil {
			return err
		}
		if a.Output == "json" {
			return printOne(a, resp.GetSession(), nil)
		}
		_, err = fmt.Fprintf(a.out, "session %s: %s is calling %s\n", resp.GetSession().GetId(), s.LAC, s.Number)
		return err
	})
}
