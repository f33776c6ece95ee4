package radtest_test

import (
	"context"
	"net"
	"testing"
	"time"

	"culvert/aaa/radius/radtest"

	"go.uber.org/goleak"
	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newServer(t *testing.T, cfg radtest.Config) *radtest.Server {
	t.Helper()
	cfg.Secret = []byte("s")
	s, err := radtest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// send sends one packet by a client that is not Culvert's, and gives the code
// of the answer; zero for none.
func send(t *testing.T, to string, p *radius.Packet) radius.Code {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	r, err := radius.Exchange(ctx, p, to)
	if err != nil {
		return 0
	}
	return r.Code
}

func record(session string, status rfc2866.AcctStatusType, octets uint32) *radius.Packet {
	p := radius.New(radius.CodeAccountingRequest, []byte("s"))
	_ = rfc2866.AcctStatusType_Add(p, status)
	_ = rfc2866.AcctSessionID_AddString(p, session)
	_ = rfc2866.AcctInputOctets_Add(p, rfc2866.AcctInputOctets(octets))
	return p
}

func TestLedgerCounts(t *testing.T) {
	const (
		start   = rfc2866.AcctStatusType_Value_Start
		stop    = rfc2866.AcctStatusType_Value_Stop
		interim = rfc2866.AcctStatusType_Value_InterimUpdate
	)
	s := newServer(t, radtest.Config{KeepRecords: 4})
	to := s.AcctAddr().String()
	for _, p := range []*radius.Packet{
		record("a", start, 0), record("a", interim, 5), record("a", interim, 5), record("a", interim, 7), record("a", stop, 9), record("a", stop, 9),
		record("b", start, 0), record("b", start, 0), record("c", stop, 100), record("c", start, 0), record("d", start, 0), record("d", interim, 1),
	} {
		if code := send(t, to, p); code != radius.CodeAccountingResponse {
			t.Fatalf("answered %v", code)
		}
	}
	want := radtest.Counts{Starts: 4, Interims: 3, Stops: 2, DuplicateStarts: 1, DuplicateInterims: 1, DuplicateStops: 1,
		StopsWithoutStart: 1, RecordsAfterStop: 1, Sessions: 4, Open: 2, InOctets: 110}
	if got := s.Counts(); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if r := s.Records(); len(r) != 4 || r[0].Session != "c" || r[3].Status != uint32(interim) || len(s.Session("d")) != 2 {
		t.Errorf("records %+v", r)
	}
}

func access(user, password string) *radius.Packet {
	p := radius.New(radius.CodeAccessRequest, []byte("s"))
	_ = rfc2865.UserName_AddString(p, user)
	_ = rfc2865.UserPassword_AddString(p, password)
	return p
}

func TestAuthenticates(t *testing.T) {
	s := newServer(t, radtest.Config{Users: map[string]radtest.User{"ann": {Password: "hers"}}, AnyPassword: "any"})
	to := s.AuthAddr().String()
	for _, test := range []struct {
		user, password string
		want           radius.Code
	}{
		{"ann", "hers", radius.CodeAccessAccept}, {"ann", "any", radius.CodeAccessReject},
		{"bob", "any", radius.CodeAccessAccept}, {"bob", "hers", radius.CodeAccessReject},
	} {
		if got := send(t, to, access(test.user, test.password)); got != test.want {
			t.Errorf("%s/%s: %v", test.user, test.password, got)
		}
	}
	s.Behave(radtest.Behaviour{Reject: true})
	if got := send(t, to, access("bob", "any")); got != radius.CodeAccessReject {
		t.Errorf("rejecting: %v", got)
	}
	s.Behave(radtest.Behaviour{Lying: true})
	if got := send(t, to, access("bob", "any")); got != 0 {
		t.Errorf("lying: %v", got)
	}
	s.Behave(radtest.Behaviour{Silent: true})
	if got := send(t, to, access("bob", "any")); got != 0 {
		t.Errorf("silent: %v", got)
	}
	if n := s.Counts(); n.Accepts != 3 || n.Rejects != 3 {
		t.Errorf("counts %+v", n)
	}
}

func TestBadRequests(t *testing.T) {
	s := newServer(t, radtest.Config{AnyPassword: "any"})
	wrongMA := access("bob", "any")
	_ = rfc2869.MessageAuthenticator_Add(wrongMA, make([]byte, 16))
	wrongSecret := record("a", 1, 0)
	wrongSecret.Secret = []byte("other")
	for name, p := range map[string]*radius.Packet{"wrong Message-Authenticator": wrongMA, "Status-Server without one": radius.New(radius.CodeStatusServer, []byte("s"))} {
		if got := send(t, s.AuthAddr().String(), p); got != 0 {
			t.Errorf("%s: answered %v", name, got)
		}
	}
	for name, p := range map[string]*radius.Packet{"wrong secret": wrongSecret, "Access-Request for accounting": access("bob", "any")} {
		if got := send(t, s.AcctAddr().String(), p); got != 0 {
			t.Errorf("%s: answered %v", name, got)
		}
	}
	c, err := net.Dial("udp", s.AuthAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, b := range [][]byte{{}, {1, 2, 3}, append([]byte{1, 1, 0, 25}, make([]byte, 30)...)} {
		_, _ = c.Write(b)
	}
	if got := send(t, s.AuthAddr().String(), access("bob", "any")); got != radius.CodeAccessAccept {
		t.Errorf("a good request after bad ones: %v", got)
	}
	if n := s.Counts(); n.BadRequests < 6 || n.AccessRequests != 1 || n.Starts != 0 {
		t.Errorf("counts %+v", n)
	}
}
