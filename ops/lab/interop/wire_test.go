package interop

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// setupLimit is how long the quickest call of all may take from SCCRQ to address: less than it takes either end to repeat what
// got lost, or what nobody answered. What each takes is in the table, for the machine that it ran on: a quarter of a second on an
// idle one, and ten times that where a guest in user mode gets little of its processor.
const setupLimit = 2500 * time.Millisecond

// finish ends the run: what the capture tells of each case and of us, and the table.
func (l *lab) finish(t *testing.T) {
	var all []packet
	err := errors.Join(l.capture.end(), l.radius.keep(l.out))
	if err == nil {
		all, err = l.capture.packets()
	}
	if err != nil {
		t.Error(err)
		return
	}
	for _, x := range l.report.rows {
		if err := x.readCapture(all); err != nil {
			t.Errorf("%s: %v", x.name, err)
		}
	}
	if d := l.report.quickest(); d >= setupLimit {
		t.Errorf("the quickest set-up took %v, want less than %v", d, setupLimit)
	}
	summary, err := judge(all)
	if err = errors.Join(err, unanswered(all), l.eapFits(all)); err != nil {
		t.Error(err)
	}
	text := l.report.table() + "\n" + summary + "\n"
	t.Log("\n" + text)
	if err := os.WriteFile(filepath.Join(l.out, "results.txt"), []byte(text), 0o644); err != nil {
		t.Error(err)
	}
}

// readCapture finds a case's set-up time, and compares the octets of its
// calls on the wire with those that were accounted.
func (x *row) readCapture(all []packet) error {
	if x.wantSetup && !x.t.Failed() {
		x.setup = setup(all, x.began, x.ended)
		if x.setup == 0 {
			return x.late("up", errors.New("no set-up was captured"))
		}
	}
	for _, c := range x.calls {
		sent, received := wire(all, c.addr, c.began, x.ended)
		if sent != c.in || received != c.out {
			return x.late("wire", fmt.Errorf("%s: accounted %d octets in and %d out, on the wire were %d and %d", c.line.name, c.in, c.out, sent, received))
		}
		x.marks["wire"] = "ok"
	}
	return nil
}

// quickest is the shortest set-up, 0 when there was none.
func (r *report) quickest() (least time.Duration) {
	for _, x := range r.rows {
		if x.setup > 0 && (least == 0 || x.setup < least) {
			least = x.setup
		}
	}
	return least
}

// late marks a failure that shows only after a case has ended.
func (x *row) late(column string, err error) error {
	x.marks[column], x.failed = "FAIL", true
	if x.note == "" {
		x.note = err.Error()
	}
	return err
}

// knownFalse are expert complaints of Wireshark 4.0 against packets that are
// right, each with the reason. None may be wider than its reason.
var knownFalse = []struct{ text, reason string }{
	{"D-SACK Sequence", "a subscriber's TCP tells its peer that a segment came twice, as RFC 2883 has it"},
	{"Vulnerable to MITM attacks. If possible, change EAP type.", "MD5-Challenge is what this subscriber and FreeRADIUS agree on"},
}

// judge checks every packet that we sent: nothing malformed, and no expert
// information of warning or worse.
func judge(all []packet) (summary string, err error) {
	var bad []string
	var ours, theirs, complaints int
	for _, p := range all {
		wrong := p.malformed || p.severity >= severityWarn
		switch {
		case !p.l2tp:
		case !ofLNS(p.src):
			theirs++
			if wrong {
				complaints++
			}
		default:
			ours++
			if wrong && !excused(p) {
				bad = append(bad, fmt.Sprintf("packet %s: malformed %t, severity %#x: %s", p.number, p.malformed, p.severity, p.expert))
			}
		}
	}
	summary = fmt.Sprintf("tshark: %d L2TP packets of ours decoded, %d of them wrong; %d of the LAC's, %d of them wrong", ours, len(bad), theirs, complaints)
	if ours == 0 {
		return summary, fmt.Errorf("the capture has no L2TP packet of ours")
	}
	if len(bad) > 0 {
		err = fmt.Errorf("tshark complains of %d packets of ours:\n%s", len(bad), strings.Join(bad[:min(20, len(bad))], "\n"))
	}
	return summary, err
}

// unanswered checks that each echo request that came from a subscriber went
// back to it as one reply.
func unanswered(all []packet) error {
	seen := map[string]int{}
	for _, p := range all {
		switch {
		case p.echo == "":
		case p.reply:
			seen[p.echo]--
		default:
			seen[p.echo]++
		}
	}
	var bad []string
	for _, p := range all {
		if p.echo == "" || p.reply || ofLNS(p.src) {
			continue // ours may be lost by the guest
		}
		if seen[p.echo] != 0 {
			bad = append(bad, fmt.Sprintf("packet %s: %s", p.number, p.echo))
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("%d echo requests of subscribers have no reply, or two:\n%s", len(bad), strings.Join(bad[:min(20, len(bad))], "\n"))
	}
	return nil
}

// excused tells whether all that is said against a packet is known to be false.
func excused(p packet) bool {
	if p.malformed {
		return false
	}
	for _, k := range knownFalse {
		if p.expert == k.text {
			return true
		}
	}
	return false
}

func TestUnanswered(t *testing.T) {
	out := packet{src: securedAddr, echo: "a b 1 1"}
	back := packet{src: lnsAddr, echo: "a b 1 1", reply: true}
	for _, tt := range []struct {
		name string
		all  []packet
		ok   bool
	}{
		{"answered", []packet{out, back}, true},
		{"lost", []packet{out}, false},
		{"twice", []packet{out, back, back}, false},
		{"ours, lost by the guest", []packet{{src: lnsAddr, echo: "b a 1 1"}}, true},
	} {
		if err := unanswered(tt.all); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestJudge(t *testing.T) {
	good := packet{src: lnsAddr, l2tp: true, severity: 0x400000}
	for _, tt := range []struct {
		name string
		all  []packet
		ok   bool
	}{
		{"nothing", nil, false},
		{"good", []packet{good}, true},
		{"warned", []packet{good, {src: lnsAddr, l2tp: true, severity: severityWarn}}, false},
		{"malformed", []packet{good, {src: lnsAddr, l2tp: true, malformed: true}}, false},
		{"the LAC's", []packet{good, {src: securedAddr, l2tp: true, malformed: true}}, true},
		{"no L2TP", []packet{good, {src: lnsAddr, malformed: true}}, true},
	} {
		if _, err := judge(tt.all); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
