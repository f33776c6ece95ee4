package scale

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"culvert/aaa/radius/radtest"
	"culvert/ops/lab/proc"
)

// backend is who answers lnsd's RADIUS requests.
type backend interface {
	// name is for the table.
	name() string
	// section is lnsd's section "radius".
	section() string
	// cpu is what it has used outside of lnsd.
	cpu() (time.Duration, error)
	// check tells whether each of so many sessions has exactly one Start and one Stop.
	check(s *lnsd, sessions int) error
}

// freeradius is a FreeRADIUS that keeps the accounting in its detail file.
type freeradius struct{ server *radtest.FreeRADIUS }

func startFreeRADIUS(t *testing.T) backend {
	return freeradius{radtest.StartFreeRADIUS(t, radtest.FreeRADIUSConfig{
		Secret: radiusSecret, Users: fmt.Sprintf("DEFAULT Cleartext-Password := %q\n", password),
	})}
}

func (freeradius) name() string { return "FreeRADIUS" }

func (f freeradius) section() string { return radiusSection(f.server.Auth, f.server.Acct) }

// radiusSection is lnsd's section "radius" for a server of its own.
func radiusSection(auth, acct netip.AddrPort) string {
	return fmt.Sprintf("  auth: {servers: [{name: lab, address: %q, secret: %s}]}\n  acct: {servers: [{name: lab, address: %q, secret: %s}]}",
		auth, radiusSecret, acct, radiusSecret)
}

func (f freeradius) cpu() (time.Duration, error) { return proc.CPU(f.server.PID()) }

func (f freeradius) check(_ *lnsd, sessions int) error {
	file, err := os.Open(f.server.Detail)
	if err != nil {
		return err
	}
	defer file.Close()
	l, err := readDetail(file)
	if err != nil {
		return err
	}
	return l.check(sessions)
}

// ledger counts accounting records by kind and session.
type ledger map[string]map[string]int

// readDetail reads a detail file: blocks of lines "\tName = value", an empty line between them.
func readDetail(r io.Reader) (ledger, error) {
	l := ledger{}
	kind, session := "", ""
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, value, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "\t"), " = ")
		switch {
		case ok && name == "Acct-Status-Type":
			kind = value
		case ok && name == "Acct-Session-Id":
			session = strings.Trim(value, `"`)
		case lines.Text() == "" && kind != "":
			l.add(kind, session)
			kind, session = "", ""
		}
	}
	if kind != "" {
		l.add(kind, session)
	}
	return l, lines.Err()
}

func (l ledger) add(kind, session string) {
	if l[kind] == nil {
		l[kind] = map[string]int{}
	}
	l[kind][session]++
}

// check tells whether each of so many sessions began and ended exactly once.
func (l ledger) check(sessions int) error {
	var errs []error
	if n, m := len(l["Start"]), len(l["Stop"]); n != sessions || m != sessions {
		errs = append(errs, fmt.Errorf("accounting: %d sessions have a Start and %d a Stop, want %d", n, m, sessions))
	}
	for _, kind := range []string{"Start", "Stop"} {
		twice := 0
		for _, n := range l[kind] {
			if n > 1 {
				twice++
			}
		}
		if twice > 0 {
			errs = append(errs, fmt.Errorf("accounting: %d sessions have more than one %s", twice, kind))
		}
	}
	open := 0
	for session := range l["Start"] {
		if l["Stop"][session] == 0 {
			open++
		}
	}
	if open > 0 {
		errs = append(errs, fmt.Errorf("accounting: %d sessions have a Start and no Stop", open))
	}
	return errors.Join(errs...)
}

// builtIn is the responder inside lnsd: its work is part of lnsd's.
type builtIn struct{}

func startBuiltIn(*testing.T) backend { return builtIn{} }

func (builtIn) name() string                { return "built-in" }
func (builtIn) section() string             { return "  lab: {password: " + password + "}" }
func (builtIn) cpu() (time.Duration, error) { return 0, nil }

var seen = regexp.MustCompile(`responder has seen.* starts=(\d+) stops=(\d+) open=(\d+) twice=(\d+) out_of_order=(\d+)`)

// check reads what the responder says when lnsd stops.
func (builtIn) check(s *lnsd, sessions int) error {
	m := seen.FindStringSubmatch(s.Tail(20))
	if m == nil {
		return errors.New("lnsd's log does not tell what the responder has seen")
	}
	var n [5]int
	for i := range n {
		n[i], _ = strconv.Atoi(m[i+1]) // digits
	}
	if n != [5]int{sessions, sessions, 0, 0, 0} {
		return fmt.Errorf("accounting: %s; want %d starts and stops and nothing else", m[0], sessions)
	}
	return nil
}

func TestLedger(t *testing.T) {
	block := func(kind, session string) string {
		return "Fri Nov 21 08:00:00 2025\n\tAcct-Status-Type = " + kind + "\n\tUser-Name = \"a = b\"\n\tAcct-Session-Id = \"" + session + "\"\n\n"
	}
	good := block("Start", "1") + block("Start", "2") + block("Interim-Update", "1") + block("Interim-Update", "1") + block("Stop", "2") + block("Stop", "1")
	for _, c := range []struct{ name, text, want string }{
		{"good", good, ""},
		{"without a last empty line", strings.TrimRight(good, "\n"), ""},
		{"twice", good + block("Stop", "2"), "more than one Stop"},
		{"left open", good + block("Start", "3"), "no Stop"},
		{"too few", block("Start", "1") + block("Stop", "1"), "want 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := readDetail(strings.NewReader(c.text))
			must(t, err)
			err = l.check(2)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("check: %v, want %q", err, c.want)
			}
		})
	}
}
