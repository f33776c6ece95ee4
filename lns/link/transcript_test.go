package link

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
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

// message is what goes with a verdict: a text, or an EAP packet as eap=HEX.
func (s *script) message(f []string) string {
	text := strings.Join(f, " ")
	if packet, ok := strings.CutPrefix(text, "eap="); ok {
		return string(s.hex(packet))
	}
	return text
}

// challenge reads eap=, state= (both in hexadecimal), timeout= and ignored.
func (s *script) challenge(fields []string) {
	var c Challenge
	for _, f := range fields {
		switch key, value, _ := strings.Cut(f, "="); key {
		case "eap":
			c.Packet = s.hex(value)
		case "state":
			c.State = s.hex(value)
		case "timeout":
			c.Timeout = s.duration(value)
		case "ignored":
			c.Ignored = true
		default:
			s.t.Fatalf("unknown field %q of a challenge", f)
		}
	}
	if err := s.link.Challenge(s.now, &c, s.fx); err != nil {
		s.note("refused: " + err.Error())
	}
}

// wait lets time go by, with every tick that is wanted.
func (s *script) wait(d time.Duration) {
	end := s.now + d
	for s.link.Deadline() <= end {
		s.now = s.link.Deadline()
		s.link.Tick(s.now, s.fx)
		s.show()
	}
	s.now = end
}

// config sets fields of the configuration.
func (s *script) config(fields []string) {
	for _, f := range fields {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "auth":
			s.cfg.Auth = nil
			for _, m := range strings.Split(value, ",") {
				s.cfg.Auth = append(s.cfg.Auth, map[string]Method{"pap": MethodPAP, "chap": MethodCHAP, "mschapv2": MethodMSCHAPv2, "eap": MethodEAP}[m])
			}
			if value == "none" {
				s.cfg.Auth = nil
			}
		case "mru":
			s.cfg.MRU = uint16(s.number(value))
		case "echo":
			s.cfg.EchoInterval = s.duration(value)
		case "failures":
			s.cfg.EchoFailures = int(s.number(value))
		case "setup":
			s.cfg.SetupTimeout = s.duration(value)
		case "proxy":
			s.cfg.Proxy = map[string]ProxyPolicy{"accept": ProxyAccept, "strict": ProxyStrict, "always": ProxyAlways}[value]
		case "rejectpfc":
			s.cfg.RejectPFC = true
		case "rejectacfc":
			s.cfg.RejectACFC = true
		case "dns":
			s.net.DNS = [2]netip.Addr{}
		case "noaddress":
			s.net.Local, s.net.Peer = netip.Addr{}, netip.Addr{}
		default:
			s.t.Fatalf("unknown setting %q", f)
		}
	}
	if err := s.cfg.Validate(); err != nil {
		s.t.Fatal(err)
	}
}

// proxy reads sent=, received=, auth=, name=, id=, challenge=, response=;
// all values but auth, name and id in hexadecimal.
func (s *script) proxy(fields []string) *Proxy {
	if len(fields) == 0 {
		return nil
	}
	p := new(Proxy)
	for _, f := range fields {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "sent":
			p.LastSent = s.hex(value)
		case "received":
			p.LastReceived = s.hex(value)
		case "auth":
			p.AuthType = uint16(s.number(value))
		case "name":
			p.AuthName = []byte(value)
		case "id":
			p.AuthID = uint16(s.number(value))
		case "challenge":
			p.AuthChallenge = s.hex(value)
		case "response":
			p.AuthResponse = s.hex(value)
		default:
			s.t.Fatalf("unknown proxy field %q", f)
		}
	}
	return p
}

// frame builds a frame from "PROTOCOL CODE ID data...", or "raw HEX".
func (s *script) frame(f []string) []byte {
	if f[0] == "raw" {
		return s.hex(strings.Join(f[1:], ""))
	}
	p := protocolNamed(f[0])
	code, id := s.code(p, f[1]), uint8(s.number(f[2]))
	var data []byte
	switch {
	case p == ppp.ProtocolPAP:
		data = ppp.AppendPAPRequest(nil, id, f[3], f[4])[4:]
	case p == ppp.ProtocolCHAP && code == ppp.CHAPResponse:
		data = ppp.AppendCHAPValue(nil, code, id, s.hex(f[3]), f[4])[4:]
	case p == ppp.ProtocolEAP:
		data = s.hex(strings.Join(f[3:], ""))
	case code <= ppp.ConfigureReject:
		for _, o := range f[3:] {
			data = s.option(data, p, o)
		}
	default:
		data = s.hex(strings.Join(f[3:], ""))
	}
	return frameOf(p, ppp.AppendPacket(nil, code, id, data))
}

func frameOf(p ppp.Protocol, packet []byte) []byte {
	return append(ppp.AppendHeader(nil, p, false, false), packet...)
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

func (s *script) number(v string) uint64 {
	n, err := strconv.ParseUint(v, 0, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *script) duration(v string) time.Duration {
	d, err := time.ParseDuration(v)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *script) hex(v string) []byte {
	b, err := hex.DecodeString(v)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}
