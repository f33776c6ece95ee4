package radius_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/aaa/radius"
	"culvert/aaa/radius/radtest"

	lradius "layeh.com/radius"
)

// sessions is a Disconnecter with a few sessions.
type sessions struct {
	mu    sync.Mutex
	live  []radius.Match
	calls int
	err   error
	slow  time.Duration
}

func (s *sessions) Disconnect(m radius.Match) (int, error) {
	s.mu.Lock()
	slow := s.slow
	s.mu.Unlock()
	time.Sleep(slow)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	var keep []radius.Match
	for _, l := range s.live {
		if m.AcctSessionID != "" && m.AcctSessionID != l.AcctSessionID || m.User != "" && m.User != l.User || m.Address.IsValid() && m.Address != l.Address {
			keep = append(keep, l)
		}
	}
	n := len(s.live) - len(keep)
	s.live = keep
	return n, s.err
}

func (s *sessions) called() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *sessions) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.live)
}

func (s *sessions) setSlow(d time.Duration) {
	s.mu.Lock()
	s.slow = d
	s.mu.Unlock()
}

func threeSessions() *sessions {
	a := netip.MustParseAddr
	return &sessions{live: []radius.Match{{"s1", "ann", a("198.51.100.1")}, {"s2", "ann", a("198.51.100.2")}, {"s3", "bob", a("198.51.100.3")}}}
}

func newDynAuth(t *testing.T, d radius.Disconnecter, change ...func(*radius.DynAuthConfig)) (*radius.DynAuth, *logBuffer) {
	t.Helper()
	cfg := radius.DynAuthConfig{
		Listen:        netip.MustParseAddrPort("127.0.0.1:0"),
		Clients:       []radius.DynAuthClient{{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Secret: []byte("other")}, {Prefix: netip.MustParsePrefix("127.0.0.0/8"), Secret: []byte(secret)}},
		NASIdentifier: "lns-1", NASAddresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
	}
	for _, f := range change {
		f(&cfg)
	}
	log := &logBuffer{}
	s, err := radius.NewDynAuth(cfg, d, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, log
}

func TestDisconnectByRadclient(t *testing.T) {
	tests := []struct {
		name, kind, attrs, want string
		left                    int
	}{
		{"session id", "disconnect", "Acct-Session-Id = s2", "Disconnect-ACK", 2},
		{"user", "disconnect", "User-Name = ann", "Disconnect-ACK", 1},
		{"address", "disconnect", "Framed-IP-Address = 198.51.100.3", "Disconnect-ACK", 2},
		{"all of them", "disconnect", "Acct-Session-Id = s1\nUser-Name = ann\nFramed-IP-Address = 198.51.100.1", "Disconnect-ACK", 2},
		{"not all true", "disconnect", "Acct-Session-Id = s1\nUser-Name = bob", "Session-Context-Not-Found", 3},
		{"nobody", "disconnect", "User-Name = eve", "Session-Context-Not-Found", 3},
		{"nothing", "disconnect", "NAS-Identifier = lns-1", "Missing-Attribute", 3},
		{"this NAS", "disconnect", "User-Name = bob\nNAS-Identifier = lns-1\nNAS-IP-Address = 192.0.2.1", "Disconnect-ACK", 2},
		{"another NAS", "disconnect", "User-Name = bob\nNAS-Identifier = lns-2", "NAS-Identification-Mismatch", 3},
		{"another NAS's address", "disconnect", "User-Name = bob\nNAS-IP-Address = 192.0.2.2", "NAS-Identification-Mismatch", 3},
		{"unknown way to name it", "disconnect", "User-Name = bob\nCalling-Station-Id = 020", "Unsupported-Attribute", 3},
		{"authorize only", "disconnect", "User-Name = bob\nService-Type = Authorize-Only", "Unsupported-Service", 3},
		{"signed", "disconnect", "User-Name = bob\nMessage-Authenticator = 0x00", "Disconnect-ACK", 2},
		{"timely", "disconnect", "User-Name = bob\nEvent-Timestamp = NOW", "Disconnect-ACK", 2},
		{"proxied", "disconnect", "User-Name = eve\nProxy-State = 0x01\nProxy-State = 0x0203", "Proxy-State = 0x0203", 3},
		{"CoA", "coa", "User-Name = bob\nSession-Timeout = 7", "Unsupported-Extension", 3},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := threeSessions()
			s, _ := newDynAuth(t, d)
			attrs := strings.ReplaceAll(test.attrs, "NOW", time.Now().Format("\"Jan  2 2006 15:04:05 MST\""))
			out := radtest.Radclient(t, s.Addr(), test.kind, secret, attrs)
			if !strings.Contains(out, test.want) {
				t.Errorf("radclient said:\n%s", out)
			}
			if d.left() != test.left {
				t.Errorf("%d sessions left, want %d", d.left(), test.left)
			}
			if st := s.Stats(); st.ACKs+st.NAKs != 1 || int(st.Disconnected) != 3-test.left {
				t.Errorf("stats %+v", st)
			}
		})
	}
}

// disconnectFor makes a Disconnect-Request for user name.
func disconnectFor(t *testing.T, id byte, key, name string, more ...*lradius.AVP) []byte {
	t.Helper()
	p := &lradius.Packet{Code: lradius.CodeDisconnectRequest, Identifier: id, Secret: []byte(key)}
	p.Add(1, lradius.Attribute(name))
	p.Attributes = append(p.Attributes, more...)
	b, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func timestamp(at time.Time) *lradius.AVP {
	return &lradius.AVP{Type: 55, Attribute: lradius.NewInteger(uint32(at.Unix()))}
}

// exchange sends a datagram and gives the answer, nil for none in a moment.
func exchange(t *testing.T, c net.Conn, b []byte) []byte {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}

func TestDynAuthDrops(t *testing.T) {
	good := func(t *testing.T) []byte { return disconnectFor(t, 1, secret, "bob") }
	badMA := &lradius.AVP{Type: 80, Attribute: make([]byte, 16)}
	tests := []struct {
		name   string
		packet func(*testing.T) []byte
		change func(*radius.DynAuthConfig)
		count  func(radius.DynAuthStats) uint64
		log    string
	}{
		{"wrong secret", func(t *testing.T) []byte { return disconnectFor(t, 1, "x", "bob") }, nil,
			func(s radius.DynAuthStats) uint64 { return s.BadAuthenticators }, "wrong authenticator"},
		{"wrong Message-Authenticator", func(t *testing.T) []byte { return disconnectFor(t, 1, secret, "bob", badMA) }, nil,
			func(s radius.DynAuthStats) uint64 { return s.BadAuthenticators }, "wrong authenticator"},
		{"no Message-Authenticator", good, func(c *radius.DynAuthConfig) { c.RequireMessageAuthenticator = true },
			func(s radius.DynAuthStats) uint64 { return s.BadAuthenticators }, "wrong authenticator"},
		{"unknown client", good, func(c *radius.DynAuthConfig) {
			c.Clients[0].Prefix = netip.MustParsePrefix("10.0.0.0/8")
			c.Clients = c.Clients[:1]
		},
			func(s radius.DynAuthStats) uint64 { return s.UnknownClients }, "unknown client"},
		{"old", func(t *testing.T) []byte {
			return disconnectFor(t, 1, secret, "bob", timestamp(time.Now().Add(-6*time.Minute)))
		}, nil,
			func(s radius.DynAuthStats) uint64 { return s.Stale }, "Event-Timestamp"},
		{"of the future", func(t *testing.T) []byte {
			return disconnectFor(t, 1, secret, "bob", timestamp(time.Now().Add(6*time.Minute)))
		}, nil,
			func(s radius.DynAuthStats) uint64 { return s.Stale }, "Event-Timestamp"},
		{"no timestamp", good, func(c *radius.DynAuthConfig) { c.RequireTimestamp = true },
			func(s radius.DynAuthStats) uint64 { return s.Stale }, "Event-Timestamp"},
		{"cut off", func(t *testing.T) []byte { return good(t)[:19] }, nil,
			func(s radius.DynAuthStats) uint64 { return s.Malformed }, "no Disconnect-Request"},
		{"wrong code", func(t *testing.T) []byte { b := good(t); b[0] = 1; return b }, nil,
			func(s radius.DynAuthStats) uint64 { return s.Malformed }, "no Disconnect-Request"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := threeSessions()
			var change []func(*radius.DynAuthConfig)
			if test.change != nil {
				change = append(change, test.change)
			}
			s, log := newDynAuth(t, d, change...)
			c, err := net.Dial("udp", s.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if reply := exchange(t, c, test.packet(t)); reply != nil {
				t.Errorf("answered %x", reply)
			}
			if test.count(s.Stats()) != 1 || s.Stats().Requests != 0 || d.called() != 0 || !log.has(test.log) {
				t.Errorf("stats %+v, %d calls", s.Stats(), d.called())
			}
		})
	}
}

// A retransmission gets the same answer and ends nobody else; while the first
// is being worked on it gets none.
func TestDynAuthDuplicates(t *testing.T) {
	d := threeSessions()
	s, _ := newDynAuth(t, d)
	c, err := net.Dial("udp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	first := exchange(t, c, disconnectFor(t, 7, secret, "bob"))
	again := exchange(t, c, disconnectFor(t, 7, secret, "bob"))
	if first == nil || !bytes.Equal(first, again) || first[0] != byte(lradius.CodeDisconnectACK) || d.called() != 1 {
		t.Errorf("%x, then %x, %d calls", first, again, d.called())
	}
	other := exchange(t, c, disconnectFor(t, 8, secret, "bob"))
	if other == nil || other[0] != byte(lradius.CodeDisconnectNAK) || d.called() != 2 {
		t.Errorf("another request: %x, %d calls", other, d.called())
	}
	d.setSlow(100 * time.Millisecond)
	if _, err := c.Write(disconnectFor(t, 9, secret, "ann")); err != nil {
		t.Fatal(err)
	}
	if reply := exchange(t, c, disconnectFor(t, 9, secret, "ann")); reply == nil || reply[0] != byte(lradius.CodeDisconnectACK) {
		t.Errorf("got %x", reply)
	}
	if n := s.Stats().Duplicates; d.called() != 3 || n != 2 {
		t.Errorf("%d calls, %d duplicates", d.called(), n)
	}
}

func TestDynAuthNotRemovable(t *testing.T) {
	d := threeSessions()
	d.err = errors.New("busy")
	s, _ := newDynAuth(t, d)
	if out := radtest.Radclient(t, s.Addr(), "disconnect", secret, "User-Name = bob"); !strings.Contains(out, "Session-Context-Not-Removable") {
		t.Errorf("radclient said:\n%s", out)
	}
}

// On the wildcard address the answer comes from the address that was asked.
func TestDynAuthAnswersFromAskedAddress(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", "[::]:0"} {
		s, _ := newDynAuth(t, threeSessions(), func(c *radius.DynAuthConfig) { c.Listen = netip.MustParseAddrPort(listen) })
		// Connected sockets take datagrams of that one address only.
		c, err := net.Dial("udp4", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.77"), s.Addr().Port()).String())
		if err != nil {
			t.Fatal(err)
		}
		if reply := exchange(t, c, disconnectFor(t, 1, secret, "bob")); reply == nil {
			t.Errorf("%s: no answer", listen)
		}
		_ = c.Close()
	}
}
