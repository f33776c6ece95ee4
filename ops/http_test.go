package ops

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"culvert/ops/opstest"
	"culvert/sessiondb"
)

// get asks a node's HTTP side as a client at from.
func get(t *testing.T, cfg Config, node Node, path, from string) (int, string) {
	t.Helper()
	cfg = cfg.withDefaults()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.RemoteAddr = from
	w := httptest.NewRecorder()
	newHTTP(&cfg, node).Handler.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result().StatusCode, string(body)
}

func TestHTTPOverTCP(t *testing.T) {
	s := start(t, Config{HTTP: "127.0.0.1:0"}, opstest.Sample(3))
	client := &http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	for path, word := range map[string]string{
		"/": "3 tunnels, 2 sessions, 1 calls", "/healthz": "ok", "/readyz": `"ready": true`, "/metrics": "culvert_sessions 2", "/debug/pprof/": "goroutine",
	} {
		resp, err := client.Get("http://" + s.HTTPAddr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), word) {
			t.Errorf("%s: %d, %v, %.200s", path, resp.StatusCode, err, body)
		}
	}
	resp, err := client.Get("http://" + s.HTTPAddr().String() + "/nothing")
	if err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("/nothing: %v, %v", resp, err)
	}
	resp.Body.Close()
}

func TestReady(t *testing.T) {
	writer := func(lag time.Duration) func() sessiondb.WriterStats {
		return func() sessiondb.WriterStats {
			return sessiondb.WriterStats{Lag: lag, Pending: 7, LastError: "connection refused"}
		}
	}
	radius := func(first, second bool) func() []RADIUSServerStats {
		return func() []RADIUSServerStats {
			return []RADIUSServerStats{
				{Server: "r1", Use: "auth", Alive: first}, {Server: "r2", Use: "auth", Alive: second}, {Server: "r1", Use: "acct", Alive: true},
			}
		}
	}
	for name, c := range map[string]struct {
		sources  Sources
		drain    bool
		code     int
		notReady string
		warnings []string
	}{
		"ready":          {code: 200},
		"draining":       {drain: true, code: 503, notReady: "draining"},
		"own reason":     {sources: Sources{NotReady: func() []string { return []string{"recovering"} }}, code: 503, notReady: "recovering"},
		"own warning":    {sources: Sources{Warnings: func() []string { return []string{"clock"} }}, code: 200, warnings: []string{"clock"}},
		"a bit behind":   {sources: Sources{Writer: writer(time.Second)}, code: 200},
		"behind":         {sources: Sources{Writer: writer(time.Minute)}, code: 200, warnings: []string{"the database is 1m0s behind (7 changes wait): connection refused"}},
		"no accounting":  {sources: Sources{Outbox: func() OutboxStats { return OutboxStats{Away: true, Pending: 3} }}, code: 200, warnings: []string{"no accounting server answers (3 records wait)"}},
		"one RADIUS":     {sources: Sources{RADIUS: radius(false, true)}, code: 200, warnings: []string{"RADIUS server r1 (auth) does not answer"}},
		"RADIUS is away": {sources: Sources{RADIUS: radius(false, false)}, code: 200, warnings: []string{"RADIUS server r1 (auth) does not answer, and no other is up", "RADIUS server r2 (auth) does not answer, and no other is up"}},
	} {
		t.Run(name, func(t *testing.T) {
			node := opstest.NewNode()
			node.Drain(c.drain)
			code, body := get(t, Config{Sources: c.sources}, node, "/readyz", "192.0.2.9:1")
			var got readiness
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			if code != c.code || got.Ready != (c.code == 200) || !strings.Contains(strings.Join(got.NotReady, ""), c.notReady) {
				t.Errorf("%d: %s", code, body)
			}
			if strings.Join(got.Warnings, "|") != strings.Join(c.warnings, "|") {
				t.Errorf("warnings %q, want %q", got.Warnings, c.warnings)
			}
		})
	}
}

func TestProfilingIsLocal(t *testing.T) {
	node := opstest.NewNode()
	for _, c := range []struct {
		path, from string
		remote     bool
		want       int
	}{
		{"/debug/pprof/", "127.0.0.1:5", false, 200},
		{"/debug/pprof/", "[::1]:5", false, 200},
		{"/debug/pprof/heap", "192.0.2.9:5", false, 403},
		{"/debug/pprof/cmdline", "192.0.2.9:5", false, 403},
		{"/debug/pprof/symbol", "", false, 403},
		{"/debug/pprof/cmdline", "192.0.2.9:5", true, 200},
		{"/metrics", "192.0.2.9:5", false, 200},
	} {
		if code, _ := get(t, Config{RemoteProfiling: c.remote}, node, c.path, c.from); code != c.want {
			t.Errorf("%s from %q, remote %v: %d, want %d", c.path, c.from, c.remote, code, c.want)
		}
	}
}
