package radius_test

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/aaa/radius"
	"culvert/aaa/radius/radtest"

	lradius "layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"
)

func TestAuthorizeMethods(t *testing.T) {
	s := newServer(t, radtest.Config{Users: map[string]radtest.User{
		"ann": {Password: "right"}, "long": {Password: strings.Repeat("p", 128)}, `DOM\ann`: {Password: "right"},
	}})
	c, _ := newClient(t, []radius.Server{quick(s.AuthAddr())}, nil)
	tests := []struct {
		name   string
		req    aaa.Request
		reject string
	}{
		{"PAP", pap("ann", "right"), ""},
		{"PAP wrong", pap("ann", "wrong"), "wrong name or password"},
		{"PAP of 128 octets", pap("long", strings.Repeat("p", 128)), ""},
		{"PAP of 129 octets", pap("long", strings.Repeat("p", 129)), "password of 129 octets is too long for RADIUS"},
		{"PAP empty", pap("ann", ""), "wrong name or password"},
		{"name of 254 octets", pap(strings.Repeat("n", 254), "x"), "user name of 254 octets is too long for RADIUS"},
		{"CHAP", chap("ann", "right"), ""},
		{"CHAP wrong", chap("ann", "wrong"), "wrong name or password"},
		{"CHAP short", aaa.Request{Credentials: aaa.Credentials{Method: aaa.MethodCHAP, Response: []byte{1}}}, "CHAP response of 1 octets instead of 16"},
		{"MS-CHAPv2", mschap(t, "ann", "right"), ""},
		{"MS-CHAPv2 wrong", mschap(t, "ann", "wrong"), "wrong name or password"},
		{"unknown", pap("bob", "right"), "wrong name or password"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g, err := ask(t, c, test.req)
			if test.reject == "" {
				if err != nil {
					t.Fatal(err)
				}
				if ms := test.req.Method == aaa.MethodMSCHAPv2; strings.HasPrefix(g.MSCHAPSuccess, "S=") != ms {
					t.Errorf("success string %q", g.MSCHAPSuccess)
				}
				return
			}
			var rej *aaa.RejectError
			if !errors.As(err, &rej) || !errors.Is(err, aaa.ErrReject) || rej.Message != test.reject {
				t.Fatalf("got %v, want rejection %q", err, test.reject)
			}
			if test.req.Method == aaa.MethodMSCHAPv2 && !strings.HasPrefix(rej.MSCHAPError, "E=691 R=0") {
				t.Errorf("MS-CHAP-Error is %q", rej.MSCHAPError)
			}
		})
	}
}

func TestGrantOverTheWire(t *testing.T) {
	reply := &lradius.Packet{}
	_ = rfc2865.FramedIPAddress_Add(reply, []byte{198, 51, 100, 9})
	_ = rfc2865.Class_Add(reply, []byte{0, 1, 2})
	_ = rfc2865.Class_Add(reply, []byte("second"))
	_ = rfc2865.SessionTimeout_Add(reply, 3600)
	_ = rfc2869.AcctInterimInterval_Add(reply, 10)
	s := newServer(t, radtest.Config{Reply: reply.Attributes})
	c, _ := newClient(t, []radius.Server{quick(s.AuthAddr())}, nil)
	g, err := ask(t, c, pap("ann", "password"))
	if err != nil {
		t.Fatal(err)
	}
	want := &aaa.Grant{Address: netip.MustParseAddr("198.51.100.9"), Class: [][]byte{{0, 1, 2}, []byte("second")},
		SessionTimeout: time.Hour, Interim: time.Minute, Server: s.AuthAddr().String()}
	if !reflect.DeepEqual(g, want) {
		t.Errorf("got %+v, want %+v", g, want)
	}
}

func usage(kind aaa.UsageKind, session string) aaa.Usage {
	return aaa.Usage{Seq: 1, Kind: kind, Identity: identity("ann", session), Method: aaa.MethodCHAP, Class: [][]byte{{0, 1}, []byte("two")},
		Address: netip.MustParseAddr("198.51.100.9"), Routes: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/29")},
		At: time.Now().Add(-7 * time.Second), Duration: 90 * time.Second, InOctets: 5<<32 + 6, OutOctets: 7<<32 + 8, InPackets: 9, OutPackets: 10,
		Cause: aaa.CauseLostCarrier}
}

func TestAccountRecords(t *testing.T) {
	s := newServer(t, radtest.Config{})
	c, _ := newClient(t, nil, []radius.Server{quick(s.AcctAddr())})
	for _, k := range []aaa.UsageKind{aaa.UsageStart, aaa.UsageInterim, aaa.UsageStop} {
		if err := account(t, c, usage(k, "s1")); err != nil {
			t.Fatal(err)
		}
	}
	n := s.Counts()
	if n.Starts != 1 || n.Interims != 1 || n.Stops != 1 || n.Open != 0 || n.InOctets != 5<<32+6 || n.OutOctets != 7<<32+8 {
		t.Errorf("counts are %+v", n)
	}
	r := s.Session("s1")
	if len(r) != 3 {
		t.Fatalf("%d records", len(r))
	}
	start, stop := r[0].Packet, r[2].Packet
	if start.Get(rfc2866.AcctInputOctets_Type) != nil || start.Get(rfc2866.AcctTerminateCause_Type) != nil {
		t.Error("a Start has counters")
	}
	if d := rfc2866.AcctDelayTime_Get(stop); d != 7 {
		t.Errorf("Acct-Delay-Time %d", d)
	}
	classes, _ := rfc2865.Class_Gets(stop)
	if !reflect.DeepEqual(classes, [][]byte{{0, 1}, []byte("two")}) {
		t.Errorf("classes %q", classes)
	}
	if cause := rfc2866.AcctTerminateCause_Get(stop); cause != rfc2866.AcctTerminateCause_Value_LostCarrier {
		t.Errorf("cause %v", cause)
	}
	if route := rfc2865.FramedRoute_GetString(stop); route != "203.0.113.0/29 0.0.0.0 1" {
		t.Errorf("route %q", route)
	}
}

// A retransmission of accounting has a new Acct-Delay-Time, and so a new
// identifier; an answer to the first still counts.
func TestAccountingRetransmission(t *testing.T) {
	s := newServer(t, radtest.Config{})
	s.Behave(radtest.Behaviour{Delay: 1800 * time.Millisecond})
	cfg := quick(s.AcctAddr())
	cfg.Timeout, cfg.Retries = 1200*time.Millisecond, 3
	c, _ := newClient(t, nil, []radius.Server{cfg})
	u := usage(aaa.UsageStart, "s1")
	u.At = time.Now()
	began := time.Now()
	if err := account(t, c, u); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 2400*time.Millisecond {
		t.Errorf("took %s: the answer to the first transmission was not taken", took)
	}
	r := s.Records()
	if len(r) != 2 || r[0].Packet.Identifier == r[1].Packet.Identifier ||
		rfc2866.AcctDelayTime_Get(r[0].Packet) != 0 || rfc2866.AcctDelayTime_Get(r[1].Packet) != 1 {
		t.Errorf("records are %+v", r)
	}
	if n := s.Counts(); n.Starts != 1 || n.DuplicateStarts != 1 {
		t.Errorf("counts are %+v", n)
	}
}

func TestRetransmissionKeepsIdentity(t *testing.T) {
	s := newServer(t, radtest.Config{})
	s.Behave(radtest.Behaviour{Delay: 150 * time.Millisecond})
	c, _ := newClient(t, []radius.Server{quick(s.AuthAddr())}, nil)
	if _, err := ask(t, c, pap("ann", "password")); err != nil {
		t.Fatal(err)
	}
	if n := s.Counts(); n.AccessRequests != 1 || n.Retransmits != 1 {
		t.Errorf("counts are %+v", n)
	}
	st := c.Stats()[0]
	if st.Requests != 1 || st.Retransmits != 1 || st.Accepts != 1 || !st.Alive || st.InFlight != 0 {
		t.Errorf("stats are %+v", st)
	}
}
