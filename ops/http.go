package ops

import (
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// web is the HTTP side.
type web struct {
	cfg  *Config
	node Node
}

func newHTTP(cfg *Config, node Node) *http.Server {
	w := &web{cfg, node}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", w.index)
	mux.HandleFunc("GET /healthz", w.healthz)
	mux.HandleFunc("GET /readyz", w.readyz)
	reg := newRegistry(cfg, node)
	mux.Handle("GET /metrics", promhttp.InstrumentMetricHandler(reg,
		promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true, Timeout: 30 * time.Second})))
	mux.HandleFunc("/debug/pprof/", w.local(pprof.Index))
	mux.HandleFunc("/debug/pprof/cmdline", w.local(pprof.Cmdline))
	mux.HandleFunc("/debug/pprof/profile", w.local(pprof.Profile))
	mux.HandleFunc("/debug/pprof/symbol", w.local(pprof.Symbol))
	mux.HandleFunc("/debug/pprof/trace", w.local(pprof.Trace))
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      5 * time.Minute, // a profile may be asked for over minutes
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}

// newRegistry has all metrics of the process.
func newRegistry(cfg *Config, node Node) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(runtimeCollectors()...)
	reg.MustRegister(newCollector(cfg, node))
	return reg
}

// local keeps others than this host away from what slows the node down or
// shows its memory.
func (w *web) local(next http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if w.cfg.RemoteProfiling || err == nil && from.Addr().Unmap().IsLoopback() {
			next(rw, r)
			return
		}
		http.Error(rw, "profiling is served to this host only; ask over loopback, or set remote_profiling", http.StatusForbidden)
	}
}

// healthz says that the process runs and can answer.
func (w *web) healthz(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(rw, "ok")
}

// readiness is the body of /readyz.
type readiness struct {
	Ready    bool     `json:"ready"`
	NotReady []string `json:"not_ready,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// readyz says whether new calls should be sent here: 200, or 503 with the reasons.
func (w *web) readyz(rw http.ResponseWriter, _ *http.Request) {
	st := w.node.Status()
	h := checkHealth(w.cfg, st.Draining, len(st.Listeners))
	rw.Header().Set("Content-Type", "application/json")
	if len(h.notReady) > 0 {
		rw.WriteHeader(http.StatusServiceUnavailable)
	}
	enc := json.NewEncoder(rw)
	enc.SetIndent("", "  ")
	if err := enc.Encode(readiness{len(h.notReady) == 0, h.notReady, h.warnings}); err != nil {
		w.cfg.Log.Debug("readyz was not read to its end", "err", err)
	}
}

var indexPage = template.Must(template.New("index").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>lnsd {{.Status.Node}}</title></head><body>
<h1>lnsd {{.Status.Node}}</h1>
<p>Version {{.Status.Version}}, up for {{.Age}}{{if .Status.Draining}}, draining{{end}}.
{{.Status.Tunnels}} tunnels, {{.Status.Sessions}} sessions, {{.Status.SettingUp}} calls being set up.</p>
<ul>
<li><a href="/metrics">/metrics</a> for Prometheus</li>
<li><a href="/healthz">/healthz</a>: is the process alive?</li>
<li><a href="/readyz">/readyz</a>: should calls come here?</li>
<li><a href="/debug/pprof/">/debug/pprof/</a> profiles, from this host</li>
</ul>
<p>Operate this node with <code>lnsctl</code>.</p>
</body></html>
`))

func (w *web) index(rw http.ResponseWriter, _ *http.Request) {
	st := w.node.Status()
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	age := time.Since(st.Started).Round(time.Second)
	if err := indexPage.Execute(rw, map[string]any{"Status": st, "Age": age}); err != nil {
		w.cfg.Log.Debug("index page was not read to its end", "err", err)
	}
}
