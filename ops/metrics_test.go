package ops

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"culvert/lns"
	"culvert/lns/dataplane"
	"culvert/ops/opstest"
	"culvert/sessiondb"
)

// everything is a configuration and a node that have all metrics there are.
func everything() (Config, *opstest.Node) {
	node := opstest.Sample(5)
	stats := lns.Stats{
		TunnelsUp: 1, TunnelsDown: 2, TunnelsFailed: 3, TunnelsRefused: 4, TunnelsRecovered: 91, SessionsRecovered: 92, SessionsUp: 15, SessionsDown: 6, CallsFailed: 7,
		Downs: map[string]uint64{"user-request": 8}, Rejects: map[string]uint64{"busy": 9}, Dropped: map[string]uint64{"malformed": 10},
		Failovers:    map[string]uint64{"silent": 16, "recovered": 17},
		StaleAnswers: 11, LineErrors: 14, JournalErrors: 12, PlaneErrors: 13, SetupSum: 40 * time.Second,
	}
	stats.SetupCounts[0], stats.SetupCounts[2], stats.SetupCounts[len(lns.SetupBuckets)] = 10, 4, 1
	node.SetStats(stats)
	return Config{Sources: Sources{
		Cluster: func() ClusterStats {
			return ClusterStats{Lease: 8 * time.Second, Members: 2, Addresses: 4, Owned: 2, Serving: 2}
		},
		Plane: func() dataplane.Stats { return dataplane.Stats{Received: 21, Sent: 22, Overrun: 23, TooBig: 24} },
		Writer: func() sessiondb.WriterStats {
			return sessiondb.WriterStats{Connected: true, Pending: 31, Lag: 1500 * time.Millisecond}
		},
		Pools: func() []PoolStats { return []PoolStats{{Name: "default", Size: 254, Used: 41, Acquired: 42, Full: 43}} },
		RADIUS: func() []RADIUSServerStats {
			latency := []uint64{1, 2, 3}
			bounds := []time.Duration{time.Millisecond, time.Second}
			return []RADIUSServerStats{
				{Server: "r1", Use: "auth", Alive: true, Accepts: 51, Rejects: 52, LatencyBounds: bounds, Latency: latency, LatencySum: 9 * time.Second},
				{Server: "r1", Use: "acct", Responses: 53, Late: 54, LatencyBounds: bounds, Latency: latency},
			}
		},
		IPsec: func() IPsecStats {
			return IPsecStats{Wanted: true, Connected: true, SAs: map[string]int{"north": 81}, Up: 82, Rekeyed: 83, Early: 84,
				Gone: map[lns.SACause]uint64{lns.SAEndDPD: 84}, Failures: map[lns.IKEReason]uint64{lns.IKENoProposal: 85}, IKEUp: 86}
		},
		DynAuth: func() DynAuthStats { return DynAuthStats{ACKs: 61, UnknownClients: 62, Disconnected: 63} },
		Outbox:  func() OutboxStats { return OutboxStats{Pending: 71, Acknowledged: 72, Retried: 73} },
	}}.withDefaults(), node
}

func TestMetrics(t *testing.T) {
	cfg, node := everything()
	code, page := get(t, cfg, node, "/metrics", "127.0.0.1:1")
	if code != http.StatusOK {
		t.Fatalf("%d: %s", code, page)
	}
	for _, want := range strings.Split(strings.TrimSpace(`
culvert_build_info{node="lns1",plane="memory",version="1.2.3"} 1
culvert_start_time_seconds 1.7723448e+09
culvert_draining 0
culvert_ready 1
culvert_tunnels 3
culvert_sessions 4
culvert_calls_setting_up 1
culvert_lac_tunnels{lac="north"} 2
culvert_lac_sessions{lac="south"} 2
culvert_calls_total{result="up"} 15
culvert_calls_total{result="failed"} 7
culvert_tunnel_setups_total{result="refused"} 4
culvert_recovered_total{kind="tunnel"} 91
culvert_recovered_total{kind="session"} 92
culvert_ends_total{cause="user-request"} 8
culvert_call_rejects_total{cause="busy"} 9
culvert_bad_input_total{reason="malformed"} 10
culvert_ipsec_charon_up 1
culvert_ipsec_sas{lac="north"} 81
culvert_ipsec_sas_established_total 82
culvert_ipsec_early_packets_total 84
culvert_ipsec_rekeyings_total 83
culvert_ipsec_sas_gone_total{cause="dpd"} 84
culvert_ipsec_ike_failures_total{reason="no-proposal"} 85
culvert_ipsec_ike_sas_total{event="established"} 86
culvert_internal_errors_total{part="plane"} 13
culvert_call_setup_seconds_bucket{le="0.01"} 10
culvert_call_setup_seconds_bucket{le="0.05"} 14
culvert_call_setup_seconds_bucket{le="30"} 14
culvert_call_setup_seconds_bucket{le="+Inf"} 15
culvert_call_setup_seconds_sum 40
culvert_plane_received_datagrams_total 21
culvert_plane_dropped_packets_total{reason="overrun"} 23
culvert_database_up 1
culvert_database_pending_changes 31
culvert_database_behind_seconds 1.5
culvert_pool_used_addresses{pool="default"} 41
culvert_pool_refusals_total{pool="default",reason="full"} 43
culvert_radius_server_up{server="r1",use="acct"} 0
culvert_radius_requests_total{result="rejected",server="r1",use="auth"} 52
culvert_radius_requests_total{result="acknowledged",server="r1",use="acct"} 53
culvert_radius_dropped_replies_total{reason="late",server="r1",use="acct"} 54
culvert_radius_reply_seconds_bucket{server="r1",use="auth",le="1"} 3
culvert_radius_reply_seconds_sum{server="r1",use="auth"} 9
culvert_dynauth_answers_total{result="ack"} 61
culvert_accounting_pending_records 71
culvert_accounting_retries_total 73
`), "\n") {
		if !strings.Contains(page, "\n"+want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
	if strings.Contains(page, "user1@example.net") {
		t.Error("a user's name is in a label")
	}
	if !strings.Contains(page, "go_goroutines") || !strings.Contains(page, "process_cpu_seconds_total") {
		t.Error("the runtime's metrics are missing")
	}
}

// TestMetricsWithoutSources: what a node does not have is absent, not zero.
func TestMetricsWithoutSources(t *testing.T) {
	_, page := get(t, Config{}, opstest.NewNode(), "/metrics", "127.0.0.1:1")
	for _, absent := range []string{"culvert_database_", "culvert_pool_", "culvert_radius_", "culvert_accounting_", "culvert_plane_", "culvert_dynauth_"} {
		if strings.Contains(page, absent) {
			t.Errorf("%s is there", absent)
		}
	}
	if !strings.Contains(page, "\nculvert_sessions 0\n") {
		t.Errorf("no sessions in %s", page)
	}
}

// TestMetricsOfARemovedLAC: its tunnels count, under no name.
func TestMetricsOfARemovedLAC(t *testing.T) {
	node := opstest.Sample(4)
	if err := node.DeleteLAC("north"); err != nil {
		t.Fatal(err)
	}
	_, page := get(t, Config{}, node, "/metrics", "127.0.0.1:1")
	if !strings.Contains(page, "\nculvert_lac_tunnels{lac=\"\"} 2\n") || strings.Contains(page, `lac="north"`) {
		t.Errorf("got %s", page)
	}
}

// TestMetricsLint checks names and help texts by Prometheus' own rules.
func TestMetricsLint(t *testing.T) {
	cfg, node := everything()
	families, err := newRegistry(&cfg, node).Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// promtool runs Prometheus' own checker where it is installed.
func promtool(t *testing.T, input []byte, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is not installed (package prometheus)")
		}
		t.Skip("promtool is not installed (package prometheus)")
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = bytes.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestMetricsByPromtool(t *testing.T) {
	cfg, node := everything()
	_, page := get(t, cfg, node, "/metrics", "127.0.0.1:1")
	promtool(t, []byte(page), "check", "metrics")
}
