package main

import (
	"context"
	"fmt"

	culvertv1 "culvert/proto/culvert/v1"
)

type sessionDisconnect struct {
	ID []string `arg:"" optional:"" help:"Sessions' ids (Acct-Session-Id)."`
	selector
	Reason string `help:"A short text for the log and the event."`
	DryRun bool   `help:"Only say how many sessions it would be."`
	Max    uint32 `placeholder:"N" help:"Refuse to end more than so many."`
	Yes    bool   `short:"y" help:"Do not ask when several sessions are named."`
}

// Help has examples.
func (*sessionDisconnect) Help() string {
	return `Flags that name sessions must all fit. When they name more than one session you
are asked first, or need --yes. Subscribers usually dial again at once. Examples:
  lnsctl session disconnect lns1-00000007-00000001
  lnsctl session disconnect --user alice@example.net
  lnsctl session disconnect --lac north --dry-run
  lnsctl session disconnect --tunnel 17 --yes --reason "card swap"`
}

// Run ends sessions.
func (d *sessionDisconnect) Run(a *app) error {
	if (len(d.ID) == 0) == d.empty() {
		return usagef("name sessions by their ids or by flags such as --user, not both")
	}
	if len(d.ID) > 0 {
		return d.byID(a)
	}
	sel, err := d.proto()
	if err != nil {
		return err
	}
	req := &culvertv1.DisconnectSessionsRequest{Selector: sel, DryRun: true, MaxSessions: d.Max, Reason: d.Reason}
	if d.DryRun || !d.Yes {
		resp, err := d.do(a, req)
		if err != nil {
			return err
		}
		if d.DryRun {
			return d.print(a, resp, "would be disconnected")
		}
		if resp.GetCount() > 1 {
			if err := a.confirm(question(resp)); err != nil {
				return err
			}
		}
		// Not more than were agreed to, whoever dialled in meanwhile.
		req.MaxSessions = resp.GetCount()
	}
	req.DryRun = false
	resp, err := d.do(a, req)
	if err != nil {
		return err
	}
	return d.print(a, resp, "disconnected")
}

// byID ends each session that is named; one that is not there does not keep the others.
func (d *sessionDisconnect) byID(a *app) error {
	var last error
	total := &culvertv1.DisconnectSessionsResponse{}
	for _, id := range d.ID {
		resp, err := d.do(a, &culvertv1.DisconnectSessionsRequest{
			Selector: &culvertv1.SessionSelector{Id: id}, DryRun: d.DryRun, MaxSessions: 1, Reason: d.Reason,
		})
		if err != nil {
			if last != nil {
				a.report(last)
			}
			last = notThere(id, err)
			continue
		}
		total.Count += resp.GetCount()
		total.Sample = append(total.Sample, resp.GetSample()...)
	}
	if total.GetCount() == 0 {
		return last
	}
	done := "disconnected"
	if d.DryRun {
		done = "would be disconnected"
	}
	if err := d.print(a, total, done); err != nil {
		return err
	}
	return last
}

// notThere names the id that the node's answer is about.
func notThere(id string, err error) error {
	if f, ok := err.(*failure); ok && f.code == exitNotFound {
		return &failure{code: f.code, text: fmt.Sprintf("there is no session %q on this node now", id), hint: f.hint}
	}
	return err
}

func (d *sessionDisconnect) do(a *app, req *culvertv1.DisconnectSessionsRequest) (resp *culvertv1.DisconnectSessionsResponse, err error) {
	err = a.call(func(ctx context.Context, c *client) error {
		resp, err = c.sessions().DisconnectSessions(ctx, req)
		return err
	})
	return resp, err
}

// question shows who would be hit.
func question(resp *culvertv1.DisconnectSessionsResponse) string {
	users := ""
	for i, s := range resp.GetSample() {
		if i == 3 {
			break
		}
		if i > 0 {
			users += ", "
		}
		users += dash(s.GetUser())
	}
	if resp.GetCount() > 3 {
		users += ", ..."
	}
	return fmt.Sprintf("Disconnect %s (%s)?", count(resp.GetCount(), "session"), users)
}

func (d *sessionDisconnect) print(a *app, resp *culvertv1.DisconnectSessionsResponse, done string) error {
	if a.Output == "json" {
		return printOne(a, resp, nil)
	}
	_, err := fmt.Fprintf(a.out, "%s %s\n", count(resp.GetCount(), "session"), done)
	return err
}
