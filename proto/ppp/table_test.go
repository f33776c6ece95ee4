package ppp

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// printedTable is the table as RFC 1661 section 4.1 prints it.
//
//go:embed testdata/rfc1661-4.1.txt
var printedTable string

// actionNames are the RFC's short names, in the order of the bits.
var actionNames = map[Actions]string{
	TLD: "tld", IRC: "irc", ZRC: "zrc", SCR: "scr", STR: "str", SCA: "sca", SCN: "scn",
	STA: "sta", SCJ: "scj", SER: "ser", TLS: "tls", TLF: "tlf", TLU: "tlu",
}

// cellText prints a transition as the RFC does, without its footnotes.
func cellText(t transition) string {
	if !t.valid {
		return "-"
	}
	var names []string
	for bit := TLD; bit <= TLU; bit <<= 1 {
		if t.actions&bit != 0 {
			names = append(names, actionNames[bit])
		}
	}
	if len(names) == 0 {
		return strconv.Itoa(int(t.next))
	}
	return strings.Join(names, ",") + "/" + strconv.Itoa(int(t.next))
}

// printedCells reads the RFC's text: event and state to cell, without the
// footnotes r, p and x.
func printedCells(t *testing.T) map[string]string {
	cells := map[string]string{}
	var states []string
	for line := range strings.Lines(printedTable) {
		head, row, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "|")
		fields := strings.Fields(row)
		event := strings.TrimSpace(head)
		switch {
		case !ok || len(fields) == 0 || strings.HasPrefix(row, " State") || event == "Events":
		case event == "":
			states = fields
		default:
			if len(fields) != len(states) {
				t.Fatalf("row %q has %d cells for %d states", line, len(fields), len(states))
			}
			for i, f := range fields {
				cells[event+" in "+states[i]] = strings.TrimRight(f, "rpx")
			}
		}
	}
	return cells
}

func TestTableIsTheRFCs(t *testing.T) {
	cells := printedCells(t)
	if want := int(numEvents) * int(numStates); len(cells) != want {
		t.Fatalf("the RFC's text has %d cells, want %d", len(cells), want)
	}
	for e := range numEvents {
		for s := range numStates {
			key := fmt.Sprintf("%v in %d", e, s)
			if got := cellText(table[e][s]); got != cells[key] {
				t.Errorf("%s (%v): table has %s, RFC 1661 prints %s", key, s, got, cells[key])
			}
		}
	}
}

// Every cell through Step: actions, next state, and whether the restart
// timer runs, which it does in states 4 to 8 only.
func TestStepFollowsTheTable(t *testing.T) {
	l := DefaultLimits()
	for e := range numEvents {
		for s := range numStates {
			a := Automaton{state: s, restart: 3}
			if runs(s) {
				a.deadline = time.Second
			}
			acts := a.Step(time.Second, &l, e)
			want := table[e][s]
			if !want.valid {
				want = transition{next: s}
			}
			if acts != want.actions || a.State() != want.next {
				t.Errorf("%v in %v: actions %b to %v, want %b to %v", e, s, acts, a.State(), want.actions, want.next)
			}
			if running := a.Deadline() != Never; running != runs(want.next) {
				t.Errorf("%v in %v: timer running %v in %v", e, s, running, want.next)
			}
		}
	}
	a := Automaton{state: Opened}
	if acts := a.Step(0, &l, numEvents); acts != 0 || a.State() != Opened {
		t.Error("an event that is none did something")
	}
}

func TestNames(t *testing.T) {
	if Opened.String() != "Opened" || State(99).String() != "unknown" || RXR.String() != "RXR" || Event(99).String() != "unknown" {
		t.Error("a state or an event has the wrong name")
	}
}
