package ops

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// metricName finds names of metrics in expressions.
var metricName = regexp.MustCompile(`\b(?:culvert|process|go)_[a-z0-9_]+\b`)

// metricNames are all series names that a node can have.
func metricNames(t *testing.T) map[string]bool {
	t.Helper()
	cfg, node := everything()
	families, err := newRegistry(&cfg, node).Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, f := range families {
		names[f.GetName()] = true
		if f.GetMetric()[0].GetHistogram() != nil {
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				names[f.GetName()+suffix] = true
			}
		}
	}
	return names
}

// TestRulesAndDashboardNameRealMetrics keeps both true to the code.
func TestRulesAndDashboardNameRealMetrics(t *testing.T) {
	names := metricNames(t)
	for _, file := range []string{"prometheus/culvert.rules.yaml", "grafana/culvert.json"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := metricName.FindAllString(string(b), -1)
		if len(found) < 10 {
			t.Errorf("%s: only %d names found; is the expression right?", file, len(found))
		}
		for _, name := range found {
			if !names[name] {
				t.Errorf("%s: no metric %s", file, name)
			}
		}
	}
}

// TestLabelsInRules: a matcher or a grouping by a label that no metric has
// would never fire.
func TestLabelsInRules(t *testing.T) {
	cfg, node := everything()
	families, err := newRegistry(&cfg, node).Gather()
	if err != nil {
		t.Fatal(err)
	}
	known := []string{"instance", "job", "le"}
	for _, f := range families {
		for _, l := range f.GetMetric()[0].GetLabel() {
			known = append(known, l.GetName())
		}
	}
	b, err := os.ReadFile("prometheus/culvert.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	used := regexp.MustCompile(`\$labels\.([a-z_]+)|[{,]([a-z_]+)(?:=~|!=|=)"|by \(([a-z_, ]+)\)`).FindAllStringSubmatch(string(b), -1)
	for _, m := range used {
		for _, label := range strings.Split(m[1]+m[2]+m[3], ",") {
			if !slices.Contains(known, strings.TrimSpace(label)) {
				t.Errorf("%s: no metric has label %q", m[0], label)
			}
		}
	}
}

func TestRulesByPromtool(t *testing.T) {
	promtool(t, nil, "check", "rules", "prometheus/culvert.rules.yaml")
	promtool(t, nil, "test", "rules", "prometheus/culvert.test.yaml")
}

// TestEveryAlertIsTested: culvert.test.yaml has each alert of the rules when it fires, and when it does not.
func TestEveryAlertIsTested(t *testing.T) {
	rules, err := os.ReadFile("prometheus/culvert.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("prometheus/culvert.test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	alerts := regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(rules), -1)
	if len(alerts) < 20 {
		t.Errorf("only %d alerts found; is the expression right?", len(alerts))
	}
	for _, a := range alerts {
		for what, pattern := range map[string]string{"fires": `\s+exp_alerts:\s+- exp_labels`, "does not fire": `, exp_alerts: \[\]`} {
			if !regexp.MustCompile(`alertname: ` + a[1] + pattern).Match(tests) {
				t.Errorf("no test has %s when it %s", a[1], what)
			}
		}
	}
}

// dashboard is what is checked of Grafana's file.
type dashboard struct {
	Panels []struct {
		ID      int
		Title   string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr string }
	}
}

func TestDashboard(t *testing.T) {
	b, err := os.ReadFile("grafana/culvert.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	ids, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("%s: id %d is there twice", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s is over %q, or beyond the 24 columns", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if len(p.Targets) == 0 {
			t.Errorf("%s shows nothing", p.Title)
		}
	}
	checkExpressions(t, d)
}

// checkExpressions has promtool read the dashboard's expressions as recording rules.
func checkExpressions(t *testing.T, d dashboard) {
	t.Helper()
	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	variables := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*")
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			expr, err := json.Marshal(variables.Replace(target.Expr))
			if err != nil {
				t.Fatal(err)
			}
			rules.WriteString("  - {record: x, expr: " + string(expr) + ", labels: {panel: " + string(mustJSON(t, target.Expr)) + "}}\n")
		}
	}
	file := t.TempDir() + "/rules.yaml"
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, nil, "check", "rules", file)
}

func mustJSON(t *testing.T, s string) []byte {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestUnit checks the service file, by systemd's own checker where there is one.
func TestUnit(t *testing.T) {
	b, err := os.ReadFile("systemd/lnsd.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := "\n" + string(b)
	for _, want := range []string{
		"Type=notify", "AmbientCapabilities=CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_NET_RAW",
		"CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_NET_RAW",
		"RuntimeDirectory=culvert", "DeviceAllow=/dev/net/tun rw", "NoNewPrivileges=yes",
	} {
		if !strings.Contains(unit, "\n"+want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	path, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd-analyze is not installed (package systemd); the text alone was checked")
		return
	}
	// The daemon need not be installed where the test runs.
	file := t.TempDir() + "/lnsd.service"
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(b), "/usr/bin/lnsd", "/bin/true")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), path, "verify", "--man=no", file).CombinedOutput(); err != nil || strings.Contains(string(out), "lnsd.service:") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
