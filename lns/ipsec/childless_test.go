package ipsec

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/lns"
	"culvert/lns/ipsec/vici"
)

// charonSays is what charon tells of one IKE SA, in the order in which it comes.
type charonSays struct{ kind, text string }

// TestChildlessIKE: a LAC that proves who it is and then goes away without an SA is told of once, and no other is.
func TestChildlessIKE(t *testing.T) {
	up, down := charonSays{"ike", "yes"}, charonSays{"ike", "no"}
	log := func(s string) charonSays { return charonSays{"log", s} }
	deleted := log("received DELETE for IKE_SA culvert-a[3]")
	for _, c := range []struct {
		name   string
		events []charonSays
		want   lns.IKEReason // none is no failure
		detail string
	}{
		{"deleted by the LAC", []charonSays{up, deleted, down}, lns.IKEOtherFailure, "its own log has the reason"},
		{"deleted, which is logged late", []charonSays{up, down, deleted}, lns.IKEOtherFailure, "ended IKE before ESP"},
		{"silent", []charonSays{up, log("giving up after 4 retransmits"), down}, lns.IKENoAnswer, "fell silent before ESP"},
		{"its notify was read first", []charonSays{up, log("received NO_PROPOSAL_CHOSEN error notify"), deleted, down}, lns.IKENoProposal, "the LAC refused what was chosen"},
		{"our kernel refused", []charonSays{up, log("unable to install inbound and outbound IPsec SA (SAD) in kernel"), down}, lns.IKEKernel, "unable to install"},
		{"it had an SA", []charonSays{up, {"child", "yes"}, {"child", "no"}, deleted, down}, "", ""},
		{"the SA's end comes last", []charonSays{up, {"child", "yes"}, deleted, down, {"child", "no"}}, "", ""},
		{"it has an SA of another IKE SA", []charonSays{{"other", "yes"}, up, deleted, down}, "", ""},
		{"it was not seen to come", []charonSays{deleted, down}, "", ""},
		{"an operator ended it", []charonSays{up, log("deleting IKE_SA culvert-a[3] between a...b"), down}, "", ""},
		{"replaced", []charonSays{up, log("destroying duplicate IKE_SA for peer 'x', received INITIAL_CONTACT"), down}, "", ""},
		{"keys of IKE renewed", []charonSays{up, {"rekey", ""}, down}, "", ""},
		{"it is up still", []charonSays{up}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := New(Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1701")}, Marks: true})
			if err != nil {
				t.Fatal(err)
			}
			h := &heard{}
			m.Notify(h)
			for _, e := range c.events {
				m.say(t, e)
			}
			m.settle(time.Now())
			for range 2 { // once and no more
				m.settle(time.Now().Add(time.Minute))
			}
			if c.want == "" {
				if len(h.failures) > 0 {
					t.Errorf("a failure was told of: %+v", h.failures)
				}
				return
			}
			if len(h.failures) != 1 {
				t.Fatalf("%d failures were told of: %+v", len(h.failures), h.failures)
			}
			f := h.failures[0]
			if f.Reason != c.want || !strings.Contains(f.Detail, c.detail) || m.Stats().Failures[c.want] != 1 {
				t.Errorf("told of %+v, counted %v; want %s with %q", f, m.Stats().Failures, c.want, c.detail)
			}
			if f.Reason == lns.IKEOtherFailure && (f.Profile != "a" || f.Identity != "lac1" || f.Remote.Addr().String() != "198.51.100.7") {
				t.Errorf("whose failure it is: %+v", f)
			}
		})
	}
}

// say gives the manager one of charon's events, of IKE SA 3 or, "other", of the same LAC's IKE SA 2.
func (m *Manager) say(t *testing.T, e charonSays) {
	t.Helper()
	ike := func(id string, more ...any) vici.Section {
		return section(append([]any{"uniqueid", id, "version", "1", "remote-id", "lac1", "local-host", "192.0.2.1",
			"remote-host", "198.51.100.7", "remote-port", "500"}, more...)...)
	}
	child := section("l2tp-1", section("uniqueid", "1", "mark-in", "2a", "state", "INSTALLED", "spi-in", "c1", "spi-out", "c2"))
	switch e.kind {
	case "ike":
		m.event("ike-updown", section("up", e.text, "culvert-a", ike("3")))
	case "child":
		m.event("child-updown", section("up", e.text, "culvert-a", ike("3", "child-sas", child)))
	case "other":
		m.event("child-updown", section("up", e.text, "culvert-a", ike("2", "child-sas", child)))
	case "rekey":
		m.event("ike-rekey", section("culvert-a", section("old", ike("3"), "new", ike("4"))))
	case "log":
		m.event("log", section("ikesa-uniqueid", "3", "ikesa-name", "culvert-a", "msg", e.text))
	default:
		t.Fatalf("no event %q", e.kind)
	}
}
