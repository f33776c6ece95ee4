package ops

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"culvert/ops/opstest"
)

// TestPrometheusScrapes runs a real Prometheus with the shipped rules against a
// node and asks it what it has understood.
func TestPrometheusScrapes(t *testing.T) {
	path, err := exec.LookPath("prometheus")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("prometheus is not installed (package prometheus)")
		}
		t.Skip("prometheus is not installed (package prometheus)")
	}
	cfg := socketConfig(t)
	cfg.HTTP = "127.0.0.1:0"
	s := start(t, cfg, opstest.Sample(7)) // the last of them is not up yet
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	base := startPrometheus(t, path, s.HTTPAddr().String())
	for query, want := range map[string]string{
		`up{job="culvert"}`:     "1",
		`sum(culvert_sessions)`: "6",
	} {
		var got string
		for range 100 {
			if got = ask(t, base, query); got == want {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if got != want {
			t.Errorf("%s is %q, want %s", query, got, want)
		}
	}
	var rules struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Health, LastError, Name string }
			}
		}
	}
	getJSON(t, base+"/api/v1/rules", &rules)
	n := 0
	for _, g := range rules.Data.Groups {
		for _, r := range g.Rules {
			n++
			if r.LastError != "" {
				t.Errorf("rule %s: %s", r.Name, r.LastError)
			}
		}
	}
	if n == 0 {
		t.Error("Prometheus has loaded no rule")
	}
}

// startPrometheus scrapes target until the test ends.
func startPrometheus(t *testing.T, path, target string) (base string) {
	t.Helper()
	dir := t.TempDir()
	rules, err := filepath.Abs("prometheus/culvert.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("global: {scrape_interval: 200ms, evaluation_interval: 200ms}\nrule_files: [%q]\nscrape_configs: [{job_name: culvert, static_configs: [{targets: [%q]}]}]\n", rules, target)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	cmd := exec.Command(path, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	base = "http://" + address
	for range 150 {
		if r, err := http.Get(base + "/-/ready"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return base
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("Prometheus is not ready after 15 s")
	return ""
}

// ask is the value of a query's only result, empty when there is none.
func ask(t *testing.T, base, query string) string {
	t.Helper()
	var r struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	getJSON(t, base+"/api/v1/query?query="+url.QueryEscape(query), &r)
	if len(r.Data.Result) != 1 {
		return ""
	}
	return fmt.Sprint(r.Data.Result[0].Value[1])
}

func getJSON(t *testing.T, url string, into any) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatalf("%s: %v: %s", url, err, b)
	}
}
