package link

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/proto/ppp"
)

// wired is a link under test, seen from its peer: packets in, packets out.
type wired struct {
	t    *testing.T
	l    Link
	cfg  *Config
	fx   *Effects
	now  time.Duration
	sent []ppp.Packet // LCP's, in order
	// asked is the link's last Configure-Request.
	asked ppp.Packet
	down  bool
}

// collect takes what the link has sent.
func (w *wired) collect() {
	for _, b := range w.fx.Frames {
		f, err := ppp.ParseFrame(b)
		if err != nil || f.Protocol != ppp.ProtocolLCP {
			continue
		}
		p, err := ppp.ParsePacket(slices.Clone(f.Payload))
		if err != nil {
			w.t.Fatal(err)
		}
		if p.Code == ppp.ConfigureRequest {
			w.asked = p
		}
		w.sent = append(w.sent, p)
	}
	w.down = w.down || w.fx.Down
	w.fx.Reset()
}

func (w *wired) deliver(code ppp.Code, id uint8, data []byte) {
	w.l.Receive(w.now, frameOf(ppp.ProtocolLCP, ppp.AppendPacket(nil, code, id, data)), w.fx)
}

// peerRequest is a Configure-Request that is good: a magic number.
var peerRequest = []byte{5, 6, 1, 2, 3, 4}

// event makes an event of RFC 1661 section 4.3 happen, as the wire, the clock or the link's owner does.
func (w *wired) event(e ppp.Event) {
	switch e {
	case ppp.Close:
		w.l.Close(w.now, w.fx)
	case ppp.TOPlus:
		w.timeout()
	case ppp.TOMinus:
		for range w.cfg.MaxConfigure {
			if !w.down {
				w.sent = nil
				w.timeout()
				w.collect()
			}
		}
	case ppp.RCRPlus:
		w.deliver(ppp.ConfigureRequest, 77, peerRequest)
	case ppp.RCRMinus:
		w.deliver(ppp.ConfigureRequest, 77, []byte{99, 2})
	case ppp.RCA:
		w.deliver(ppp.ConfigureAck, w.asked.ID, w.asked.Data)
	case ppp.RCN:
		w.deliver(ppp.ConfigureNak, w.asked.ID, []byte{1, 4, 5, 0})
	case ppp.RTR:
		w.deliver(ppp.TerminateRequest, 77, nil)
	case ppp.RTA:
		w.deliver(ppp.TerminateAck, w.l.lcp.ID(), nil)
	case ppp.RUC:
		w.deliver(200, 77, []byte("?"))
	case ppp.RXJPlus:
		w.deliver(ppp.CodeReject, 77, []byte{byte(ppp.Identification), 1, 0, 4})
	case ppp.RXJMinus:
		w.deliver(ppp.CodeReject, 77, []byte{byte(ppp.ConfigureRequest), 1, 0, 4})
	case ppp.RXR:
		w.deliver(ppp.EchoRequest, 77, []byte{1, 2, 3, 4, 'x'})
	}
	w.collect()
}

// timeout lets the restart timer of LCP expire.
func (w *wired) timeout() {
	if d := w.l.lcp.Deadline(); d != Never {
		w.now = d
	}
	w.l.Tick(w.now, w.fx)
}

// ways are the events that bring a link that starts to each state that a Link can be in.
var ways = map[ppp.State][]ppp.Event{
	ppp.ReqSent: {}, ppp.AckRcvd: {ppp.RCA}, ppp.AckSent: {ppp.RCRPlus}, ppp.Opened: {ppp.RCRPlus, ppp.RCA},
	ppp.Closing: {ppp.Close}, ppp.Stopping: {ppp.RCRPlus, ppp.RCA, ppp.RXJMinus},
}

// linkIn is a link whose LCP is in a state.
func linkIn(t *testing.T, s ppp.State) *wired {
	t.Helper()
	w := &wired{t: t, cfg: testConfig(t), fx: NewEffects(0)}
	w.cfg.EchoInterval = 0
	w.l.Start(0, w.cfg, seeded(1), nil, w.fx)
	w.collect()
	for _, e := range ways[s] {
		w.event(e)
	}
	if w.l.lcp.State() != s || w.down {
		t.Fatalf("the way to %v leads to %v", s, w.l.lcp.State())
	}
	w.sent = nil
	return w
}

// notOfLinks are the rows and columns of the RFC's table that a Link cannot come to.
var notOfLinks = map[string]string{
	"Initial": "Start gives Open and Up at once", "Starting": "Start gives Open and Up at once",
	"Closed": "a link ends where the RFC's goes to Closed", "Stopped": "a link ends where the RFC's goes to Stopped",
	"Up": "the call is there before its link", "Down": "a call that ends takes its link with it", "Open": "Start gives it, once",
}

// linkDeviations are the cells in which a link does something else than its automaton would, and why.
var linkDeviations = map[string]string{
	"Ack-Rcvd/RCA":   "the request has its answer: a second one comes of a retransmission, and is discarded (sections 5.2 to 5.4)",
	"Ack-Rcvd/RCN":   "as for RCA",
	"Opened/RCA":     "as in Ack-Rcvd: who began anew for a repeated Ack would have two links that chase each other",
	"Opened/RCN":     "as for RCA",
	"Stopping/Close": "the link is being closed already; Closing and Stopping differ in whether it may begin anew, and a link does not",
	"Ack-Rcvd/TO-":   "this cannot happen: the Ack has set the restart counter (irc), and the first timeout leads to Req-Sent",
}

// packetsOf are the packets that actions send, in the order of RFC 1661 section 4.1.
func packetsOf(actions []string) (codes []ppp.Code) {
	for _, a := range actions {
		switch a {
		case "scr":
			codes = append(codes, ppp.ConfigureRequest)
		case "str":
			codes = append(codes, ppp.TerminateRequest)
		case "sca":
			codes = append(codes, ppp.ConfigureAck)
		case "scn":
			codes = append(codes, ppp.ConfigureReject)
		case "sta":
			codes = append(codes, ppp.TerminateAck)
		case "scj":
			codes = append(codes, ppp.CodeReject)
		case "ser":
			codes = append(codes, ppp.EchoReply)
		}
	}
	return codes
}

// TestRFC1661 runs a link, packet by packet, through every cell of the table in RFC 1661 section
// 4.1 that a link can come to, and compares what it sends and where it is afterwards. The
// automaton by itself has the whole table in proto/ppp.
func TestRFC1661(t *testing.T) {
	b, err := os.ReadFile("../../proto/ppp/testdata/rfc1661-4.1.txt")
	if err != nil {
		t.Fatal(err)
	}
	cells := 0
	var states []string
	for line := range strings.Lines(string(b)) {
		head, row, ok := strings.Cut(line, "|")
		event, fields := strings.TrimSpace(head), strings.Fields(row)
		if ok && event == "Events" {
			states = fields
		}
		if !ok || event == "" || event == "Events" || len(fields) != len(states) {
			continue
		}
		for i, text := range fields {
			cells++
			if notOfLinks[states[i]] == "" && notOfLinks[event] == "" {
				t.Run(states[i]+"/"+event, func(t *testing.T) { linkCell(t, states[i], event, text) })
			}
		}
	}
	if cells != 160 {
		t.Errorf("the RFC's text has %d cells, want 160", cells)
	}
}

// linkCell runs one cell.
func linkCell(t *testing.T, state, event, text string) {
	var s, next ppp.State
	for s = range ppp.Opened + 1 {
		if s.String() == state {
			break
		}
	}
	var e ppp.Event
	for e = range ppp.RXR + 1 {
		if e.String() == event {
			break
		}
	}
	names, number, found := strings.Cut(strings.TrimRight(text, "rpx"), "/")
	if !found {
		names, number = "", names
	}
	actions := strings.Split(names, ",")
	if next = s; text != "-" {
		next = ppp.State(number[0] - '0')
	}
	if why := linkDeviations[state+"/"+event]; why != "" {
		t.Logf("the RFC says %s: %s", text, why)
		actions, next = nil, s
	}
	w := linkIn(t, s)
	if state+"/"+event == "Ack-Rcvd/TO-" {
		e = ppp.TOPlus
		actions, next = []string{"scr"}, ppp.ReqSent
	}
	w.event(e)
	var codes []ppp.Code
	for _, p := range w.sent {
		codes = append(codes, p.Code)
	}
	if want := packetsOf(actions); !slices.Equal(codes, want) {
		t.Errorf("sent %v, want %v (%s)", codes, want, text)
	}
	if finished := slices.Contains(actions, "tlf"); w.down != finished || finished != (w.l.Phase() == PhaseDown) {
		t.Errorf("the link ended: %v, and is %v; want %s", w.down, w.l.Phase(), text)
	} else if !finished && w.l.lcp.State() != next {
		t.Errorf("in %v, want %v (%s)", w.l.lcp.State(), next, text)
	}
	if up := w.l.Phase() > PhaseLCP && w.l.Phase() < PhaseClosing; up != (next == ppp.Opened) && !w.down {
		t.Errorf("phase %v in %v", w.l.Phase(), next)
	}
}
