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
var actionNames = map[string]Actions{
	"tld": TLD, "irc": IRC, "zrc": ZRC, "scr": SCR, "str": STR, "sca": SCA, "scn": SCN,
	"sta": STA, "scj": SCJ, "ser": SER, "tls": TLS, "tlf": TLF, "tlu": TLU,
}

// footnotes are the letters behind states in the RFC's table, and how the
// automaton stands to them. Only cells with r and p could have been otherwise.
var footnotes = map[byte]string{
	'r': "the restart option is not taken: an Open in this state changes nothing, since a LAC's call that has to begin anew is another call",
	'p': "the passive option is not taken: a peer that does not answer Max-Configure requests has left, and its call is to end, not to wait for it",
	'x': "a crossed connection, as printed",
}

// printedCells reads the RFC's text: state and event to cell, footnotes included.
func printedCells(t *testing.T) map[string]string {
	cells := map[string]string{}
	var states []string
	for line := range strings.Lines(printedTable) {
		head, row, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "|")
		fields := strings.Fields(row)
		event := strings.TrimSpace(head)
		switch {
		case !ok || len(fields) == 0 || strings.HasPrefix(row, " State"):
		case event == "":
			// The states' numbers; their names are in the next line.
		case event == "Events":
			states = fields
		default:
			if len(fields) != len(states) {
				t.Fatalf("row %q has %d cells for %d states", line, len(fields), len(states))
			}
			for i, f := range fields {
				cells[states[i]+"/"+event] = f
			}
		}
	}
	return cells
}

// cell is what a cell's text asks for. A dash asks for nothing.
func cell(t *testing.T, text string, from State) (acts Actions, next State, note byte) {
	t.Helper()
	if text == "-" {
		return 0, from, 0
	}
	if last := text[len(text)-1]; last < '0' || last > '9' {
		text, note = text[:len(text)-1], last
	}
	names, state, found := strings.Cut(text, "/")
	if !found {
		names, state = "", text
	}
	n, err := strconv.Atoi(state)
	if err != nil {
		t.Fatalf("cell %q: %v", text, err)
	}
	before := Actions(0)
	for name := range strings.SplitSeq(names, ",") {
		a, ok := actionNames[name]
		if !ok && name != "" || ok && a < before {
			t.Fatalf("cell %q: action %q is none, or out of the order that Actions promises", text, name)
		}
		acts, before = acts|a, a
	}
	return acts, State(n), note
}

// paths are events that lead from Initial to each state. TO- stands for as many timeouts as it takes.
var paths = [numStates][]Event{
	Initial:  {},
	Starting: {Open},
	Closed:   {Up},
	Stopped:  {Open, Up, TOMinus},
	Closing:  {Open, Up, Close},
	Stopping: {Open, Up, RCRPlus, RCA, RXJMinus},
	ReqSent:  {Open, Up},
	AckRcvd:  {Open, Up, RCA},
	AckSent:  {Open, Up, RCRPlus},
	Opened:   {Open, Up, RCRPlus, RCA},
}

// automatonIn drives a new automaton to a state, as its owner would.
func automatonIn(t *testing.T, l *Limits, want State) (a *Automaton, now time.Duration) {
	t.Helper()
	a = new(Automaton)
	for _, e := range paths[want] {
		if e == TOMinus {
			now = timeouts(t, a, l)
		}
		a.Step(now, l, e)
	}
	if a.State() != want {
		t.Fatalf("the path to %v leads to %v", want, a.State())
	}
	return a, now
}

// timeouts lets the restart timer expire until the event would be TO-, and gives the time.
func timeouts(t *testing.T, a *Automaton, l *Limits) (now time.Duration) {
	t.Helper()
	for range 2 + int(l.MaxConfigure) {
		now = a.Deadline()
		e, ok := a.Timeout(now, l)
		if !ok {
			t.Fatalf("the timer that is due at %v did not expire", now)
		}
		if e == TOMinus {
			return now
		}
		a.Step(now, l, e)
	}
	t.Fatal("requests have no end")
	return 0
}

// TestRFC1661 runs the automaton through every cell of the table in section 4.1, 16
// events in 10 states, and compares actions, next state, restart timer and restart
// counter with what the RFC prints.
func TestRFC1661(t *testing.T) {
	cells := printedCells(t)
	if want := int(numEvents) * int(numStates); len(cells) != want {
		t.Fatalf("the RFC's text has %d cells, want %d", len(cells), want)
	}
	for s := range numStates {
		t.Run(s.String(), func(t *testing.T) {
			for e := range numEvents {
				t.Run(e.String(), func(t *testing.T) {
					text, ok := cells[s.String()+"/"+e.String()]
					if !ok {
						t.Fatal("the RFC's text has no such cell")
					}
					runCell(t, text, s, e)
				})
			}
		})
	}
}

// runCell gives an automaton in a state an event, and checks all that follows.
func runCell(t *testing.T, text string, s State, e Event) {
	acts, next, note := cell(t, text, s)
	if note != 0 {
		t.Logf("%s: %s", text, footnotes[note])
	}
	l := testLimits()
	if s == AckRcvd && e == TOMinus {
		// The Ack sets the restart counter, and the first timeout leads to Req-Sent: with no
		// requests to spare alone can this happen.
		l.MaxConfigure = 0
	}
	a, now := automatonIn(t, l, s)
	switch timed := e == TOPlus || e == TOMinus; {
	case timed && text == "-":
		if _, ok := a.Timeout(now+time.Hour, l); ok {
			t.Error("the restart timer expired where it does not run")
		}
	case e == TOMinus:
		if now = timeouts(t, a, l); a.State() != s {
			t.Fatalf("before TO- it is in %v", a.State())
		}
	case e == TOPlus:
		now = a.Deadline()
		if got, ok := a.Timeout(now, l); !ok || got != TOPlus {
			t.Fatalf("the first timeout is %v, %v", got, ok)
		}
	}
	left := a.restart
	if got := a.Step(now, l, e); got != acts || a.State() != next {
		t.Fatalf("actions %v and %v, want %s", actionText(got), a.State(), text)
	}
	if running := a.Deadline() != Never; running != runs(next) {
		t.Errorf("the restart timer runs: %v, in %v", running, next)
	}
	want := left
	switch {
	case acts&ZRC != 0:
		want = 0
	case acts&IRC != 0 && acts&STR != 0:
		want = l.MaxTerminate
	case acts&IRC != 0:
		want = l.MaxConfigure
	}
	if acts&(SCR|STR) != 0 && want > 0 {
		want--
	}
	if a.restart != want {
		t.Errorf("%d more requests may be sent, want %d", a.restart, want)
	}
}

// actionText prints actions as the RFC does.
func actionText(acts Actions) string {
	var names []string
	for bit := TLD; bit <= TLU; bit <<= 1 {
		for name, a := range actionNames {
			if a == bit && acts&bit != 0 {
				names = append(names, name)
			}
		}
	}
	return fmt.Sprint(names)
}

func TestNoEvent(t *testing.T) {
	a := Automaton{state: Opened}
	if acts := a.Step(0, testLimits(), numEvents); acts != 0 || a.State() != Opened {
		t.Error("an event that is none did something")
	}
}

func TestNames(t *testing.T) {
	if Opened.String() != "Opened" || State(99).String() != "unknown" || RXR.String() != "RXR" || Event(99).String() != "unknown" {
		t.Error("a state or an event has the wrong name")
	}
}
