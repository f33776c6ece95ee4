package ops

import (
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"culvert/lns"
)

// runtimeCollectors are Go's and the process's own metrics.
func runtimeCollectors() []prometheus.Collector {
	return []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}
}

// metric describes one metric of ours. Every label is bounded: by the
// configuration (lac, pool, server) or by the program (cause, result, reason).
func metric(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("culvert_"+name, help, labels, nil)
}

var (
	descInfo     = metric("build_info", "Always 1; the labels say what runs.", "node", "version", "plane")
	descStart    = metric("start_time_seconds", "When the node started, as Unix time.")
	descEpoch    = metric("epoch", "Number of this start of the node.")
	descDraining = metric("draining", "1 while new tunnels and calls are refused.")
	descReady    = metric("ready", "1 while new calls are taken, as /readyz says.")
	descTunnels  = metric("tunnels", "Established tunnels.")
	descSessions = metric("sessions", "Sessions that are up.")
	descSettling = metric("calls_setting_up", "Calls that are not up yet.")

	descLACTunnels  = metric("lac_tunnels", "Tunnels of the LACs of a profile.", "lac")
	descLACSessions = metric("lac_sessions", "Calls in the tunnels of the LACs of a profile.", "lac")

	descCalls       = metric("calls_total", "Calls that ended their set-up, by whether they came up.", "result")
	descFailovers   = metric("tunnel_failovers_total", "Tunnels by how they went through a failure of this node or of one that it took over from: silent, recovered (RFC 4951), failed; peer: the LAC had failed, and recovered the tunnel.", "kind")
	descTunnelSetup = metric("tunnel_setups_total", "Tunnels by whether they were established.", "result")
	descTunnelEnds  = metric("tunnel_ends_total", "Established tunnels that ended.")
	descEnds        = metric("session_ends_total", "Sessions that were up and ended.")
	descDowns       = metric("ends_total", "Sessions and calls that ended, by cause.", "cause")
	descRejects     = metric("call_rejects_total", "Calls that were refused at once, by cause.", "cause")
	descDropped     = metric("bad_input_total", "Input that was dropped, by reason.", "reason")
	descLineErrors  = metric("lac_line_errors_total", "LACs' reports of errors on subscribers' lines (WAN-Error-Notify).")
	descStale       = metric("stale_answers_total", "AAA answers that came when their session was gone.")
	descErrors      = metric("internal_errors_total", "Failures of the journal or of the data plane to do what the node asked; the log says which.", "part")
	descRecovered   = metric("recovered_total", "Tunnels and sessions that went on after an earlier life of the node, or came from another node.", "kind")
	descConfirms    = metric("durability_waits_total", "New tunnels and sessions whose acknowledgement waited for the database (durability: cluster), by how that ended.", "result")
	descConfirmTime = metric("durability_wait_seconds_total", "Time that acknowledgements waited for the database, in all.")
	descConfirmMax  = metric("durability_wait_max_seconds", "The longest time that an acknowledgement waited for the database.")
	descSetup       = metric("call_setup_seconds", "Time from ICRQ to packets flowing.")
)

// collector makes metrics of what the node and the sources say at each scrape.
type collector struct {
	cfg  *Config
	node Node
}

func newCollector(cfg *Config, node Node) *collector { return &collector{cfg, node} }

// Describe sends nothing, which makes the collector unchecked: which metrics
// there are depends on the sources, and a test checks them.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	out := sink{ch}
	status := c.node.Status()
	c.collectStatus(out, &status)
	c.collectLACs(out)
	collectStats(out, c.node.Stats())
	collectSources(out, &c.cfg.Sources)
}

func (c *collector) collectStatus(out sink, st *lns.Status) {
	h := checkHealth(c.cfg, st.Draining, len(st.Listeners))
	out.gauge(descInfo, 1, st.Node, st.Version, st.Plane)
	out.gauge(descStart, float64(st.Started.UnixMilli())/1000)
	out.gauge(descEpoch, float64(st.Epoch))
	out.gauge(descDraining, boolean(st.Draining))
	out.gauge(descReady, boolean(len(h.notReady) == 0))
	out.gauge(descTunnels, float64(st.Tunnels))
	out.gauge(descSessions, float64(st.Sessions))
	out.gauge(descSettling, float64(st.SettingUp))
}

// collectLACs has a line for every profile, also for those without a tunnel:
// that a LAC has none is just what an alert must see. Tunnels of a profile
// that was removed count as lac="".
func (c *collector) collectLACs(out sink) {
	uses := lacUses(c.node.Tunnels())
	for _, p := range c.node.LACs() {
		use := uses[p.Name]
		delete(uses, p.Name)
		out.gauge(descLACTunnels, float64(use.tunnels), p.Name)
		out.gauge(descLACSessions, float64(use.sessions), p.Name)
	}
	var rest lacUse
	for _, use := range uses {
		rest.tunnels += use.tunnels
		rest.sessions += use.sessions
	}
	if rest.tunnels > 0 {
		out.gauge(descLACTunnels, float64(rest.tunnels), "")
		out.gauge(descLACSessions, float64(rest.sessions), "")
	}
}

func collectStats(out sink, st lns.Stats) {
	out.counter(descCalls, st.SessionsUp, "up")
	out.counter(descCalls, st.CallsFailed, "failed")
	out.counter(descEnds, st.SessionsDown)
	out.counter(descTunnelSetup, st.TunnelsUp, "up")
	out.counter(descTunnelSetup, st.TunnelsFailed, "failed")
	out.counter(descTunnelSetup, st.TunnelsRefused, "refused")
	out.counter(descTunnelEnds, st.TunnelsDown)
	out.counters(descFailovers, st.Failovers)
	out.counter(descRecovered, st.TunnelsRecovered, "tunnel")
	out.counter(descRecovered, st.SessionsRecovered, "session")
	out.counters(descDowns, st.Downs)
	out.counters(descRejects, st.Rejects)
	out.counters(descDropped, st.Dropped)
	out.counter(descLineErrors, st.LineErrors)
	out.counter(descStale, st.StaleAnswers)
	out.counter(descErrors, st.JournalErrors, "journal")
	out.counter(descErrors, st.PlaneErrors, "plane")
	out.counter(descConfirms, st.Confirms-st.ConfirmLate, "confirmed")
	out.counter(descConfirms, st.ConfirmLate, "late")
	out.counterSeconds(descConfirmTime, st.ConfirmSum)
	out.gauge(descConfirmMax, st.ConfirmMax.Seconds())
	out.histogram(descSetup, lns.SetupBuckets[:], st.SetupCounts[:], st.SetupSum)
}

// sink sends metrics.
type sink struct{ ch chan<- prometheus.Metric }

func (s sink) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s sink) counter(d *prometheus.Desc, v uint64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

// counterSeconds sends a time that only grows.
func (s sink) counterSeconds(d *prometheus.Desc, v time.Duration) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v.Seconds())
}

// counters sends one counter for each key, in order.
func (s sink) counters(d *prometheus.Desc, m map[string]uint64) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		s.counter(d, m[k], k)
	}
}

// histogram sends counts[i] of values up to bounds[i]; they are not
// cumulative, and the last count is beyond all bounds.
func (s sink) histogram(d *prometheus.Desc, bounds []time.Duration, counts []uint64, sum time.Duration, labels ...string) {
	buckets := make(map[float64]uint64, len(bounds))
	var n uint64
	for i, c := range counts {
		n += c
		if i < len(bounds) {
			buckets[bounds[i].Seconds()] = n
		}
	}
	s.ch <- prometheus.MustNewConstHistogram(d, n, sum.Seconds(), buckets, labels...)
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
