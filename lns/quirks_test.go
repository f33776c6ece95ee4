package lns

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/proto/l2tp"
)

// The tests in quirks_*_test.go, and those with such names in other packages, each
// have a row in QUIRKS.md: what LACs in the field do, and what is done about it.

// wire sees all that passes between a rig's LACs and its LNS.
type wire struct {
	// toLAC and toLNS are the control messages, in order; acknowledgements are not among them.
	toLAC, toLNS []seen
	acks         int // ZLBs to the LACs
	// drop, where set, loses datagrams.
	drop func(toLNS bool, h l2tp.Header, typ l2tp.MessageType) bool
}

// seen is one control message.
type seen struct {
	l2tp.Header
	m   l2tp.Message
	raw []byte
}

// typeOf reads the message type without judging the message; 0 is a ZLB or data.
func typeOf(b []byte) l2tp.MessageType {
	_, body, err := l2tp.ParseHeader(b)
	if err != nil || b[0]&0x80 == 0 || len(body) < 8 {
		return 0
	}
	return l2tp.MessageType(binary.BigEndian.Uint16(body[6:]))
}

func watchWire(r *rig) *wire {
	w := &wire{}
	r.lose = func(toLNS bool, b []byte) bool {
		h, body, err := l2tp.ParseHeader(b)
		if err != nil {
			return false
		}
		typ := typeOf(b)
		if w.drop != nil && w.drop(toLNS, h, typ) {
			return true
		}
		switch {
		case !h.Control:
		case typ == 0 && !toLNS:
			w.acks++
		case typ != 0:
			s := seen{Header: h, raw: slices.Clone(b)}
			_ = l2tp.ParseMessage(slices.Clone(body), []byte("tunnel secret"), &s.m)
			if toLNS {
				w.toLNS = append(w.toLNS, s)
			} else {
				w.toLAC = append(w.toLAC, s)
			}
		}
		return false
	}
	return w
}

// told are the messages of a type that the LNS has sent.
func (w *wire) told(t l2tp.MessageType) (list []l2tp.Message) {
	for i := range w.toLAC {
		if w.toLAC[i].m.Type == t {
			list = append(list, w.toLAC[i].m)
		}
	}
	return list
}

// config is a LAC's, to be changed.
func lacConfig() *l2tp.TunnelConfig {
	return &l2tp.TunnelConfig{HostName: "lac", VendorName: "test", Secret: []byte("tunnel secret"), Rand: rand.NewChaCha8([32]byte{2})}
}

// lacWith makes a LAC with a configuration of its own and opens its tunnel.
func (r *rig) lacWith(address string, c *l2tp.TunnelConfig) *rigLAC {
	l := newLAC(r, netip.MustParseAddrPort(address), uint16(500+len(r.lacs)), c)
	r.lacs[l.address] = l
	return l
}

// tunnelUp makes a rig with a LAC whose tunnel is up, and a view of the wire.
func tunnelUp(t *testing.T, change func(*Config)) (*rig, *rigLAC, *wire) {
	t.Helper()
	r := newRig(t, change)
	w := watchWire(r)
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	return r, l, w
}

// up dials and waits until the subscriber is up.
func (l *rigLAC) upCall(r *rig, user string, change func(*l2tp.Message)) *rigCall {
	r.t.Helper()
	c := l.dial(user, change)
	r.until(10*time.Second, user+" up", func() bool { return c.up })
	return c
}

// append adds AVPs to every control message of a type.
func appendAVPs(typ l2tp.MessageType, more []byte) func([]byte) []byte {
	return func(b []byte) []byte {
		if typeOf(b) == typ {
			b = append(slices.Clone(b), more...)
			l2tp.PutLength(b)
		}
		return b
	}
}

// eachAVP calls f for every AVP of a control message, to be changed in place.
func eachAVP(b []byte, f func(avp []byte)) {
	_, body, err := l2tp.ParseHeader(b)
	for err == nil && b[0]&0x80 != 0 && len(body) >= 6 {
		n := int(binary.BigEndian.Uint16(body) & 0x3ff)
		if n < 6 || n > len(body) {
			return
		}
		f(body[:n])
		body = body[n:]
	}
}

// without removes an AVP from the messages of a type.
func without(typ l2tp.MessageType, attribute uint16) func([]byte) []byte {
	return func(b []byte) []byte {
		if typeOf(b) != typ {
			return b
		}
		_, body, _ := l2tp.ParseHeader(b)
		out := slices.Clone(b[:len(b)-len(body)])
		eachAVP(b, func(a []byte) {
			if binary.BigEndian.Uint16(a[2:]) != 0 || binary.BigEndian.Uint16(a[4:]) != attribute {
				out = append(out, a...)
			}
		})
		l2tp.PutLength(out)
		return out
	}
}

// quirkName is how a quirk's test is called.
var quirkName = regexp.MustCompile(`func (TestQuirk(\d\d)[A-Z]\w*)\(`)

// TestQuirksAreDocumented keeps QUIRKS.md and the tests true to each other: each of the
// 28 rows names its tests where they are, and each test is named.
func TestQuirksAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("QUIRKS.md")
	if err != nil {
		t.Fatal(err)
	}
	inRow := map[string][]string{} // test names by number
	link := regexp.MustCompile(`\[([^]]+)\]\(([^)]+_test\.go)\)`)
	for _, line := range strings.Split(string(doc), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 8 || !regexp.MustCompile(`^ \d+ $`).MatchString(cells[1]) {
			continue
		}
		number := strings.TrimSpace(cells[1])
		if len(number) == 1 {
			number = "0" + number
		}
		if _, again := inRow[number]; again {
			t.Errorf("row %s stands there twice", number)
		}
		inRow[number] = []string{}
		for _, m := range link.FindAllStringSubmatch(line, -1) {
			want := m[1] // a case of a suite with real peers
			if strings.HasPrefix(want, "Test") {
				want = "func " + want + "("
			}
			if source, err := os.ReadFile(m[2]); err != nil || !strings.Contains(string(source), want) {
				t.Errorf("row %s: %s is not in %s", number, m[1], m[2])
			}
			if !strings.HasPrefix(m[1], "TestQuirk") {
				continue
			}
			inRow[number] = append(inRow[number], m[1])
			if !strings.HasPrefix(m[1], "TestQuirk"+number) {
				t.Errorf("row %s links to %s", number, m[1])
			}
		}
		for i, c := range cells[1:5] {
			if strings.TrimSpace(c) == "" {
				t.Errorf("row %s: cell %d is empty", number, i+1)
			}
		}
	}
	for n := 1; n <= 28; n++ {
		number := string(rune('0'+n/10)) + string(rune('0'+n%10))
		if len(inRow[number]) == 0 {
			t.Errorf("row %s is missing, or names no test", number)
		}
	}
	for _, pattern := range []string{"*_test.go", "*/*_test.go", "../proto/*/*_test.go", "../ops/lab/interop/*_test.go"} {
		files, _ := filepath.Glob(pattern)
		for _, f := range files {
			source, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range quirkName.FindAllStringSubmatch(string(source), -1) {
				if !slices.Contains(inRow[m[2]], m[1]) {
					t.Errorf("%s in %s is not in row %s of QUIRKS.md", m[1], f, m[2])
				}
			}
		}
	}
}
