package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	culvertv1 "culvert/proto/culvert/v1"
)

type sessionTrace struct {
	selector
	Who     string `arg:"" optional:"" placeholder:"USER|ID" help:"A subscriber's name, or a session's id (Acct-Session-Id)."`
	History bool   `help:"Only what has happened; do not wait for more."`
	Limit   int    `short:"n" placeholder:"N" help:"Show at most so many sessions of the past, the latest (default 10)."`
}

// Help has examples.
func (*sessionTrace) Help() string {
	return `Shows each protocol event of a session: what was sent and received, what RADIUS said, why it ended.
Sessions that are gone, and calls that failed, are remembered for a while (the node's
configuration, trace:). Then it prints what happens, until it is interrupted. Passwords and
the like are never in it. Examples:
  lnsctl session trace alice@example.net
  lnsctl session trace lns1-0007-00000001 --history
  lnsctl session trace --calling 0123456789 -n 1
  lnsctl session trace alice@example.net --history -o json | jq -r '.session.events[]?.text'`
}

// sessionID is the form of an Acct-Session-Id: node, epoch, number.
var sessionID = regexp.MustCompile(`-[0-9a-f]{4,}-[0-9a-f]{8,}$`)

func (s *sessionTrace) request() (*culvertv1.TraceSessionsRequest, error) {
	sel, err := s.proto()
	if err != nil {
		return nil, err
	}
	switch {
	case s.Who == "" && s.empty():
		return nil, usagef("name a subscriber, a session's id, or flags such as --calling")
	case s.Who == "":
	case s.User != "":
		return nil, usagef("name the subscriber once, not by --user too")
	case sessionID.MatchString(s.Who):
		sel.Id = s.Who
	default:
		sel.User = s.Who
	}
	if s.Limit < 0 {
		return nil, usagef("--limit: %d is negative", s.Limit)
	}
	return &culvertv1.TraceSessionsRequest{Selector: sel, MaxSessions: uint32(s.Limit), HistoryOnly: s.History}, nil
}

// Run prints the past, and then what happens.
func (s *sessionTrace) Run(a *app) error {
	req, err := s.request()
	if err != nil {
		return err
	}
	c, err := a.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	err = s.follow(a, c, req)
	if a.ctx.Err() != nil && status.Code(err) == codes.Canceled {
		return nil // the usual end
	}
	return a.explain(c, err)
}

func (s *sessionTrace) follow(a *app, c *client, req *culvertv1.TraceSessionsRequest) error {
	ctx, cancel := context.WithCancelCause(a.ctx)
	defer cancel(nil)
	// The timeout is for the first message only.
	late := time.AfterFunc(a.Timeout, func() { cancel(context.DeadlineExceeded) })
	stream, err := c.sessions().TraceSessions(ctx, req)
	if err != nil {
		return err
	}
	p := tracePrinter{app: a}
	for {
		resp, err := stream.Recv()
		if !late.Stop() && context.Cause(ctx) == context.DeadlineExceeded {
			return status.Error(codes.DeadlineExceeded, "")
		}
		if errors.Is(err, io.EOF) {
			return p.end()
		}
		if err != nil {
			return err
		}
		if err := p.print(resp); err != nil {
			return err
		}
	}
}

// tracePrinter prints a trace as it comes.
type tracePrinter struct {
	*app
	sessions int
	last     string // the session whose events were printed last
}

func (p *tracePrinter) print(r *culvertv1.TraceSessionsResponse) error {
	if p.Output == "json" {
		return p.printJSON(r)
	}
	var b strings.Builder
	switch item := r.GetItem().(type) {
	case nil:
		if p.sessions == 0 {
			fmt.Fprintln(p.errOut, "nothing is remembered that fits")
		}
		if p.terminal {
			fmt.Fprintln(p.errOut, "following; interrupt to end")
		}
	case *culvertv1.TraceSessionsResponse_Session:
		if p.sessions > 0 {
			b.WriteByte('\n')
		}
		p.sessions++
		p.session(&b, item.Session)
	case *culvertv1.TraceSessionsResponse_Event:
		if id := item.Event.GetSessionId(); id != "" && id != p.last {
			fmt.Fprintf(&b, "session %s\n", clean(id))
			p.last = id
		}
		traceLine(&b, item.Event, true)
	case *culvertv1.TraceSessionsResponse_Lost:
		fmt.Fprintf(&b, "  (%d events were lost here: this client was too slow)\n", item.Lost)
	}
	_, err := io.WriteString(p.out, b.String())
	return err
}

func (p *tracePrinter) printJSON(r *culvertv1.TraceSessionsResponse) error {
	if r.GetItem() == nil {
		return nil
	}
	b, err := marshal(r)
	if err != nil {
		return err
	}
	return writeJSONLine(p.out, b)
}

// end is the end of a history.
func (p *tracePrinter) end() error {
	if p.sessions == 0 && p.Output != "json" {
		return &failure{
			code: exitNotFound, text: "nothing is known of such a session",
			hint: "Sessions are remembered for a while after their end, by the configuration's trace: section, on the node they were on, until it is restarted.",
		}
	}
	return nil
}

// session prints a session's head and its events.
func (p *tracePrinter) session(b *strings.Builder, x *culvertv1.TracedSession) {
	s := x.GetSession()
	p.last = s.GetId()
	fmt.Fprintf(b, "session %s  user %s  %s\n", clean(dash(s.GetId())), clean(dash(s.GetUser())), traceEnd(x))
	fmt.Fprintf(b, "  LAC %s at %s, tunnel %d/%d, the LAC's %d/%d, calling %s, address %s\n",
		clean(s.GetLac()), s.GetPeer(), s.GetTunnelId(), s.GetSessionId(), s.GetPeerTunnelId(), s.GetPeerSessionId(),
		clean(dash(s.GetCallingStation())), dash(s.GetAddress()))
	if x.GetDropped() > 0 {
		fmt.Fprintf(b, "  (%d older events are not kept any more)\n", x.GetDropped())
	}
	for _, e := range x.GetEvents() {
		traceLine(b, e, false)
	}
}

func traceEnd(x *culvertv1.TracedSession) string {
	began := "began " + localTime(x.GetBegan(), "2006-01-02 15:04:05")
	if x.GetEnded() == nil {
		return began + ", alive"
	}
	return began + ", ended " + localTime(x.GetEnded(), "2006-01-02 15:04:05") + ", cause " + x.GetCause()
}

func localTime(t *timestamppb.Timestamp, layout string) string {
	if t == nil {
		return "-"
	}
	return t.AsTime().Local().Format(layout)
}

// traceLine prints an event. Of one that has come many times, what happens now has the time of its latest, so that times go
// on from line to line, and what has happened that of its first.
func traceLine(b *strings.Builder, e *culvertv1.TraceEvent, now bool) {
	where, at := "", e.GetAt()
	if now && e.GetCount() > 1 {
		at = e.GetUntil()
	}
	if e.GetSessionId() == "" {
		where = fmt.Sprintf("tunnel %d: ", e.GetTunnel().GetId())
	}
	fmt.Fprintf(b, "  %s  %-4s  %s%s", localTime(at, "15:04:05.000"), word(e.GetSource().String(), "TRACE_SOURCE_"), where, clean(e.GetText()))
	switch {
	case e.GetCount() <= 1:
	case now:
		fmt.Fprintf(b, "  (%s times since %s)", grouped(uint64(e.GetCount())), localTime(e.GetAt(), "15:04:05.000"))
	default:
		fmt.Fprintf(b, "  (%s times, last %s)", grouped(uint64(e.GetCount())), localTime(e.GetUntil(), "15:04:05.000"))
	}
	b.WriteByte('\n')
}
