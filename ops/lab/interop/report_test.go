package interop

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// columns are the steps of a case, in the order in which they are tried.
var columns = []string{"up", "dns", "ping", "tcp", "acct", "sql", "wire", "end"}

// table is the result of the run for people.
func (r *report) table() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "case\tresult\tset-up\t%s\tnote\n", strings.Join(columns, "\t"))
	for _, x := range r.rows {
		setup := "-"
		if x.setup > 0 {
			setup = fmt.Sprintf("%d ms", x.setup.Round(time.Millisecond).Milliseconds())
		}
		marks := make([]string, len(columns))
		for i, c := range columns {
			if marks[i] = x.marks[c]; marks[i] == "" {
				marks[i] = "-"
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", x.name, x.result(), setup, strings.Join(marks, "\t"), x.note)
	}
	w.Flush()
	return b.String()
}

// result is a case's outcome in one word.
func (x *row) result() string {
	if x.t.Failed() || x.failed {
		return "FAIL"
	}
	return "pass"
}

// firstLine is a text up to its first newline.
func firstLine(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	return text
}
