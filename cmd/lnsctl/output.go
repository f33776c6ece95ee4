package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// column is one column of a table over rows of type T.
type column[T any] struct {
	title string
	wide  bool // only with -o wide
	right bool // numbers
	value func(T) string
}

// printList prints rows as a table or as a JSON array; what says what they are when there are none.
func printList[T proto.Message](a *app, what string, rows []T, columns []column[T]) error {
	if a.Output == "json" {
		return printJSONList(a.out, rows)
	}
	if len(rows) == 0 {
		fmt.Fprintf(a.errOut, "no %s\n", what)
		return nil
	}
	var used []column[T]
	for _, c := range columns {
		if !c.wide || a.Output == "wide" {
			used = append(used, c)
		}
	}
	cells := make([][]string, 0, len(rows)+1)
	titles := make([]string, len(used))
	for i, c := range used {
		titles[i] = c.title
	}
	cells = append(cells, titles)
	for _, r := range rows {
		line := make([]string, len(used))
		for i, c := range used {
			line[i] = dash(clean(c.value(r)))
		}
		cells = append(cells, line)
	}
	pad(cells, func(i int) bool { return used[i].right })
	return writeTable(a.out, cells)
}

// pad aligns numbers to the right; tabwriter can do that for all columns or none.
func pad(cells [][]string, right func(int) bool) {
	for i := range cells[0] {
		if !right(i) {
			continue
		}
		width := 0
		for _, line := range cells {
			width = max(width, len([]rune(line[i])))
		}
		for _, line := range cells {
			line[i] = strings.Repeat(" ", width-len([]rune(line[i]))) + line[i]
		}
	}
}

func writeTable(w io.Writer, cells [][]string) error {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, line := range cells {
		fmt.Fprintln(t, strings.Join(line, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// fact is one line of a detailed view.
type fact struct{ name, value string }

// printFacts prints what has a value.
func printFacts(w io.Writer, facts []fact) error {
	var cells [][]string
	for _, f := range facts {
		if f.value != "" {
			cells = append(cells, []string{f.name, clean(f.value)})
		}
	}
	return writeTable(w, cells)
}

// printOne prints a message as JSON or as facts.
func printOne(a *app, m proto.Message, facts func() []fact) error {
	if a.Output == "json" {
		b, err := marshal(m)
		if err != nil {
			return err
		}
		return writeJSON(a.out, b)
	}
	return printFacts(a.out, facts())
}

func printJSONList[T proto.Message](w io.Writer, rows []T) error {
	list := make([]json.RawMessage, len(rows))
	for i, r := range rows {
		b, err := marshal(r)
		if err != nil {
			return err
		}
		list[i] = b
	}
	b, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return writeJSON(w, b)
}

// marshal gives protobuf's JSON with the field names of the .proto files and all fields.
func marshal(m proto.Message) ([]byte, error) {
	return protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(m)
}

// writeJSON indents, which also undoes the spaces that protojson varies on purpose.
func writeJSON(w io.Writer, b []byte) error {
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return err
	}
	out.WriteByte('\n')
	_, err := w.Write(out.Bytes())
	return err
}

// clean makes control characters visible: names come from subscribers, and
// must neither steer the terminal nor break a table.
func clean(s string) string {
	if !strings.ContainsFunc(s, hidden) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if hidden(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// hidden characters steer terminals or change the order of what is read.
func hidden(r rune) bool { return r != ' ' && !unicode.IsGraphic(r) || unicode.Is(unicode.Cf, r) }

// dash marks an empty cell, so that columns can be counted by scripts.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// writeJSONLine puts a message on one line.
func writeJSONLine(w io.Writer, b []byte) error {
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		return err
	}
	out.WriteByte('\n')
	_, err := w.Write(out.Bytes())
	return err
}
