package l2tp

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what happens into the transcripts of testdata")

// TestTranscripts plays testdata/*.txt: lines that are not indented are what is
// done to a tunnel, the indented ones below them are all that comes of it.
//
//	tunnel LNS|LAC secret="s" window=8 hello=10s accept ...
//	open
//	recv TYPE ns=0 nr=0 [to=ID] [sid=ID] AVPs   a datagram; response=right|wrong answers
//	                                            our challenge; optional clears the M bit of the type
//	recv ZLB ns=0 nr=1
//	say TYPE sid=9 AVPs                         Tunnel.Send
//	stop 6/0                                    Tunnel.Stop
//	recover 11/22, answer 3/100                 OpenRecovery, AnswerRecovery
//	hold, reset 3/100, suggest                  of an old tunnel
//	until 31s                                   time passes, with a Tick at every deadline
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("got:\n%s", diff(string(want), got))
			}
		})
	}
}

// diff shows the first line that differs, and what surrounds it.
func diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range g {
		if i >= len(w) || w[i] != g[i] {
			return fmt.Sprintf("line %d: %s\nwant:   %s", i+1, strings.Join(g[i:min(i+3, len(g))], "\n"), w[min(i, len(w)-1)])
		}
	}
	return got
}

// player plays one transcript.
type player struct {
	t         *testing.T
	tun       *Tunnel
	secret    []byte
	challenge []byte // ours, last sent
	now       time.Duration
	fx        Effects
	out       strings.Builder
}

func play(t *testing.T, script string) string {
	p := &player{t: t}
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "  ") {
			continue
		}
		p.out.WriteString(line + "\n")
		if w := words(line); len(w) > 0 && w[0] != "#" {
			p.do(w)
			p.told()
		}
	}
	return p.out.String()
}

func (p *player) do(w []string) {
	switch w[0] {
	case "tunnel":
		p.start(w[1:])
	case "open":
		p.tun.Open(p.now, &p.fx)
	case "recv":
		p.recv(w[1:])
	case "say":
		var sid uint16
		m := messageOf(p.t, w[1], w[2:], func(_, v string) { sid = uint16(number(p.t, v)) })
		if err := p.tun.Send(p.now, m, sid, &p.fx); err != nil {
			fmt.Fprintf(&p.out, "  error: %v\n", err)
		}
	case "stop":
		p.tun.Stop(p.now, resultFrom(p.t, w[1]), &p.fx)
	case "until":
		p.until(w[1])
	case "recover": // a recovery tunnel
		old, remote := pairFrom(p.t, w[1])
		p.tun.OpenRecovery(p.now, Recovery{old, remote}, &p.fx)
	case "answer": // the other end of one
		ns, nr := pairFrom(p.t, w[1])
		p.tun.AnswerRecovery(SuggestedSequence{ns, nr})
	case "hold":
		p.tun.Hold()
	case "reset":
		ns, nr := pairFrom(p.t, w[1])
		p.tun.Reset(p.now, ns, nr, &p.fx)
	case "suggest":
		s := p.tun.Suggest()
		fmt.Fprintf(&p.out, "  suggested=%d/%d failover=%s\n", s.Ns, s.Nr, failoverText(p.tun.Failover()))
	default:
		p.t.Fatalf("no such line: %v", w)
	}
}

func (p *player) start(w []string) {
	cfg := &TunnelConfig{HostName: "us", Rand: newSeeded(7)}
	for _, kv := range w[1:] {
		k, v, _ := strings.Cut(kv, "=")
		switch k {
		case "secret":
			p.secret = octetsFrom(p.t, v)
			cfg.Secret = p.secret
		case "window":
			cfg.Control.Window = uint16(number(p.t, v))
		case "queue":
			cfg.Control.SendQueue = int(number(p.t, v))
		case "hello":
			cfg.Control.Hello, _ = time.ParseDuration(v)
		case "failover":
			cfg.Failover = failoverFrom(p.t, v)
		case "accept":
			cfg.AcceptUnknownMandatory = true
		case "full":
			cfg.VendorName, cfg.FirmwareRevision, cfg.BearerCap, cfg.TieBreaker = "culvert", 1, BearerDigital, 99
		default:
			p.t.Fatalf("no such setting: %s", kv)
		}
	}
	role := map[string]Role{"LAC": RoleLAC, "LNS": RoleLNS}[w[0]]
	p.tun = NewTunnel(role, 22, cfg)
}

func (p *player) recv(w []string) {
	h := ControlHeader(22, 0, 0, 0)
	if w[0] == "SCCRQ" {
		h.TunnelID = 0
	}
	response, optional := "", false
	m := messageOf(p.t, w[0], w[1:], func(k, v string) {
		if k == "response" {
			response = v
			return
		}
		if k == "optional" {
			optional = true
			return
		}
		n := uint16(number(p.t, v))
		switch k {
		case "ns":
			h.Ns = n
		case "nr":
			h.Nr = n
		case "to":
			h.TunnelID = n
		case "sid":
			h.SessionID = n
		default:
			p.t.Fatalf("no such key: %s", k)
		}
	})
	if response != "" {
		r := ChallengeResponse(m.Type, p.secret, p.challenge)
		if response == "wrong" {
			r[0] ^= 1
		}
		m.ChallengeResponse = r[:]
		m.Set(AVPChallengeResponse)
	}
	d := h.Append(nil)
	if w[0] != "ZLB" {
		d = m.Append(d)
	}
	if optional { // the M bit of the Message Type
		d[ControlHeaderSize] &^= 0x80
	}
	PutLength(d)
	if err := p.tun.Receive(p.now, d, &p.fx); err != nil {
		fmt.Fprintf(&p.out, "  dropped: %v\n", err)
	}
}

func (p *player) until(s string) {
	end, err := time.ParseDuration(s)
	if err != nil {
		p.t.Fatal(err)
	}
	for p.tun.Deadline() <= end {
		p.now = max(p.now, p.tun.Deadline())
		was := p.out.Len()
		p.tun.Tick(p.now, &p.fx)
		fmt.Fprintf(&p.out, "  at %v\n", p.now)
		n := p.out.Len()
		p.told()
		if p.out.Len() == n { // nothing to see but lingering
			rest := p.out.String()[:was]
			p.out.Reset()
			p.out.WriteString(rest)
		}
		if p.tun.Done() {
			fmt.Fprintf(&p.out, "  at %v done\n", p.now)
		}
	}
	p.now = end
}

// told writes down what the tunnel did.
func (p *player) told() {
	for _, d := range p.fx.Packets {
		h, payload, err := ParseHeader(d)
		if err != nil {
			p.t.Fatal(err)
		}
		text := "ZLB"
		if len(payload) > 0 {
			var m Message
			if err := ParseMessage(payload, p.secret, &m); err != nil {
				p.t.Fatal(err)
			}
			if m.Has(AVPChallenge) {
				p.challenge = append([]byte(nil), m.Challenge...)
			}
			text = textOf(&m)
		}
		fmt.Fprintf(&p.out, "  send to=%d sid=%d ns=%d nr=%d %s\n", h.TunnelID, h.SessionID, h.Ns, h.Nr, text)
	}
	for i := range p.fx.Events {
		e := &p.fx.Events[i]
		switch e.Kind {
		case EventUp:
			fmt.Fprintf(&p.out, "  up by %s\n", textOf(&e.Message))
		case EventDown:
			by := "peer"
			if e.Local {
				by = "us"
			}
			fmt.Fprintf(&p.out, "  down by %s: %v, %v", by, e.Reason, e.Result)
			if e.Err != nil {
				fmt.Fprintf(&p.out, " (%v)", e.Err)
			}
			p.out.WriteString("\n")
		case EventMessage:
			fmt.Fprintf(&p.out, "  call sid=%d %s\n", e.SessionID, textOf(&e.Message))
		case EventBadMessage:
			fmt.Fprintf(&p.out, "  bad sid=%d %v, %v\n", e.SessionID, e.Err, e.Result)
		}
	}
	p.fx.Reset()
}
