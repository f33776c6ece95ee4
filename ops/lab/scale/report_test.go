package scale

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"culvert/ops/lab/proc"
)

// result is one run's figures. CPU is in microseconds for each call, memory in
// octets for each session, times are in seconds.
type result struct {
	LNS      string `json:"lns"`
	Case     string `json:"case"`
	Tunnels  int    `json:"tunnels"`
	Sessions int    `json:"sessions"`
	// RADIUS is who answered; Packets says that a ping went through every session.
	RADIUS  string `json:"radius"`
	Packets bool   `json:"packets"`

	CallsPerSecond float64 `json:"calls_per_second"`
	SetupP50       float64 `json:"setup_p50_ms"`
	SetupP90       float64 `json:"setup_p90_ms"`
	SetupP99       float64 `json:"setup_p99_ms"`

	// CPU is the LNS's from the first datagram to the last record acknowledged
	// and written; SetupCPU until all were up and their Starts acknowledged, EndCPU the rest.
	CPU         float64 `json:"cpu_us"`
	SetupCPU    float64 `json:"cpu_setup_us"`
	EndCPU      float64 `json:"cpu_end_us"`
	DatabaseCPU float64 `json:"postgres_cpu_us"`
	RADIUSCPU   float64 `json:"radius_cpu_us"`
	LACCPU      float64 `json:"lacsim_cpu_us"`
	// Idle is the LNS's CPU in microseconds a second with all sessions up.
	Idle float64 `json:"idle_cpu_us_per_second"`

	Heap int64 `json:"heap_per_session"`
	RSS  int64 `json:"rss_per_session"`

	// RowsLag is how long after the last session was up the database had all rows; EndLag how long
	// after the last one was gone it had all history and no unacknowledged record.
	RowsLag float64 `json:"rows_lag_s"`
	EndLag  float64 `json:"end_lag_s"`

	// Retransmissions are lacsim's, RADIUSAgain lnsd's to its RADIUS servers.
	Retransmissions uint64 `json:"retransmissions"`
	RADIUSAgain     uint64 `json:"radius_retransmissions"`
}

// fill computes the figures of a run of n sessions: began is before the first call, up with all
// up, before the hang-up, end after the last record.
func (x *result) fill(n int, rep lacsimReport, began, up, before, end sample) {
	per := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) }
	x.CallsPerSecond = rep.CallsPerSecond
	x.SetupP50, x.SetupP90, x.SetupP99 = rep.Setup.P50, rep.Setup.P90, rep.Setup.P99
	x.SetupCPU, x.EndCPU = per(up.lnsd-began.lnsd), per(end.lnsd-before.lnsd)
	x.CPU = x.SetupCPU + x.EndCPU
	x.DatabaseCPU = per(up.db - began.db + end.db - before.db)
	x.RADIUSCPU = per(up.radius - began.radius + end.radius - before.radius)
	x.LACCPU = rep.CPUPerCall
	x.Heap, x.RSS = (up.heap-began.heap)/int64(n), (up.rss-began.rss)/int64(n)
	x.Retransmissions = rep.Wire.Retransmissions
}

// idle measures what lnsd uses while nothing happens but keepalives.
func (x *result) idle(r *run, n int) {
	r.t.Helper()
	from, err := proc.CPU(r.lnsd.PID())
	must(r.t, err)
	began := time.Now()
	time.Sleep(idleFor())
	to, err := proc.CPU(r.lnsd.PID())
	must(r.t, err)
	x.Idle = float64((to - from).Microseconds()) / time.Since(began).Seconds()
}

// columns of the table.
var columns = []struct {
	name  string
	value func(*result) string
}{
	{"case", func(x *result) string { return x.Case }},
	{"LNS", func(x *result) string { return x.LNS }},
	{"RADIUS", func(x *result) string { return x.RADIUS }},
	{"calls/s", func(x *result) string { return fmt.Sprintf("%.0f", x.CallsPerSecond) }},
	{"p50 ms", func(x *result) string { return fmt.Sprintf("%.1f", x.SetupP50) }},
	{"p90", func(x *result) string { return fmt.Sprintf("%.1f", x.SetupP90) }},
	{"p99", func(x *result) string { return fmt.Sprintf("%.1f", x.SetupP99) }},
	{"us/call", func(x *result) string { return fmt.Sprintf("%.0f", x.CPU) }},
	{"set-up", func(x *result) string { return fmt.Sprintf("%.0f", x.SetupCPU) }},
	{"end", func(x *result) string { return fmt.Sprintf("%.0f", x.EndCPU) }},
	{"pg us", func(x *result) string { return fmt.Sprintf("%.0f", x.DatabaseCPU) }},
	{"radius us", func(x *result) string { return fmt.Sprintf("%.0f", x.RADIUSCPU) }},
	{"lacsim us", func(x *result) string { return fmt.Sprintf("%.0f", x.LACCPU) }},
	{"heap B", func(x *result) string { return fmt.Sprint(x.Heap) }},
	{"rss B", func(x *result) string { return fmt.Sprint(x.RSS) }},
	{"idle %", func(x *result) string { return fmt.Sprintf("%.2f", x.Idle/1e4) }},
	{"rows s", func(x *result) string { return fmt.Sprintf("%.2f", x.RowsLag) }},
	{"end s", func(x *result) string { return fmt.Sprintf("%.2f", x.EndLag) }},
	{"again", func(x *result) string { return fmt.Sprintf("%d/%d", x.Retransmissions, x.RADIUSAgain) }},
}

// table is the results for people.
func table(list []*result) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, c := range columns {
		fmt.Fprintf(w, "%s\t", c.name)
	}
	fmt.Fprintln(w)
	for _, x := range list {
		for _, c := range columns {
			fmt.Fprintf(w, "%s\t", c.value(x))
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	return b.String()
}

// report prints the table and keeps it, and the figures as JSON.
func (l *lab) report(t *testing.T, name string, list []*result, more ...string) {
	if len(list) == 0 {
		return
	}
	text := table(list) + strings.Join(more, "")
	b, err := json.MarshalIndent(list, "", "  ")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(l.out, name+".json"), append(b, '\n'), 0o644))
	must(t, os.WriteFile(filepath.Join(l.out, name+".txt"), []byte(text), 0o644))
	fmt.Printf("\n%s\n", text)
}

func TestFill(t *testing.T) {
	var x result
	x.fill(1000, lacsimReport{CallsPerSecond: 7},
		sample{lnsd: time.Second, db: time.Second, heap: 5 << 20, rss: 30 << 20},
		sample{lnsd: 1100 * time.Millisecond, db: 1010 * time.Millisecond, radius: time.Millisecond, heap: 5<<20 + 2e6, rss: 30<<20 + 4e6},
		sample{lnsd: 2 * time.Second, db: 2 * time.Second, radius: time.Second},
		sample{lnsd: 2050 * time.Millisecond, db: 2020 * time.Millisecond, radius: time.Second})
	want := result{CallsPerSecond: 7, SetupCPU: 100, EndCPU: 50, CPU: 150, DatabaseCPU: 30, RADIUSCPU: 1, Heap: 2000, RSS: 4000}
	if x != want {
		t.Errorf("fill: %+v, want %+v", x, want)
	}
	text := table([]*result{&x})
	if lines := strings.Split(text, "\n"); len(lines) != 3 || len(lines[0]) != len(lines[1]) || !strings.Contains(lines[1], " 150 ") {
		t.Errorf("table:\n%s", text)
	}
}
