package main

import (
	"context"
	"fmt"
	"strings"

	culvertv1 "culvert/proto/culvert/v1"
)

type sessionCommands struct {
	List       sessionList       `cmd:"" help:"List sessions."`
	Show       sessionShow       `cmd:"" help:"Show one session in detail."`
	Watch      sessionWatch      `cmd:"" help:"Print what happens to sessions and tunnels as it happens."`
	Trace      sessionTrace      `cmd:"" help:"Show what a subscriber's sessions have done, event by event, and what they do."`
	Disconnect sessionDisconnect `cmd:"" help:"End sessions."`
	Speed      sessionSpeed      `cmd:"" help:"Ask a session's LAC for the line's speed."`
}

// selector are the flags that name sessions.
type selector struct {
	User    string `short:"u" help:"The subscriber's name, exactly."`
	IP      string `name:"ip" placeholder:"ADDRESS" help:"The subscriber's IP address."`
	Calling string `placeholder:"NUMBER" help:"The Calling Number that the LAC sent, exactly."`
	LAC     string `name:"lac" placeholder:"NAME" help:"The LAC profile."`
	Tunnel  string `placeholder:"[LOCAL/]ID" help:"The tunnel, e.g. 17, or 192.0.2.1:1701/17 where several local addresses have a 17."`
	Peer    string `placeholder:"ADDRESS" help:"The LAC's IP address."`
}

func (s *selector) proto() (*culvertv1.SessionSelector, error) {
	p := &culvertv1.SessionSelector{User: s.User, Address: s.IP, Lac: s.LAC, Peer: s.Peer, CallingStation: s.Calling}
	if s.Tunnel == "" {
		return p, nil
	}
	ref, err := parseTunnel(s.Tunnel)
	p.Tunnel = ref
	return p, err
}

func (s *selector) empty() bool { return *s == selector{} }

type sessionList struct {
	selector
	State []string `enum:"dialling,lcp,authenticating,network,up,closing" help:"Only sessions in one of these states: dialling, lcp, authenticating, network, up, closing."`
	Limit int      `short:"n" placeholder:"N" help:"Print at most so many."`
}

// Help has examples.
func (*sessionList) Help() string {
	return `Examples:
  lnsctl session list --lac north --state up
  lnsctl session list --tunnel 17 -o wide
  lnsctl session list -o json | jq -r '.[] | [.user, .address] | @tsv'`
}

// pageSize is what one call asks for: the most that the node gives.
const pageSize = 20_000

// Run lists sessions, page by page.
func (l *sessionList) Run(a *app) error {
	sel, err := l.proto()
	if err != nil {
		return err
	}
	if l.Limit < 0 {
		return usagef("--limit: %d is negative", l.Limit)
	}
	req := &culvertv1.ListSessionsRequest{Selector: sel, PageSize: pageSize}
	for _, s := range l.State {
		req.States = append(req.States, culvertv1.SessionState(culvertv1.SessionState_value["SESSION_STATE_"+strings.ToUpper(s)]))
	}
	rows, total, err := l.fetch(a, req)
	if err != nil {
		return err
	}
	if err := printList(a, "sessions", rows, sessionColumns(a)); err != nil {
		return err
	}
	return a.cutNote(len(rows), total, "sessions")
}

func (l *sessionList) fetch(a *app, req *culvertv1.ListSessionsRequest) (rows []*culvertv1.Session, total uint32, err error) {
	err = a.pages(l.Limit, func(ctx context.Context, c *client, size uint32) (string, int, error) {
		req.PageSize = size
		resp, err := c.sessions().ListSessions(ctx, req)
		if err != nil {
			return "", 0, err
		}
		rows = append(rows, resp.GetSessions()...)
		if total == 0 {
			total = resp.GetTotalSize()
		}
		req.PageToken = resp.GetNextPageToken()
		return req.PageToken, len(rows), nil
	})
	return rows, total, err
}

// pages calls next until it gives no token or limit rows (0: all of them).
// Each page has the whole timeout.
func (a *app) pages(limit int, next func(ctx context.Context, c *client, size uint32) (token string, rows int, err error)) error {
	c, err := a.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	for have := 0; ; {
		size := uint32(pageSize)
		if limit > 0 {
			size = uint32(min(pageSize, limit-have))
		}
		ctx, cancel := context.WithTimeout(a.ctx, a.Timeout)
		token, rows, err := next(ctx, c, size)
		cancel()
		if err != nil {
			return a.explain(c, err)
		}
		have = rows
		if token == "" || limit > 0 && have >= limit {
			return nil
		}
	}
}

// cutNote says so when not all was printed.
func (a *app) cutNote(printed int, total uint32, what string) error {
	if uint32(printed) < total && a.Output != "json" {
		fmt.Fprintf(a.errOut, "%s of %s %s\n", grouped(uint64(printed)), grouped(uint64(total)), what)
	}
	return nil
}

func sessionColumns(a *app) []column[*culvertv1.Session] {
	type s = *culvertv1.Session
	return []column[s]{
		{title: "SESSION", value: s.GetId},
		{title: "USER", value: s.GetUser},
		{title: "ADDRESS", value: s.GetAddress},
		{title: "LAC", value: s.GetLac},
		{title: "TUNNEL", value: func(x s) string { return fmt.Sprintf("%d/%d", x.GetTunnelId(), x.GetSessionId()) }},
		{title: "STATE", value: func(x s) string { return stateWord(x.GetState()) }},
		{title: "AGE", right: true, value: func(x s) string { return a.age(x.GetSince()) }},
		{title: "UPLOAD", right: true, value: func(x s) string { return octets(x.GetCounters().GetInOctets()) }},
		{title: "DOWNLOAD", right: true, value: func(x s) string { return octets(x.GetCounters().GetOutOctets()) }},
		{title: "AUTH", wide: true, value: func(x s) string { return methodWord(x.GetAuthMethod()) }},
		{title: "LAC-ADDRESS", wide: true, value: s.GetPeer},
		{title: "LOCAL-ADDRESS", wide: true, value: s.GetLocal},
		{title: "CALLING", wide: true, value: s.GetCallingStation},
		{title: "CALLED", wide: true, value: s.GetCalledStation},
		{title: "LINE", wide: true, value: s.GetConnectInfo},
		{title: "MTU", wide: true, right: true, value: func(x s) string { return orNone(x.GetMtu()) }},
		{title: "ROUTES", wide: true, value: func(x s) string { return strings.Join(x.GetRoutes(), ",") }},
	}
}

func orNone(n uint32) string {
	if n == 0 {
		return ""
	}
	return number(n)
}

type sessionShow struct {
	ID string `arg:"" optional:"" help:"The session's id (Acct-Session-Id)."`
	selector
}

// Help has examples.
func (*sessionShow) Help() string {
	return `Name the session by its id, or by flags that fit just one. Examples:
  lnsctl session show lns1-00000007-00000001
  lnsctl session show --user alice@example.net
  lnsctl session show --ip 100.64.0.1 -o json`
}

// Run shows the one session that is named.
func (s *sessionShow) Run(a *app) error {
	if (s.ID == "") == s.empty() {
		return usagef("name the session by its id or by flags such as --user, not both")
	}
	return a.call(func(ctx context.Context, c *client) error {
		x, err := s.find(ctx, c)
		if err != nil {
			return err
		}
		return printOne(a, x, func() []fact { return sessionFacts(a, x) })
	})
}

func (s *sessionShow) find(ctx context.Context, c *client) (*culvertv1.Session, error) {
	if s.ID != "" {
		resp, err := c.sessions().GetSession(ctx, &culvertv1.GetSessionRequest{Id: s.ID})
		return resp.GetSession(), err
	}
	sel, err := s.proto()
	if err != nil {
		return nil, err
	}
	resp, err := c.sessions().ListSessions(ctx, &culvertv1.ListSessionsRequest{Selector: sel, PageSize: 1})
	if err != nil {
		return nil, err
	}
	switch n := resp.GetTotalSize(); n {
	case 0:
		return nil, &failure{code: exitNotFound, text: "no session fits", hint: hintNotFound("id:")}
	case 1:
		return resp.GetSessions()[0], nil
	default:
		return nil, &failure{code: exitFailed, text: fmt.Sprintf("%d sessions fit", n), hint: "\"lnsctl session list\" with the same flags shows them; then name one by its id."}
	}
}

// speeds says which connect speed is which.
func speeds(info string) string {
	down, up, ok := strings.Cut(info, "/")
	if !ok {
		return info
	}
	return down + " bit/s down, " + up + " bit/s up"
}

func sessionFacts(a *app, x *culvertv1.Session) []fact {
	c := x.GetCounters()
	user := dash(x.GetUser())
	if m := methodWord(x.GetAuthMethod()); m != "" {
		user += " (" + m + ")"
	}
	facts := []fact{
		{"Session", x.GetId()},
		{"User", user},
		{"State", stateWord(x.GetState())},
		{"Age", a.since(x.GetSince())},
		{"Address", x.GetAddress()},
		{"Routes", strings.Join(x.GetRoutes(), ", ")},
		{"LAC", fmt.Sprintf("%s, %s", x.GetLac(), x.GetPeer())},
		{"Tunnel", fmt.Sprintf("%d on %s, the LAC's %d", x.GetTunnelId(), x.GetLocal(), x.GetPeerTunnelId())},
		{"Call", fmt.Sprintf("%d, the LAC's %d, serial number %d", x.GetSessionId(), x.GetPeerSessionId(), x.GetCallSerial())},
		{"Calling", x.GetCallingStation()},
		{"Called", x.GetCalledStation()},
		{"Line", speeds(x.GetConnectInfo())},
		{"Group", x.GetPrivateGroup()},
		{"MRU, MTU", fmt.Sprintf("%s, %s octets", dash(orNone(x.GetMru())), dash(orNone(x.GetMtu())))},
		{"Timeouts", fmt.Sprintf("session %s, idle %s", limit(x.GetSessionTimeout(), "none"), limit(x.GetIdleTimeout(), "none"))},
		{"Accounting", limit(x.GetInterim(), "")},
		{"Upload", fmt.Sprintf("%s in %s packets", octets(c.GetInOctets()), grouped(c.GetInPackets()))},
		{"Download", fmt.Sprintf("%s in %s packets", octets(c.GetOutOctets()), grouped(c.GetOutPackets()))},
	}
	for i := range facts {
		if facts[i].name == "Accounting" && facts[i].value != "" {
			facts[i].value = "every " + facts[i].value
		}
	}
	facts = append(facts, lineFacts(x.GetAccessLine(), x.GetCallErrors())...)
	if q := x.GetSequencing(); q != nil {
		facts = append(facts, fact{"Sequencing", sessionSequencing(q)})
	}
	if n := c.GetSpoofedPackets(); n > 0 {
		facts = append(facts, fact{"Spoofed", grouped(n) + " packets dropped"})
	}
	return facts
}
