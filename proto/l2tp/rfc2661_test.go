package l2tp

import (
	"os"
	"strings"
	"testing"
)

// rfcInputs turns the RFC's events into inputs of the machines, as the tables in testdata
// name them. What is "acceptable" is the plain message.
var rfcInputs = map[string]string{
	"Local Open request": "open", "Admin Tunnel Close": "close", "Receive SCCRQ, lose tie-breaker": "tie lost",
	"tunnel-open": "dial", "Local close request": "close", "Local Close request": "close",
	"Bearer line drop": "close", "Bearer failure": "close", "Bearer answer, framing detected": "answer",
}

// rfcActions are the RFC's actions as the tests of the machines name them.
var rfcActions = map[string]string{
	"none": "nothing", "Prepare for data": "up", "tunnel-open": "up", "Send SCCCN, tunnel-open": "send SCCCN, up",
	"Send ICCN": "send ICCN, up", "Send OCCN": "send OCCN, up", "Send CDN, Clean up": "send CDN, clean up",
	"Clean up": "clean up", "Clean up, Re-queue SCCRQ": "clean up",
	// The bearer is the owner's.
	"Send OCRP, Open bearer": "send OCRP",
}

// rfcDeviations are the cells in which a machine does something else than the RFC says, and why.
var rfcDeviations = map[string]struct{ does, why string }{
	"7.2.1/idle/Receive SCCRP":             {"down", "no tunnel of ours has begun, so the SCCRP is for nobody: who answered it would let strangers make us send"},
	"7.2.1/established/Local Open request": {"nothing", "no session waits for a tunnel that is up: its owner places a new call at once, by Send"},
	"7.5.2/wait-connect/Receive OCCN":      {"up", "the RFC's none leaves out that data may flow, as it says for an incoming call"},
}

// rfcElsewhere are cells of the RFC's wait-tunnel that are their owners': no Call is there before
// its tunnel is. The tests of that name are in packages lac and lns.
var rfcElsewhere = map[string]string{
	"7.4.1/idle/Bearer Ring":        "lac",
	"7.5.2/idle/Local Open request": "lns",
}

// rfcInputsOf are the inputs of an event in a section's machine. A message of the control connection
// of which the RFC does not say whether it is acceptable stands for both kinds; refuse is a call
// message that is not acceptable.
func rfcInputsOf(section, event string) []string {
	if in, ok := rfcInputs[event]; ok {
		return []string{in}
	}
	message, how, judged := strings.Cut(strings.TrimPrefix(event, "Receive "), ", ")
	switch {
	case section == "7.2.1" && how == "not acceptable":
		return []string{"bad " + message}
	case section == "7.2.1" && !judged && message != "StopCCN":
		return []string{message, "bad " + message}
	case how == "not acceptable":
		return []string{"refuse"}
	}
	return []string{message}
}

// rfcState is a state of ours in the RFC's words. The RFC's idle is two states here, before and
// after, and its wait-tunnel is the first of them.
func rfcState(state string) string {
	switch state {
	case "stopping", "down":
		return "idle"
	}
	return state
}

// TestRFC2661 runs the machines through every cell of the tables in sections 7.2.1 (control
// connection), 7.4.1 and 7.4.2 (incoming call), 7.5.1 and 7.5.2 (outgoing call), and compares
// what they do with what the RFC says.
func TestRFC2661(t *testing.T) {
	seen := map[string]bool{}
	var order []string
	bySection := map[string][][]string{}
	for _, row := range readTable(t, "rfc2661.table") {
		key := strings.Join(row[:3], "/")
		if len(row) != 5 || seen[key] {
			t.Fatalf("row %q is not whole, or is there twice", row)
		}
		seen[key] = true
		if bySection[row[0]] == nil {
			order = append(order, row[0])
		}
		bySection[row[0]] = append(bySection[row[0]], row)
	}
	for _, section := range order {
		t.Run(section, func(t *testing.T) {
			for _, row := range bySection[section] {
				t.Run(row[1]+"/"+row[2], func(t *testing.T) {
					for _, in := range rfcInputsOf(row[0], row[2]) {
						runRow(t, row, in)
					}
				})
			}
		})
	}
	for section, want := range map[string]int{"7.2.1": 22, "7.4.1": 20, "7.4.2": 16, "7.5.1": 17, "7.5.2": 22} {
		if got := len(bySection[section]); got != want {
			t.Errorf("section %s has %d cells here, the RFC's table %d", section, got, want)
		}
	}
	for key := range rfcDeviations {
		if !seen[key] {
			t.Errorf("a deviation from %q, which the RFC does not have", key)
		}
	}
	for key := range rfcElsewhere {
		if !seen[key] {
			t.Errorf("%q, which is said to be elsewhere, is not in the RFC", key)
		}
	}
}

// runRow runs one cell with one input.
func runRow(t *testing.T, row []string, in string) {
	t.Helper()
	key := strings.Join(row[:3], "/")
	if where, ok := rfcElsewhere[key]; ok {
		t.Logf("the owner's: TestRFC2661 of package %s", where)
		return
	}
	did, next := rfcRun(t, row[0], row[1], in)
	want := row[3]
	if action, ok := rfcActions[want]; ok {
		want = action
	} else if rest, ok := strings.CutPrefix(want, "Send "); ok {
		want = "send " + strings.ReplaceAll(rest, "Clean up", "clean up")
	}
	if row[0] == "7.2.1" {
		want = strings.ReplaceAll(want, "clean up", "down")
	}
	if d, ok := rfcDeviations[key]; ok {
		t.Logf("the RFC says %q; this does %q: %s", row[3], d.does, d.why)
		if want == d.does {
			t.Error("this is no deviation any more")
		}
		want = d.does
	}
	if did != want || rfcState(next) != row[4] {
		t.Errorf("did %q and is in %s; want %q and %s", did, next, want, row[4])
	}
}

// rfcRun gives the machine of a section, in a state, an input.
func rfcRun(t *testing.T, section, state, in string) (did, next string) {
	t.Helper()
	role := RoleLAC
	if strings.HasSuffix(section, ".2") {
		role = RoleLNS
	}
	if state == "wait-tunnel" {
		state = "idle"
	}
	switch section[:3] {
	case "7.2":
		input, ok := tunnelInputNames[in]
		if !ok {
			t.Fatalf("no input %q", in)
		}
		did, next := tunnelDoes(t, TunnelState(stateNamed(t, tunnelStateNames[:], state)), input)
		return did, next.String()
	case "7.4":
		input, ok := callInputNames[in]
		if !ok {
			t.Fatalf("no input %q", in)
		}
		c, fx := callIn(role, CallState(stateNamed(t, callStateNames[:], state)), input)
		return callDid(&fx), c.State().String()
	}
	input, ok := outInputNames[in]
	if !ok {
		t.Fatalf("no input %q", in)
	}
	c, fx := outCallIn(role, CallState(stateNamed(t, callStateNames[:], state)), input)
	return callDid(&fx), c.State().String()
}

// TestRFC2661Complete compares the cells of the machines' own tables that are not marked as
// ours alone with the cells of the RFC: none is missing on either side.
func TestRFC2661Complete(t *testing.T) {
	ours := map[string]bool{}
	for _, file := range []string{"tunnel.table", "call.table", "outcall.table"} {
		b, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			cell, comment, _ := strings.Cut(line, "#")
			row := strings.Split(cell, "|")
			if len(row) < 4 || strings.HasPrefix(strings.TrimSpace(comment), "*") {
				continue
			}
			for i := range row {
				row[i] = strings.TrimSpace(row[i])
			}
			if file == "tunnel.table" {
				row = append([]string{"tunnel"}, row...)
			}
			ours[strings.TrimSuffix(file, ".table")+"/"+strings.Join(row[:3], "/")] = true
		}
	}
	machines := map[string]string{"7.2.1": "tunnel/tunnel", "7.4.1": "call/LAC", "7.4.2": "call/LNS", "7.5.1": "outcall/LAC", "7.5.2": "outcall/LNS"}
	rfc := map[string]bool{}
	for _, row := range readTable(t, "rfc2661.table") {
		if rfcElsewhere[strings.Join(row[:3], "/")] != "" {
			continue
		}
		state := strings.Replace(row[1], "wait-tunnel", "idle", 1)
		for _, in := range rfcInputsOf(row[0], row[2]) {
			rfc[machines[row[0]]+"/"+state+"/"+in] = true
		}
	}
	for key := range rfc {
		if !ours[key] {
			t.Errorf("%s is in the RFC, and not in our table, or marked as ours alone", key)
		}
	}
	for key := range ours {
		if !rfc[key] {
			t.Errorf("%s is in our table, and not in the RFC; mark it with *", key)
		}
	}
}
