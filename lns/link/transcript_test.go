package link

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/proto/ppp"
)

var update = flag.Bool("update", false, "write what the links do into testdata")

// script runs one transcript: lines with an indent are what the link did,
// and are made anew; the others are comments and what is done to it.
type script struct {
	t    *testing.T
	cfg  Config
	link Link
	fx   *Effects
	now  time.Duration
	out  strings.Builder
	// last is our last Configure-Request of each protocol, for "ack".
	last map[ppp.Protocol]ppp.Packet
	net  Network
	// downs counts the link's ends.
	downs int
}

// TestTranscripts runs testdata/*.txt. What the commands mean is at the top
// of testdata/README.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			golden, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := newScript(t).run(string(golden))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(golden) {
				t.Errorf("%s: the link did (-update writes it):\n%s", file, firstDifference(string(golden), got))
			}
		})
	}
}

// firstDifference shows where two texts part.
func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s\n\n%s", i+1, w[i], g[i], got)
		}
	}
	return fmt.Sprintf("%d lines, want %d\n%s", len(g), len(w), got)
}

func newScript(t *testing.T) *script {
	return &script{t: t, cfg: *testConfig(t, MethodCHAP, MethodPAP), fx: NewEffects(16), last: map[ppp.Protocol]ppp.Packet{}, net: testNetwork()}
}

func (s *script) run(text string) string {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "  ") {
			continue
		}
		s.out.WriteString(line + "\n")
		if f := strings.Fields(line); len(f) > 0 && f[0] != "#" {
			s.do(f)
			s.show()
		}
	}
	if s.downs > 1 {
		s.t.Errorf("the link ended %d times", s.downs)
	}
	return s.out.String()
}

// do does one command.
func (s *script) do(f []string) {
	switch f[0] {
	case "config":
		s.config(f[1:])
	case "start":
		s.link.Start(s.now, &s.cfg, seeded(1), s.proxy(f[1:]), s.fx)
	case "recv":
		s.link.Receive(s.now, s.frame(f[1:]), s.fx)
	case "ack":
		p := s.last[protocolNamed(f[1])]
		s.link.Receive(s.now, frameOf(protocolNamed(f[1]), ppp.AppendPacket(nil, ppp.ConfigureAck, p.ID, p.Data)), s.fx)
	case "tick":
		s.now = s.link.Deadline()
		s.link.Tick(s.now, s.fx)
	case "wait":
		s.wait(s.duration(f[1]))
	case "grant":
		s.link.Grant(s.now, s.net, s.message(f[1:]), s.fx)
	case "deny":
		s.link.Deny(s.now, s.message(f[1:]), s.fx)
	case "challenge":
		s.challenge(f[1:])
	case "close":
		s.link.Close(s.now, s.fx)
	default:
		s.t.Fatalf("unknown command %q", f[0])
	}
}

// show writes down what the link did, and forgets it.
func (s *script) show() {
	for i, b := range s.fx.Frames {
		if whole := s.fx.Whole(i); !bytes.Equal(whole[16:], b) {
			s.t.Errorf("frame % x has no headroom in % x", b, whole)
		}
		s.note("send " + s.describe(b))
	}
	if c := s.fx.Auth; c != nil {
		if c.Method == MethodEAP {
			s.note(fmt.Sprintf("auth EAP user=%q id=%d eap=%x state=%x mtu=%d", c.User, c.ID, c.EAP.Packet, c.EAP.State, c.EAP.MTU))
		} else {
			s.note(fmt.Sprintf("auth %v user=%q password=%q id=%d challenge=%x response=%x", c.Method, c.User, c.Password, c.ID, c.Challenge, c.Response))
		}
	}
	if s.fx.Restarted {
		s.note("restarted")
	}
	if s.fx.Up {
		s.note(fmt.Sprintf("up mtu=%d acfc=%v pfc=%v", s.link.MTU(), s.link.ACFC(), s.link.PFC()))
	}
	if s.fx.Down {
		s.downs++
		s.note(strings.TrimSpace("down " + s.fx.Reason.String() + " " + s.fx.Detail))
	}
	s.fx.Reset()
}

// note writes one line with its time in seconds.
func (s *script) note(line string) {
	fmt.Fprintf(&s.out, "  %.1f %s\n", s.now.Seconds(), line)
}
