package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	culvertv1 "culvert/proto/culvert/v1"
)

type sessionWatch struct {
	selector
	ID    string   `name:"id" help:"The session's id (Acct-Session-Id)."`
	Kind  []string `enum:"tunnel-up,tunnel-down,session-up,session-down,session-reject" help:"Only these events: tunnel-up, tunnel-down, session-up, session-down, session-reject."`
	Count int      `short:"n" placeholder:"N" help:"Stop after so many events."`
}

// Help has examples.
func (*sessionWatch) Help() string {
	return `Runs until it is interrupted. Examples:
  lnsctl session watch
  lnsctl session watch --kind session-reject --lac north
  lnsctl session watch -o json | jq -r 'select(.cause == "echo-timeout") | .session.user'`
}

// Run prints events.
func (w *sessionWatch) Run(a *app) error {
	sel, err := w.proto()
	if err != nil {
		return err
	}
	sel.Id = w.ID
	req := &culvertv1.WatchEventsRequest{Selector: sel}
	for _, k := range w.Kind {
		name := "EVENT_KIND_" + strings.ToUpper(strings.ReplaceAll(k, "-", "_"))
		req.Kinds = append(req.Kinds, culvertv1.EventKind(culvertv1.EventKind_value[name]))
	}
	c, err := a.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	err = w.follow(a, c, req)
	if a.ctx.Err() != nil && status.Code(err) == codes.Canceled {
		return nil // the usual end
	}
	return a.explain(c, err)
}

func (w *sessionWatch) follow(a *app, c *client, req *culvertv1.WatchEventsRequest) error {
	ctx, cancel := context.WithCancelCause(a.ctx)
	defer cancel(nil)
	// The timeout is for the first message only, which says that the watch has begun.
	late := time.AfterFunc(a.Timeout, func() { cancel(context.DeadlineExceeded) })
	stream, err := c.sessions().WatchEvents(ctx, req)
	if err == nil {
		_, err = stream.Recv()
	}
	if !late.Stop() && context.Cause(ctx) == context.DeadlineExceeded {
		return status.Error(codes.DeadlineExceeded, "")
	}
	if err != nil {
		return err
	}
	if a.terminal && a.Output != "json" {
		fmt.Fprintln(a.errOut, "watching; interrupt to end")
	}
	return w.print(a, stream)
}

func (w *sessionWatch) print(a *app, stream grpc.ServerStreamingClient[culvertv1.WatchEventsResponse]) error {
	for n := 0; w.Count == 0 || n < w.Count; n++ {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := printEvent(a, resp.GetEvent()); err != nil {
			return err
		}
	}
	return nil
}

func printEvent(a *app, e *culvertv1.Event) error {
	if a.Output == "json" {
		b, err := marshal(e)
		if err != nil {
			return err
		}
		return writeJSONLine(a.out, b)
	}
	_, err := fmt.Fprintln(a.out, clean(eventLine(e)))
	return err
}

// eventLine has its parts in columns, as far as streamed lines can.
func eventLine(e *culvertv1.Event) string {
	s := e.GetSession()
	parts := []string{
		e.GetAt().AsTime().Local().Format("15:04:05.000"),
		fmt.Sprintf("%-14s", word(e.GetKind().String(), "EVENT_KIND_")),
	}
	switch e.GetKind() {
	case culvertv1.EventKind_EVENT_KIND_LOST:
	case culvertv1.EventKind_EVENT_KIND_TUNNEL_UP, culvertv1.EventKind_EVENT_KIND_TUNNEL_DOWN:
		parts = append(parts, fmt.Sprintf("tunnel %d on %s from %s at %s", s.GetTunnelId(), s.GetLocal(), s.GetLac(), s.GetPeer()))
	default:
		parts = append(parts, s.GetId(), dash(s.GetUser()), dash(s.GetAddress()), fmt.Sprintf("%s %d/%d", s.GetLac(), s.GetTunnelId(), s.GetSessionId()))
	}
	if e.GetKind() == culvertv1.EventKind_EVENT_KIND_SESSION_DOWN {
		parts = append(parts, fmt.Sprintf("up %s, down %s", octets(s.GetCounters().GetInOctets()), octets(s.GetCounters().GetOutOctets())))
	}
	if e.GetCause() != "" {
		parts = append(parts, e.GetCause())
	}
	if e.GetDetail() != "" {
		parts = append(parts, "("+e.GetDetail()+")")
	}
	return strings.Join(parts, "  ")
}
