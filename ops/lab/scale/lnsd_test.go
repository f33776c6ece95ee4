package scale

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/ops/lab/proc"
)

// httpAddr is where lnsd serves metrics and profiles.
const httpAddr = "127.0.0.1:9107"

// radiusSecret is shared with every RADIUS server; password is every subscriber's.
const (
	radiusSecret = "radius-secret"
	password     = "secret"
)

// lnsdConfig leaves everything at its default that a carrier would leave so.
const lnsdConfig = `node: lns1
shutdown: drop
l2tp:
  listen: ["%[1]s:1701"]
subscriber:
  local_address: %[2]s
  dns: [9.9.9.9, 149.112.112.112]
lacs:
  - name: wholesale
    prefixes: [%[3]s/32]
    auth: [pap]
radius:
%[4]s
pools:
  - name: main
    ranges: [%[5]s]
    exclude: [%[2]s]
    skip_edges: true
journal:
  dir: %[6]s/journal
database:
  url: %[7]s
  migrate: true
api:
  socket: %[6]s/lnsd.sock
  http: %[8]s
`

// lnsd is the server under test.
type lnsd struct{ *proc.Daemon }

// startLNSD starts lnsd with a section "radius" and a database, and waits
// until it takes calls and has found its database.
func (l *lab) startLNSD(t *testing.T, dir, radius, database string) *lnsd {
	t.Helper()
	// The journal is temporary, and a socket's path must be short.
	state, err := makeTemporary("lnsd")
	must(t, err)
	file := filepath.Join(dir, "lnsd.yaml")
	must(t, os.WriteFile(file, fmt.Appendf(nil, lnsdConfig, lnsAddr, gatewayAddr, lacAddr, radius, pool, state, database, httpAddr), 0o600))
	d, err := proc.Start(dir, "lnsd", nil, filepath.Join(l.bin, "lnsd"), "run", "--config", file)
	must(t, err)
	s := &lnsd{d}
	t.Cleanup(func() {
		_ = s.Stop(syscall.SIGKILL, 10*time.Second)
		_ = os.RemoveAll(state)
	})
	must(t, proc.Await(30*time.Second, 20*time.Millisecond, d, func() error {
		m, err := s.metrics()
		if err == nil && (m["culvert_ready"] != 1 || m["culvert_database_up"] != 1 || m["culvert_database_resyncs_total"] < 1) {
			err = fmt.Errorf("lnsd is not ready")
		}
		return err
	}))
	return s
}

// page gets one of lnsd's pages.
func (s *lnsd) page(path string) ([]byte, error) {
	r, err := http.Get("http://" + httpAddr + path)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, r.Status, b)
	}
	return b, err
}

// metrics gives the metrics by name and labels, as they are on the page.
func (s *lnsd) metrics() (map[string]float64, error) {
	b, err := s.page("/metrics")
	if err != nil {
		return nil, err
	}
	return parseMetrics(b), nil
}

func parseMetrics(page []byte) map[string]float64 {
	m := map[string]float64{}
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		if v, err := strconv.ParseFloat(line[at+1:], 64); err == nil {
			m[line[:at]] = v
		}
	}
	return m
}

// heap gives the octets of live objects on lnsd's heap, after a garbage collection.
func (s *lnsd) heap() (int64, error) {
	b, err := s.page("/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		return 0, err
	}
	return parseHeap(b)
}

// parseHeap finds runtime.MemStats.HeapAlloc in a heap profile in words.
func parseHeap(page []byte) (int64, error) {
	for lines := bufio.NewScanner(bytes.NewReader(page)); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "# HeapAlloc = "); ok {
			return strconv.ParseInt(text, 10, 64)
		}
	}
	return 0, fmt.Errorf("the heap profile does not tell HeapAlloc")
}

// saveProfile keeps one of lnsd's profiles.
func (s *lnsd) saveProfile(dir, name, path string) error {
	b, err := s.page("/debug/pprof/" + path)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), b, 0o644)
}

// complaints are the lines of lnsd's log that no good run has.
func (s *lnsd) complaints() []string {
	f, err := os.Open(s.Log)
	if err != nil {
		return []string{err.Error()}
	}
	defer f.Close()
	var list []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		text := lines.Text()
		bad := strings.Contains(text, "level=ERROR") || strings.Contains(text, "level=WARN") && !strings.Contains(text, "not for subscribers")
		if bad && len(list) < 10 {
			list = append(list, text)
		}
	}
	return list
}

func TestParseMetrics(t *testing.T) {
	m := parseMetrics([]byte("# HELP a b\na 1\nb{x=\"y z\"} 2.5\n\nnonsense\n"))
	if len(m) != 2 || m["a"] != 1 || m[`b{x="y z"}`] != 2.5 {
		t.Errorf("parseMetrics: %v", m)
	}
}

func TestParseHeap(t *testing.T) {
	if n, err := parseHeap([]byte("heap profile: 1\n# HeapAlloc = 12345\n# HeapSys = 9\n")); n != 12345 || err != nil {
		t.Errorf("parseHeap: %d, %v", n, err)
	}
	if _, err := parseHeap([]byte("heap profile: 1\n")); err == nil {
		t.Error("parseHeap of a page without numbers gave no error")
	}
}
