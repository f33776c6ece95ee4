package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/aaa/radius/radtest"
	"culvert/ops/lab/proc"
	"culvert/sessiondb/postgres/pgtest"
)

// durabilityConfig is quiet, and has room.
const durabilityConfig = `node: lns1
shutdown: drop
l2tp: {listen: ["127.0.0.1:%[1]d"]}
plane: {mode: memory}
subscriber: {local_address: 100.64.0.1}
lacs: [{name: lab, prefixes: [127.0.0.0/8]}]
radius:
  auth: {servers: [{name: auth, address: "%[2]s", secret: %[4]s}]}
  acct: {servers: [{name: acct, address: "%[3]s", secret: %[4]s}]}
pools: [{name: main, ranges: [100.65.0.0-100.71.255.255]}]
journal: {dir: %[5]s/journal}
api: {socket: %[5]s/lnsd.sock, http: "127.0.0.1:0"}
log: {level: warn}
%[6]s`

// mode is one way to keep state.
type mode struct {
	name     string
	program  string
	database string // the durability, empty without
	// Of each round: calls in a second, microseconds of processor time for each call in
	// lnsd and in PostgreSQL, and milliseconds that half of the calls, and all but one in a hundred, took to come up.
	rate, lnsd, postgres, p50, p99 []float64
}

// TestDurabilityCost measures what keeping state costs a call, in turns: nothing kept, the
// journal, the journal with the database behind it, and acknowledgements that wait for the database. DURABILITY_CALLS and
// DURABILITY_ROUNDS make it larger; with them small it shows that each way works.
func TestDurabilityCost(t *testing.T) {
	db := pgtest.Start(t)
	calls, rounds := size("DURABILITY_CALLS", 300), size("DURABILITY_ROUNDS", 1)
	lnsd := filepath.Join(bin, "lnsd")
	modes := []*mode{
		{name: "nothing", program: build(t, "nojournal")}, {name: "journal", program: lnsd},
		{name: "node", program: lnsd, database: "node"}, {name: "cluster", program: lnsd, database: "cluster"},
	}
	for range rounds {
		for _, m := range modes {
			m.round(t, db, calls)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d calls in each of %d rounds, medians; processor time in microseconds for a call\n", calls, rounds)
	fmt.Fprintf(&b, "%-9s %9s %7s %8s %9s %8s %8s\n", "kept", "calls/s", "ratio", "lnsd", "postgres", "p50 ms", "p99 ms")
	for _, m := range modes {
		fmt.Fprintf(&b, "%-9s %9.0f %7.2f %8.0f %9.0f %8.1f %8.1f\n", m.name, median(m.rate), median(m.rate)/median(modes[0].rate),
			median(m.lnsd), median(m.postgres), median(m.p50), median(m.p99))
	}
	t.Logf("\n%s", b.String())
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// round is one run of calls, on a fresh lnsd.
func (m *mode) round(t *testing.T, db *pgtest.Server, calls int) {
	t.Helper()
	l := &lab{t: t, dir: shortDir(t), program: m.program, port: freePort(t)}
	var err error
	l.radius, err = radtest.New(radtest.Config{Secret: []byte(radiusSecret), AnyPassword: password})
	must(t, err)
	defer l.radius.Close()
	database := ""
	if m.database != "" {
		database = fmt.Sprintf("database: {url: %q, migrate: true, durability: %s}\n", db.NewDatabase(t), m.database)
	}
	text := fmt.Sprintf(durabilityConfig, l.port, l.radius.AuthAddr(), l.radius.AcctAddr(), radiusSecret, l.dir, database)
	must(t, os.WriteFile(filepath.Join(l.dir, "lnsd.yaml"), []byte(text), 0o600))
	l.start()
	defer func() { _ = l.lnsd.Stop(syscall.SIGKILL, patience) }()
	l.calls(100) // so that everything is warm
	before := [2]time.Duration{l.cpu(l.lnsd.PID()), l.cpu(postmaster(t, db))}
	r := l.calls(calls)
	time.Sleep(300 * time.Millisecond) // what is written behind
	m.rate = append(m.rate, r.Rate)
	m.p50, m.p99 = append(m.p50, r.Setup.P50), append(m.p99, r.Setup.P99)
	each := func(pid int, was time.Duration) float64 {
		return float64((l.cpu(pid) - was).Microseconds()) / float64(calls)
	}
	m.lnsd, m.postgres = append(m.lnsd, each(l.lnsd.PID(), before[0])), append(m.postgres, each(postmaster(t, db), before[1]))
	t.Logf("%-9s %6.0f calls/s, %.0f us in lnsd", m.name, r.Rate, m.lnsd[len(m.lnsd)-1])
}

// callReport is what lacsim says of calls.
type callReport struct {
	Rate  float64 `json:"calls_per_second"`
	Setup struct {
		P50 float64 `json:"p50_ms"`
		P99 float64 `json:"p99_ms"`
	}
	OK bool
}

// calls has lacsim place calls and hang up.
func (l *lab) calls(n int) (r callReport) {
	l.t.Helper()
	report := filepath.Join(l.dir, "calls.json")
	out, err := exec.Command("timeout", "120", filepath.Join(bin, "lacsim"), "run", "--lns", fmt.Sprint("127.0.0.1:", l.port), "--lacs", "10",
		"--sessions", strconv.Itoa(max(1, n/10)), "--password", password, "-q", "--json", report).CombinedOutput()
	if err != nil {
		l.t.Fatalf("lacsim: %v\n%s\nlnsd:\n%s", err, out, l.lnsd.Tail(10))
	}
	text, err := os.ReadFile(report)
	must(l.t, err)
	must(l.t, json.Unmarshal(text, &r))
	if !r.OK {
		l.t.Fatalf("lacsim is not content:\n%s", text)
	}
	return r
}

func (l *lab) cpu(pid int) time.Duration {
	l.t.Helper()
	d, err := proc.CPUTree(pid)
	must(l.t, err)
	return d
}

// postmaster is the process of the database whose children work.
func postmaster(t *testing.T, db *pgtest.Server) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(db.Dir, "postmaster.pid"))
	if os.IsNotExist(err) {
		list, _ := filepath.Glob(filepath.Join(db.Dir, "*", "postmaster.pid"))
		if len(list) == 1 {
			b, err = os.ReadFile(list[0])
		}
	}
	must(t, err)
	first, _, _ := bytes.Cut(b, []byte("\n"))
	pid, err := strconv.Atoi(string(first))
	must(t, err)
	return pid
}
