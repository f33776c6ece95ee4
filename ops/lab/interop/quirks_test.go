package interop

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// What LACs and subscribers do that lns/QUIRKS.md lists, as far as xl2tpd and pppd can be
// brought to do it. Each case is named after its row there.
type quirk struct {
	name string
	// lac are lines for xl2tpd's section, pppd for the subscriber's options.
	lac, pppd string
	// told is what the trace of the call has to say of it.
	told string
	// change, where set, makes the LAC another one, and tunnel says whether a tunnel is what comes of it.
	// What they are about is not the kernel's: one mode is enough.
	change func(*lacConfig)
	tunnel func(tunnel) bool
}

var quirks = []quirk{
	{name: "05-another-port", change: func(c *lacConfig) { c.port = 1801 }, tunnel: func(t tunnel) bool { return t.Peer == securedAddr+":1801" }},
	{name: "06-window-of-one", lac: "tunnel rws = 1\n", told: "recv ICCN"},
	{name: "10-speeds", lac: "tx bps = 80000000\nrx bps = 20000000\n", told: "recv ICCN tx 80000000 bit/s"},
	{name: "16-nothing-compressed", pppd: "noaccomp\nnopcomp\n", told: "LCP: recv Configure-Request"},
	{name: "16-protocol-compressed", pppd: "noaccomp\n", told: " pfc"},
	{name: "16-address-compressed", pppd: "nopcomp\n", told: " acfc"},
	{name: "19-name-of-one-octet", change: func(c *lacConfig) { c.host = "x" }, tunnel: func(t tunnel) bool { return t.PeerName == "x" }},
	{name: "19-long-name", change: func(c *lacConfig) { c.host = longName }, tunnel: func(t tunnel) bool { return t.PeerName == longName }},
	{name: "23-second-address", change: func(c *lacConfig) { c.lns = otherLNSAddr }, tunnel: func(t tunnel) bool { return t.Local == otherLNSAddr+":1701" }},
	{name: "27-small-mru", pppd: "mru 1400\nmtu 1400\n", told: " mru 1400 "},
}

// longName is as long a name as xl2tpd sends, and odd.
var longName = strings.Repeat("exchange-", 8) + "north"

// modes are those of the kernel and of pppd's pty, where both matter.
func (q *quirk) modes() []string {
	if q.change != nil {
		return modes[1:]
	}
	return modes
}

// quirkyCall is one whole call of a LAC, or subscriber, with a habit.
func (l *lab) quirkyCall(x *row, mode string, q quirk) {
	name := mode[:1] + "-" + q.name
	ln := lineOf(name, "chap")
	ln.extra = q.pppd
	cfg := secured(name, mode, ln)
	cfg.extra = q.lac
	if q.change != nil {
		q.change(&cfg)
	}
	lac := l.lacFor(x, cfg)
	c := l.up(x, lac, ln)
	if q.tunnel != nil {
		x.check("up", func() error {
			list, err := l.lnsd.tunnels()
			if err == nil && !slices.ContainsFunc(list, func(t tunnel) bool { return t.State == established && q.tunnel(t) }) {
				err = fmt.Errorf("lnsctl tunnel list has no tunnel as it should be: %+v", list)
			}
			return err
		})
	}
	x.check("ping", func() error { return c.ping(coreAddr) })
	x.check("tcp", func() error { return c.transfer(l.core, coreAddr) })
	l.started(x, c)
	x.check("end", c.hangUp)
	l.ended(x, c, byUser)
	told := q.told
	if mode == "kernel" && strings.HasPrefix(q.name, "16-") {
		told = "LCP: recv Configure-Request" // pppd's plugin for the kernel's L2TP never asks for compression
	}
	x.check("end", func() error { return l.wantTrace(ln, told) })
}

// traceOf is what lnsctl tells of a subscriber's sessions of the past, in words.
func (l *lab) traceOf(user string) (string, error) {
	out, err := l.lnsd.ctl("session", "trace", user, "--history", "-o", "json")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var m struct {
			Session struct {
				Cause  string
				Events []struct{ Text string }
			}
		}
		if err := dec.Decode(&m); err != nil {
			return "", err
		}
		for _, e := range m.Session.Events {
			b.WriteString(e.Text + "\n")
		}
	}
	return b.String(), nil
}

// wantTrace checks that what lnsctl tells has these texts, in this order, and no password.
func (l *lab) wantTrace(ln line, texts ...string) error {
	told, err := l.traceOf(ln.user)
	if err != nil {
		return err
	}
	if strings.Contains(told, ln.password) {
		return fmt.Errorf("lnsctl session trace tells the password:\n%s", told)
	}
	rest := told
	for _, t := range texts {
		_, after, found := strings.Cut(rest, t)
		if !found {
			return fmt.Errorf("lnsctl session trace does not tell %q (in this place):\n%s", t, told)
		}
		rest = after
	}
	return nil
}

// sessionTrace looks at the life of a call, and at one that was refused, after their ends.
func (l *lab) sessionTrace(x *row) {
	ln, bad := lineOf("traced", "chap"), lineOf("traced-bad", "pap")
	bad.password = "not-" + password
	lac := l.lacFor(x, secured("traced", "kernel", ln, bad))
	c := l.up(x, lac, ln)
	x.check("ping", func() error { return c.ping(coreAddr) })
	l.started(x, c)
	x.check("end", c.hangUp)
	l.ended(x, c, byUser)
	x.check("end", func() error {
		return l.wantTrace(c.line, "recv ICRQ", "send ICRP", "recv ICCN", "LCP: send Configure-Request", "CHAP: recv Response",
			"RADIUS: Access-Request for \""+c.line.user+"\" by CHAP", "RADIUS: Access-Accept from ", "IPCP opened "+c.addr,
			// Whose CDN comes first is chance.
			"LCP: recv Terminate-Request", "cause user-request")
	})
	x.check("end", func() error { return lac.refused(bad, "/"+bad.name+".pppd", "authentication failed") })
	x.check("end", func() error { return l.nothingOf(bad) })
	x.check("end", func() error {
		return l.wantTrace(bad, "PAP: recv Authenticate-Request", "RADIUS: Access-Reject from ", "cause auth-rejected", "PAP: send Authenticate-Nak")
	})
}
