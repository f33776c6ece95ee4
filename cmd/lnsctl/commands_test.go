package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/lns"
	"culvert/ops/opstest"
)

// step is one command line and what it must do.
type step struct {
	line string
	code int
	out  string // on standard output
	err  string // on standard error
}

func play(t *testing.T, address string, change func(*app), steps []step) {
	t.Helper()
	for _, s := range steps {
		r := lnsctl(t, address, change, strings.Fields(s.line)...)
		if r.code != s.code || !strings.Contains(r.out, s.out) || !strings.Contains(r.err, s.err) {
			t.Errorf("lnsctl %s\nexit status %d, want %d\n%q, want %q\n%q, want %q", s.line, r.code, s.code, r.out, s.out, r.err, s.err)
		}
	}
}

func TestLACCommands(t *testing.T) {
	node := opstest.Sample(0)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("open sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	play(t, serve(t, node), nil, []step{
		{"lac add east --prefix 192.0.2.7 --hello 0s --auth pap --float-peer --secret-file " + secret, exitOK, "LAC profile east added\n", ""},
		{"lac add east", exitFailed, "", "there is a LAC profile \"east\""},
		{"lac add all", exitOK, "added", "note: all has neither prefix nor host name"},
		{"lac add bad --prefix 1.2.3", exitUsage, "", "lac.prefixes[0]"},
		{"lac add bad --window 0", exitUsage, "", "lac.window: 0 is not between 1 and 1024"},
		{"lac add bad --auth mschap", exitUsage, "", "--auth must be one of"},
		{"lac add bad --secret-file /nowhere", exitUsage, "", "--secret-file: open /nowhere"},
		{"lac change east --mru 1400 --no-float-peer", exitOK, "LAC profile east changed\n", ""},
		{"lac change east --proxy accept", exitOK, "LAC profile east changed\n", ""},
		{"lac show east", exitOK, "accept: a larger MRU", ""},
		{"lac change east --auth eap --auth pap", exitOK, "LAC profile east changed\n", ""},
		{"lac show east", exitOK, "EAP, PAP", ""},
		{"lac change east --auth pap", exitOK, "LAC profile east changed\n", ""},
		{"lac add bad --proxy never", exitUsage, "", "--proxy must be one of"},
		{"lac change east", exitUsage, "", "say what to change"},
		{"lac change west --mru 1400", exitNotFound, "", "\"lnsctl lac list\" shows"},
		{"lac change east --reset mtu", exitUsage, "", "\"mtu\" cannot be changed"},
		{"lac show east", exitOK, "1400 octets", ""},
		{"lac remove all", exitOK, "LAC profile all removed\n", ""},
		{"lac remove all", exitNotFound, "", "no LAC profile \"all\""},
		{"lac show all", exitNotFound, "", ""},
	})
	for _, p := range node.LACs() {
		if p.Name == "east" && (p.Secret != "open sesame" || p.MRU != 1400 || p.FloatPeer || p.Proxy != "accept" || p.Hello != 0 || len(p.Auth) != 1) {
			t.Errorf("got %+v", p)
		}
	}
}

func TestSecretFromInput(t *testing.T) {
	node := opstest.Sample(0)
	address := serve(t, node)
	in := func(s string) func(*app) { return func(a *app) { a.in = strings.NewReader(s) } }
	play(t, address, in("from input\r\n"), []step{{"lac change south --secret-file -", exitOK, "changed", ""}})
	if p := node.LACs()[1]; p.Name != "south" || p.Secret != "from input" {
		t.Errorf("got %+v", p)
	}
	play(t, address, in("\n"), []step{{"lac change south --secret-file -", exitUsage, "", "is empty"}})
	play(t, address, nil, []step{{"lac change south --reset secret", exitOK, "changed", ""}})
	if p := node.LACs()[1]; p.Secret != "" {
		t.Errorf("got %+v", p)
	}
}

func TestTunnelStop(t *testing.T) {
	node := opstest.Sample(4)
	address := serve(t, node)
	play(t, address, nil, []step{
		{"tunnel stop 17", exitFailed, "", "2 local addresses have a tunnel 17"},
		{"tunnel stop 192.0.2.1:1701/17", exitUsage, "", "repeat with --yes"},
		{"tunnel stop 9", exitOK, "tunnel 9 stopped, with 0 sessions\n", ""},
		{"tunnel stop 9", exitNotFound, "", "\"lnsctl tunnel list\" shows"},
		{"tunnel stop nine", exitUsage, "", "is not a tunnel"},
		{"tunnel stop /9", exitUsage, "", "is not a tunnel"},
		{"tunnel stop 192.0.2.2:1701/17 --yes --reason moving", exitOK, "tunnel 17 stopped, with 2 sessions\n", ""},
	})
	play(t, address, asker("no\n"), []step{{"tunnel stop 17", exitFailed, "", "Stop tunnel 17 of north with 2 sessions? [y/N] lnsctl: not done"}})
	play(t, address, asker("y\n"), []step{{"tunnel stop 17", exitOK, "stopped", ""}})
	if e := node.Ended(); len(e) != 3 || e[0].Detail != "stopped by operator" || e[1].Detail != "moving" {
		t.Errorf("ended %v", e)
	}
}

func TestDisconnect(t *testing.T) {
	node := opstest.Sample(9)
	address := serve(t, node)
	play(t, address, nil, []step{
		{"session disconnect", exitUsage, "", "name sessions by their ids or by flags"},
		{"session disconnect x --user y", exitUsage, "", "not both"},
		{"session disconnect --lac south --dry-run", exitOK, "4 sessions would be disconnected\n", ""},
		{"session disconnect --lac south", exitUsage, "", "Disconnect 4 sessions (user2@example.net, user4@example.net, user6@example.net, ...)?\nNobody is there to answer: repeat with --yes"},
		{"session disconnect --lac south --max 3 --yes", exitFailed, "", "max_sessions"},
		{"session disconnect --user nobody", exitNotFound, "", "names no session"},
		{"session disconnect --ip 1.2.3", exitUsage, "", "selector.address"},
		{"session disconnect nothing", exitNotFound, "", "there is no session \"nothing\""},
		{"session disconnect lns1-00000007-00000001 --dry-run", exitOK, "1 session would be disconnected\n", ""},
	})
	if e := node.Ended(); len(e) != 0 {
		t.Fatalf("ended %v", e)
	}
	play(t, address, asker("\n"), []step{{"session disconnect --lac south", exitFailed, "", "not done"}})
	play(t, address, asker("yes\n"), []step{{"session disconnect --lac south", exitOK, "4 sessions disconnected\n", "[y/N]"}})
	play(t, address, nil, []step{
		{"session disconnect --user user1@example.net --reason abuse", exitOK, "1 session disconnected\n", ""},
		{"session disconnect lns1-00000007-00000003 gone lns1-00000007-00000005", exitNotFound, "2 sessions disconnected\n", "\"gone\""},
		{"session disconnect --lac north --yes -o json", exitOK, "\"count\": 2", ""},
	})
	e := node.Ended()
	if len(e) != 9 || e[4].Detail != "abuse" || e[4].Cause != aaa.CauseAdminReset {
		t.Errorf("ended %v", e)
	}
}

// TestShutdown ends the node, if that is meant.
func TestShutdown(t *testing.T) {
	address := serve(t, opstest.Sample(5))
	shutdowns.drops = nil
	play(t, address, nil, []step{{"node shutdown", exitUsage, "", "--yes"}})
	play(t, address, asker("\n"), []step{{"node shutdown", exitFailed, "", "4 sessions wait for its next start"}})
	play(t, address, asker("y\n"), []step{{"node shutdown --end-sessions", exitOK, "lnsd on lns1 ends; 3 tunnels and 4 sessions end\n", "[y/N]"}})
	play(t, address, nil, []step{{"node shutdown -y -o json", exitOK, "\"node\": \"lns1\"", ""}})
	if len(shutdowns.drops) != 2 || !shutdowns.drops[0] || shutdowns.drops[1] {
		t.Errorf("asked %v", shutdowns.drops)
	}
}

func TestShowByFlags(t *testing.T) {
	play(t, serve(t, opstest.Sample(5)), nil, []step{
		{"session show --ip 100.64.0.2", exitOK, "user2@example.net", ""},
		{"session show --lac north", exitFailed, "", "3 sessions fit"},
		{"session show --user nobody", exitNotFound, "", "no session fits"},
		{"session show nothing", exitNotFound, "", "no session \"nothing\""},
		{"session show", exitUsage, "", "name the session"},
		{"session list --state up", exitOK, "user4", ""},
		{"session list --tunnel x", exitUsage, "", "is not a tunnel"},
		{"session list -n -1", exitUsage, "", ""},
		{"drain", exitOK, "lns1 is draining; 3 tunnels and 4 sessions are still up\n", ""},
		{"undrain -o json", exitOK, "\"draining\": false", ""},
		{"undrain", exitOK, "lns1 takes new tunnels and calls\n", ""},
	})
}

// TestManyPages lists more sessions than a page holds, each once.
func TestManyPages(t *testing.T) {
	address := serve(t, opstest.Sample(41_003))
	r := lnsctl(t, address, nil, "session", "list")
	lines := strings.Split(strings.TrimSuffix(r.out, "\n"), "\n")
	if r.code != exitOK || len(lines) != 41_004 {
		t.Fatalf("exit status %d, %d lines, %s", r.code, len(lines), r.err)
	}
	for i := 2; i < len(lines); i++ {
		if lines[i][:22] <= lines[i-1][:22] {
			t.Fatalf("%q after %q", lines[i], lines[i-1])
		}
	}
	r = lnsctl(t, address, nil, "session", "list", "-n", "20001")
	if n := strings.Count(r.out, "\n"); n != 20002 || !strings.Contains(r.err, "20,001 of 41,003 sessions") {
		t.Errorf("%d lines, %q", n, r.err)
	}
}

func TestWatch(t *testing.T) {
	session, _ := opstest.Sample(2).SessionByID("lns1-00000007-00000001")
	events := []lns.Event{
		{At: opstest.Began, Kind: lns.EventTunnelUp, Session: lns.SessionInfo{Local: session.Local, Peer: session.Peer, Tunnel: 17, Profile: "north"}},
		{At: opstest.Began.Add(time.Second), Kind: lns.EventSessionUp, Session: session},
		{At: opstest.Began.Add(2 * time.Second), Kind: lns.EventSessionReject, Cause: "auth-rejected", Detail: "unpaid bill", Session: lns.SessionInfo{ID: "x", Profile: "north", Tunnel: 17, Session: 9}},
		{At: opstest.Began.Add(3 * time.Second), Kind: lns.EventSessionDown, Cause: "user-request", Session: session},
		{At: opstest.Began.Add(4 * time.Second), Kind: lns.EventLost, Detail: "too slow"},
	}
	for name, args := range map[string][]string{"watch": nil, "watch_json": {"-o", "json", "--kind", "session-down", "-n", "2"}} {
		// A node of its own: the watcher before may still be leaving.
		node := opstest.Sample(2)
		address := serve(t, node)
		done := make(chan struct{})
		go publish(node, events, done)
		args = append([]string{"session", "watch", "-n", "5"}, args...)
		r := lnsctl(t, address, nil, args...)
		<-done
		if r.code != exitOK || r.err != "" {
			t.Errorf("%s: exit status %d, %s", name, r.code, r.err)
		}
		golden(t, name, r.out)
	}
}

// publish waits for a watcher and then tells it what happens.
func publish(node *opstest.Node, events []lns.Event, done chan<- struct{}) {
	defer close(done)
	for !node.Watched() {
		time.Sleep(time.Millisecond)
	}
	for _, e := range events {
		node.Publish(e)
	}
}

// TestWatchInterrupted: the usual end of a watch is no failure.
func TestWatchInterrupted(t *testing.T) {
	node := opstest.Sample(2)
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		for !node.Watched() {
			time.Sleep(time.Millisecond)
		}
		stop()
	}()
	r := lnsctl(t, serve(t, node), func(a *app) { a.ctx = ctx }, "session", "watch")
	if r.code != exitOK || r.err != "" {
		t.Errorf("exit status %d, %s", r.code, r.err)
	}
}

// TestUnreachable: each way of not reaching a node has its own advice.
func TestUnreachable(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for name, c := range map[string]struct{ address, line, want string }{
		"no socket":    {"unix://" + dir + "/none", "status", "Is it running (systemctl status lnsd)?"},
		"dead socket":  {"unix://" + dead, "status", "Is it running (systemctl status lnsd)?"},
		"watch":        {"unix://" + dead, "session watch", "no lnsd answers on"},
		"pages":        {"unix://" + dead, "session list", "no lnsd answers on"},
		"closed port":  {closed.Addr().String(), "status --plaintext", "connection refused"},
		"version":      {"unix://" + dead, "version", "lnsd: no lnsd answers"},
		"no TLS":       {"192.0.2.1:8443", "status", "--tls-cert"},
		"no port":      {"192.0.2.1", "status", "neither unix:///path nor host:port"},
		"no path":      {"unix://", "status", "has no path"},
		"not loopback": {"192.0.2.1:8443", "status --plaintext", "not a loopback address"},
	} {
		t.Run(name, func(t *testing.T) {
			r := lnsctl(t, c.address, nil, strings.Fields(c.line)...)
			if !strings.Contains(r.err, c.want) {
				t.Errorf("exit status %d, %q", r.code, r.err)
			}
			if (r.code == exitOK) != (name == "version") {
				t.Errorf("exit status %d", r.code)
			}
		})
	}
}

// TestPermission: the socket's mode keeps others out, and lnsctl says how to get in.
func TestPermission(t *testing.T) {
	c := &client{address: "unix:///run/culvert/lnsd.sock", dialed: &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", os.ErrPermission)}}
	err := unreachable(c, &failure{code: exitFailed})
	var f *failure
	if !errors.As(err, &f) || f.code != exitFailed || !strings.Contains(f.hint, "Join the socket's group") {
		t.Errorf("got %+v", f)
	}
}

// TestSlowNode: an answer that does not come is told from a node that is not there.
func TestSlowNode(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // takes calls and never answers
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(io.Discard, c)
		}
	}()
	for _, line := range []string{"status", "session watch"} {
		args := append([]string{"--timeout", "100ms"}, strings.Fields(line)...)
		r := lnsctl(t, "unix://"+l.Addr().String(), nil, args...)
		if r.code != exitFailed || !strings.Contains(r.err, "did not answer within 100ms") {
			t.Errorf("%s: exit status %d, %s", line, r.code, r.err)
		}
	}
}
