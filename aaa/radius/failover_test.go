package radius_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/aaa/radius"
	"culvert/aaa/radius/radtest"

	lradius "layeh.com/radius"
)

// askMany sends n requests at once and counts grants, rejections and failures.
func askMany(t testing.TB, c *radius.Client, n int) (granted, failed int) {
	t.Helper()
	var wg sync.WaitGroup
	var ok, bad atomic.Int64
	wg.Add(n)
	for i := range n {
		c.Authorize(pap(user(i), "password"), func(_ *aaa.Grant, err error) {
			if err == nil {
				ok.Add(1)
			} else {
				bad.Add(1)
			}
			wg.Done()
		})
	}
	wg.Wait()
	return int(ok.Load()), int(bad.Load())
}

func TestOrderFailsOver(t *testing.T) {
	first, second := newServer(t, radtest.Config{}), newServer(t, radtest.Config{})
	a, b := quick(first.AuthAddr()), quick(second.AuthAddr())
	a.NoProbe = true
	c, log := newClient(t, []radius.Server{a, b}, nil)
	if ok, _ := askMany(t, c, 20); ok != 20 || first.Counts().Accepts != 20 {
		t.Fatalf("%d granted, %+v by the first", ok, first.Counts())
	}
	first.Behave(radtest.Behaviour{Silent: true})
	if ok, _ := askMany(t, c, 20); ok != 20 || second.Counts().Accepts != 20 {
		t.Fatalf("%d granted, %+v by the second", ok, second.Counts())
	}
	st := c.Stats()
	if st[0].Alive || st[0].Deaths != 1 || st[0].Timeouts != 20 || !st[1].Alive || !log.has("RADIUS server is dead") {
		t.Errorf("stats %+v", st[0])
	}
	// While it is dead nobody waits for it, but a trial for each of its dead times.
	began := time.Now()
	ok, _ := askMany(t, c, 20)
	trials := 1 + uint64(time.Since(began)/a.DeadTime)
	if n := c.Stats()[0].Timeouts - st[0].Timeouts; ok != 20 || n > trials {
		t.Errorf("%d granted, of which %d asked a dead server first", ok, n)
	}
	// After its dead time one request is a trial; the others go on elsewhere.
	first.Behave(radtest.Behaviour{})
	before := first.Counts().Accepts
	eventually(t, "the first is used again", func() bool {
		_, _ = askMany(t, c, 1)
		return first.Counts().Accepts > before
	})
	if !log.has("alive again") {
		t.Error("its return is not in the log")
	}
}

func TestTrialIsOne(t *testing.T) {
	first, second := newServer(t, radtest.Config{}), newServer(t, radtest.Config{})
	first.Behave(radtest.Behaviour{Silent: true})
	a, b := quick(first.AuthAddr()), quick(second.AuthAddr())
	a.NoProbe = true
	c, _ := newClient(t, []radius.Server{a, b}, nil)
	_, _ = askMany(t, c, 1)
	time.Sleep(a.DeadTime + 50*time.Millisecond)
	before := c.Stats()[0].Requests
	if ok, _ := askMany(t, c, 50); ok != 50 {
		t.Errorf("%d granted", ok)
	}
	if n := c.Stats()[0].Requests - before; n != 1 {
		t.Errorf("%d requests went to a dead server", n)
	}
	if n := c.Stats()[0].Probes; n != 0 {
		t.Errorf("%d probes in spite of NoProbe", n)
	}
}

// A server that knows Status-Server comes back by it, without a subscriber
// having to wait.
func TestProbeRevives(t *testing.T) {
	s := newServer(t, radtest.Config{})
	s.Behave(radtest.Behaviour{Silent: true})
	cfg := quick(s.AuthAddr())
	cfg.DeadTime = 200 * time.Millisecond
	c, _ := newClient(t, []radius.Server{cfg}, nil)
	_, err := ask(t, c, pap("ann", "password"))
	wantUnavailable(t, err)
	s.Behave(radtest.Behaviour{})
	eventually(t, "the server is alive", func() bool { return c.Stats()[0].Alive })
	if st := c.Stats()[0]; st.ProbeReplies != 1 || st.Requests != 1 || s.Counts().StatusServers == 0 {
		t.Errorf("stats %+v", st)
	}
}

// With nobody listening, ICMP tells, and no retransmissions are waited for.
func TestRefusedFailsOverEarly(t *testing.T) {
	gone, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(gone.LocalAddr().String())
	_ = gone.Close()
	second := newServer(t, radtest.Config{})
	a := quick(at)
	a.Retries = 9
	c, _ := newClient(t, []radius.Server{a, quick(second.AuthAddr())}, nil)
	began := time.Now()
	if _, err := ask(t, c, pap("ann", "password")); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 3*a.Timeout {
		t.Errorf("took %s", took)
	}
	if st := c.Stats()[0]; st.Alive || st.Refused == 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestLyingServer(t *testing.T) {
	for name, how := range map[string]radtest.Behaviour{"authenticator": {Lying: true}, "unsigned": {Unsigned: true}} {
		t.Run(name, func(t *testing.T) {
			first, second := newServer(t, radtest.Config{}), newServer(t, radtest.Config{})
			first.Behave(how)
			c, log := newClient(t, []radius.Server{quick(first.AuthAddr()), quick(second.AuthAddr())}, nil)
			if ok, _ := askMany(t, c, 50); ok != 50 || second.Counts().Accepts != 50 {
				t.Errorf("%d granted", ok)
			}
			st := c.Stats()[0]
			if dropped := st.BadAuthenticators + st.Unsigned; dropped < 50 || (st.Unsigned > 0) != (name == "unsigned") {
				t.Errorf("stats %+v", st)
			}
			if !log.has("dropped") {
				t.Error("nothing in the log")
			}
		})
	}
}

func TestLyingAccountingServer(t *testing.T) {
	s := newServer(t, radtest.Config{})
	s.Behave(radtest.Behaviour{Lying: true})
	c, log := newClient(t, nil, []radius.Server{quick(s.AcctAddr())})
	wantUnavailable(t, account(t, c, usage(aaa.UsageStart, "s")))
	if st := c.Stats()[0]; st.BadAuthenticators == 0 || st.Responses != 0 || !log.has("wrong authenticator") {
		t.Errorf("stats %+v", st)
	}
}

// A genuine answer that cannot be read is an error that says all about it, at once.
func TestMalformedAnswer(t *testing.T) {
	s := newServer(t, radtest.Config{Reply: lradius.Attributes{{Type: 8, Attribute: []byte{1, 2, 3}}}})
	cfg := quick(s.AuthAddr())
	cfg.Name = "radius-1"
	c, log := newClient(t, []radius.Server{cfg}, nil)
	_, err := ask(t, c, pap("ann", "password"))
	wantUnavailable(t, err)
	var e *radius.ReplyError
	want := radius.ReplyError{Server: "radius-1", User: "ann", Attribute: "Framed-IP-Address", Reason: "has 3 octets instead of 4"}
	if !errors.As(err, &e) || *e != want || !log.has("cannot be used") || c.Stats()[0].Malformed != 1 {
		t.Errorf("got %v", err)
	}
}

func TestBalanceByWeight(t *testing.T) {
	first, second, spare := newServer(t, radtest.Config{}), newServer(t, radtest.Config{}), newServer(t, radtest.Config{})
	a, b, z := quick(first.AuthAddr()), quick(second.AuthAddr()), quick(spare.AuthAddr())
	a.Weight, b.Weight, z.Priority = 3, 1, 1
	a.Timeout, b.Timeout = 5*time.Second, 5*time.Second // a busy machine must not look like a dead server
	for _, s := range []*radtest.Server{first, second} {
		s.Behave(radtest.Behaviour{Delay: 20 * time.Millisecond})
	}
	c, _ := newClient(t, []radius.Server{z, a, b}, nil, func(c *radius.Config) { c.Auth.Mode = radius.Balance })
	if ok, _ := askMany(t, c, 400); ok != 400 {
		t.Fatalf("%d granted", ok)
	}
	n, m := first.Counts().Accepts, second.Counts().Accepts
	if n < 280 || n > 320 || n+m != 400 {
		t.Errorf("%d and %d; want 300 and 100", n, m)
	}
}

// What is beyond budget and queue fails at once, and the server never sees more
// than the budget.
func TestBudget(t *testing.T) {
	s := newServer(t, radtest.Config{})
	s.Behave(radtest.Behaviour{Delay: 50 * time.Millisecond})
	cfg := quick(s.AuthAddr())
	cfg.InFlight, cfg.Queue, cfg.Timeout = 10, 20, time.Second
	c, _ := newClient(t, []radius.Server{cfg}, nil)
	began := time.Now()
	ok, failed := askMany(t, c, 100)
	if ok != 30 || failed != 70 {
		t.Errorf("%d granted, %d failed", ok, failed)
	}
	if took := time.Since(began); took < 140*time.Millisecond {
		t.Errorf("30 requests of 50 ms, ten at a time, took %s", took)
	}
	if st := c.Stats()[0]; st.Overflows != 70 || st.Requests != 30 || !st.Alive || st.InFlight+st.Queued != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestQueueExpires(t *testing.T) {
	s := newServer(t, radtest.Config{})
	s.Behave(radtest.Behaviour{Delay: 400 * time.Millisecond})
	cfg := quick(s.AuthAddr())
	cfg.InFlight, cfg.MaxWait, cfg.Timeout = 1, 100*time.Millisecond, time.Second
	c, _ := newClient(t, []radius.Server{cfg}, nil)
	began := time.Now()
	var last atomic.Int64
	var wg sync.WaitGroup
	wg.Add(3)
	for i := range 3 {
		c.Authorize(pap(user(i), "password"), func(_ *aaa.Grant, err error) {
			if err != nil {
				last.Store(int64(time.Since(began)))
			}
			wg.Done()
		})
	}
	wg.Wait()
	if st := c.Stats()[0]; st.Expired != 2 || st.Accepts != 1 || time.Duration(last.Load()) > 300*time.Millisecond {
		t.Errorf("stats %+v, last after %s", st, time.Duration(last.Load()))
	}
}

// A slow server gets no flood, needs no new sockets for ever, and every
// request is answered: more requests than identifiers of one socket.
func TestSlowServerGrowsSockets(t *testing.T) {
	s := newServer(t, radtest.Config{})
	s.Behave(radtest.Behaviour{Delay: 300 * time.Millisecond})
	cfg := quick(s.AuthAddr())
	cfg.Timeout, cfg.InFlight = 2*time.Second, 1000
	c, _ := newClient(t, []radius.Server{cfg}, nil)
	for range 2 {
		if ok, failed := askMany(t, c, 1000); ok != 1000 {
			t.Fatalf("%d granted, %d failed", ok, failed)
		}
	}
	st := c.Stats()[0]
	if st.Sockets < 4 || st.Sockets > 5 || st.Retransmits != 0 || st.BadAuthenticators != 0 {
		t.Errorf("stats %+v", st)
	}
}

// Answers that come after the last transmission has been given up are late,
// not forged.
func TestLateAnswers(t *testing.T) {
	s := newServer(t, radtest.Config{})
	s.Behave(radtest.Behaviour{Delay: 300 * time.Millisecond})
	cfg := quick(s.AuthAddr())
	cfg.Retries, cfg.NoProbe = -1, true
	c, _ := newClient(t, []radius.Server{cfg}, nil)
	if ok, failed := askMany(t, c, 10); ok != 0 || failed != 10 {
		t.Errorf("%d granted, %d failed", ok, failed)
	}
	eventually(t, "ten late answers are counted", func() bool { return c.Stats()[0].Late == 10 })
	if st := c.Stats()[0]; st.BadAuthenticators != 0 || st.Retransmits != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestLossyServer(t *testing.T) {
	s := newServer(t, radtest.Config{})
	s.Behave(radtest.Behaviour{DropEvery: 3})
	cfg, acfg := quick(s.AuthAddr()), quick(s.AcctAddr())
	cfg.Retries, acfg.Retries = 8, 8
	c, _ := newClient(t, []radius.Server{cfg}, []radius.Server{acfg})
	if ok, failed := askMany(t, c, 500); ok != 500 {
		t.Errorf("%d granted, %d failed", ok, failed)
	}
	for i := range 20 {
		if err := account(t, c, usage(aaa.UsageStart, fmt.Sprint("s", i))); err != nil {
			t.Error(err)
		}
	}
	if n := s.Counts(); n.Accepts != 500 || n.Starts != 20 {
		t.Errorf("counts %+v", n)
	}
}

func TestCloseFailsWhatWaits(t *testing.T) {
	s := newServer(t, radtest.Config{})
	s.Behave(radtest.Behaviour{Silent: true})
	cfg := quick(s.AuthAddr())
	cfg.Timeout, cfg.InFlight = time.Minute, 5
	c, _ := newClient(t, []radius.Server{cfg}, []radius.Server{quick(s.AcctAddr())})
	errs := make(chan error, 20)
	for i := range 20 {
		c.Authorize(pap(user(i), "x"), func(_ *aaa.Grant, err error) { errs <- err })
	}
	eventually(t, "five are in flight", func() bool { return c.Stats()[0].InFlight == 5 })
	_ = c.Close()
	for range 20 {
		wantUnavailable(t, <-errs)
	}
	_, err := ask(t, c, pap("ann", "x"))
	wantUnavailable(t, err)
	wantUnavailable(t, account(t, c, usage(aaa.UsageStart, "s")))
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestNoServers(t *testing.T) {
	s := newServer(t, radtest.Config{})
	c, _ := newClient(t, []radius.Server{quick(s.AuthAddr())}, nil)
	wantUnavailable(t, account(t, c, usage(aaa.UsageStart, "s")))
}
