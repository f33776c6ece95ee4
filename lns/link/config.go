package link

import (
	"fmt"
	"time"

	"culvert/proto/ppp"
)

// Never is the Deadline of a link that waits for nothing.
const Never = ppp.Never

// Method is how the peer is asked to prove who it is. Its values are those
// of aaa.Method.
type Method uint8

// The methods. MethodNone asks for nothing: the owner decides by the line.
const (
	MethodNone Method = iota
	MethodPAP
	MethodCHAP
	MethodMSCHAPv2
	MethodEAP
)

// String gives the method's usual name.
func (m Method) String() string {
	switch m {
	case MethodPAP:
		return "PAP"
	case MethodCHAP:
		return "CHAP"
	case MethodMSCHAPv2:
		return "MS-CHAPv2"
	case MethodEAP:
		return "EAP"
	}
	return "none"
}

// Config is what links of one kind share. It is immutable once a link has it.
// Zero values of the times and counters mean the defaults of DefaultConfig,
// except EchoInterval, where zero sends no echoes.
type Config struct {
	// MRU is what we offer, in octets; 1500 is offered by saying nothing
	// (RFC 1661 section 6.1).
	MRU uint16
	// Auth are the methods, the preferred one first. With none, Effects.Auth
	// comes with MethodNone as soon as LCP is open.
	Auth []Method
	// Name is the name in our CHAP challenges.
	Name string
	// EchoInterval is the time between LCP Echo-Requests of a link that is
	// up; EchoFailures is how many may go unanswered in a row.
	EchoInterval time.Duration
	EchoFailures int
	// RestartFirst is the restart timer's first period, Restart the one
	// that it doubles up to. The first is short because a LAC may lose the
	// first frames while it prepares the subscriber's side.
	RestartFirst, Restart time.Duration
	// MaxConfigure, MaxTerminate and MaxFailure are the counters of RFC 1661 section 4.6.
	MaxConfigure, MaxTerminate, MaxFailure uint8
	// AuthTimeout bounds the wait for the peer's credentials, from LCP
	// open, or from each of EAP's Requests; SetupTimeout the time from Start, or from a renegotiation, to up,
	// the owner's decision included.
	AuthTimeout, SetupTimeout time.Duration
	// Proxy is what becomes of a LAC's own negotiation.
	Proxy ProxyPolicy
	// RejectPFC and RejectACFC refuse the peer's wish to get frames
	// with a short protocol, or without address and control (RFC 1661 sections 6.5 and 6.6).
	RejectPFC, RejectACFC bool
}

// DefaultConfig is what a Config has where it says nothing.
func DefaultConfig() Config {
	return Config{
		MRU: 1500, EchoInterval: 30 * time.Second, EchoFailures: 5,
		RestartFirst: 500 * time.Millisecond, Restart: 3 * time.Second,
		MaxConfigure: 10, MaxTerminate: 2, MaxFailure: 5,
		AuthTimeout: 15 * time.Second, SetupTimeout: 60 * time.Second,
	}
}

// Validate fills in defaults where c has zero values and says what is wrong
// with the rest. Call it once, before links share c; Start does not.
func (c *Config) Validate() error {
	c.fill()
	switch {
	case c.MRU < minMRU:
		return fmt.Errorf("link: MRU %d is less than %d", c.MRU, minMRU)
	case c.EchoInterval < 0 || c.EchoFailures < 0 || c.EchoFailures > 255:
		return fmt.Errorf("link: echo interval %v with %d failures: want 0 or more, and at most 255 failures", c.EchoInterval, c.EchoFailures)
	case c.RestartFirst < 0 || c.Restart < c.RestartFirst:
		return fmt.Errorf("link: restart timer from %v to %v: want positive times, the first not the longer", c.RestartFirst, c.Restart)
	case c.AuthTimeout < 0 || c.SetupTimeout < 0:
		return fmt.Errorf("link: timeouts %v and %v: want positive times", c.AuthTimeout, c.SetupTimeout)
	case c.Proxy > ProxyAlways:
		return fmt.Errorf("link: proxy policy %d is none of those from %d to %d", c.Proxy, ProxyOnMismatch, ProxyAlways)
	case len(c.Name) > 255:
		return fmt.Errorf("link: name has %d octets; want at most 255", len(c.Name))
	}
	seen := [MethodEAP + 1]bool{}
	for _, m := range c.Auth {
		if m < MethodPAP || m > MethodEAP || seen[m] {
			return fmt.Errorf("link: authentication methods %v: want each of PAP, CHAP, MS-CHAPv2, EAP at most once", c.Auth)
		}
		seen[m] = true
	}
	return nil
}

// fill puts defaults where c has zero values.
func (c *Config) fill() {
	d := DefaultConfig()
	orDefault(&c.MRU, d.MRU)
	orDefault(&c.RestartFirst, d.RestartFirst)
	orDefault(&c.Restart, max(d.Restart, c.RestartFirst))
	orDefault(&c.MaxConfigure, d.MaxConfigure)
	orDefault(&c.MaxTerminate, d.MaxTerminate)
	orDefault(&c.MaxFailure, d.MaxFailure)
	orDefault(&c.AuthTimeout, d.AuthTimeout)
	orDefault(&c.SetupTimeout, d.SetupTimeout)
	orDefault(&c.EchoFailures, d.EchoFailures)
}

func orDefault[T comparable](field *T, def T) {
	var zero T
	if *field == zero {
		*field = def
	}
}

// minMRU is the least MRU that a peer may ask for, in octets: below it IP
// does not work (RFC 791 asks for 68, and every known peer keeps to 128).
const minMRU = 128
