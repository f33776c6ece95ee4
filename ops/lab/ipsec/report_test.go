package ipsec

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// report collects rows for the table.
type report struct {
	mu   sync.Mutex
	rows []*row
}

// row is one case of the table: what was tried, and how each step went.
type row struct {
	t     *testing.T
	name  string
	began time.Time
	took  time.Duration
	steps []string
	note  string
}

func newReport() *report { return &report{} }

// row begins a case.
func (r *report) row(t *testing.T) *row {
	_, name, _ := strings.Cut(t.Name(), "/")
	x := &row{t: t, name: name, began: time.Now()}
	r.mu.Lock()
	r.rows = append(r.rows, x)
	r.mu.Unlock()
	t.Cleanup(func() { x.took = time.Since(x.began) })
	return x
}

// check does one step of a case; the case ends with the first that fails.
func (x *row) check(step string, f func() error) {
	x.t.Helper()
	if err := f(); err != nil {
		x.steps = append(x.steps, step+" FAILED")
		x.t.Fatalf("%s: %v", step, err)
	}
	x.steps = append(x.steps, step)
}

// write leaves the table in a file.
func (r *report) write(out string) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "case\tresult\ttook\tsteps")
	for _, x := range r.rows {
		result := "pass"
		if x.t.Failed() {
			result = "FAIL"
		}
		steps := strings.Join(x.steps, ", ")
		if x.note != "" {
			steps += " (" + x.note + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%.1f s\t%s\n", x.name, result, x.took.Seconds(), steps)
	}
	w.Flush()
	return os.WriteFile(filepath.Join(out, "results.txt"), []byte(b.String()), 0o644)
}
