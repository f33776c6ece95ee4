package main

import (
	"encoding/json"
	"strings"
	"testing"

	"culvert/lns"
	"culvert/ops/opstest"
)

// TestOutput compares what commands print with files that people have looked at.
func TestOutput(t *testing.T) {
	address := serve(t, opstest.Sample(5))
	for name, line := range map[string]string{
		"lac_list":             "lac list",
		"lac_list_wide":        "lac list -o wide",
		"lac_list_json":        "lac list -o json",
		"lac_show":             "lac show south",
		"tunnel_list":          "tunnel list",
		"tunnel_list_wide":     "tunnel list -o wide",
		"tunnel_list_json":     "tunnel list --lac south -o json",
		"tunnel_show":          "tunnel show 192.0.2.1:1701/17",
		"session_list":         "session list",
		"session_list_wide":    "session list -o wide",
		"session_list_json":    "session list -n 1 -o json",
		"session_list_limited": "session list -n 2 --lac north",
		"session_list_none":    "session list --user nobody",
		"session_show":         "session show lns1-00000007-00000002",
		"session_show_early":   "session show lns1-00000007-00000005",
		"session_show_json":    "session show --user user1@example.net -o json",
		"status":               "status",
		"status_json":          "status -o json",
		"version":              "version",
		"version_json":         "version -o json",
		"help":                 "--help",
		"help_disconnect":      "session disconnect --help",
		"completion":           "completion",
	} {
		t.Run(name, func(t *testing.T) {
			r := lnsctl(t, "", func(*app) { t.Setenv("CULVERT_ADDRESS", address) }, strings.Fields(line)...)
			if r.code != exitOK {
				t.Errorf("exit status %d", r.code)
			}
			got := r.out
			if r.err != "" {
				got += "--- standard error\n" + r.err
			}
			golden(t, name, got)
			if strings.Contains(line, "json") && !json.Valid([]byte(r.out)) {
				t.Error("not JSON")
			}
		})
	}
}

// TestWarningsInStatus: what is wrong stands on top.
func TestWarningsInStatus(t *testing.T) {
	node := opstest.Sample(5)
	node.Drain(true)
	r := lnsctl(t, serve(t, node), nil, "status")
	golden(t, "status_draining", r.out)
}

// TestHostileNames: what a subscriber calls itself cannot steer a terminal or fake a line.
func TestHostileNames(t *testing.T) {
	node := opstest.NewNode()
	node.Add(nil, []lns.SessionInfo{{ID: "a", User: "\x1b[2Jroot\nfake line\u202e\tx\xff", State: "up", Profile: "north"}})
	address := serve(t, node)
	for _, args := range [][]string{{"session", "list"}, {"session", "show", "a"}} {
		r := lnsctl(t, address, nil, args...)
		if strings.ContainsAny(r.out, "\x1b\u202e\t") || strings.Contains(r.out, "\nfake") {
			t.Errorf("%v: %q", args, r.out)
		}
		if !strings.Contains(r.out, `\u001b[2Jroot\u000afake line\u202e\u0009x`) {
			t.Errorf("%v: %q", args, r.out)
		}
	}
}
