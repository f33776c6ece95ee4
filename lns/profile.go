package lns

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"time"

	"culvert/proto/l2tp"
)

// LACProfile says how to treat the LACs that it matches. Profiles are
// immutable once given to a Server; to change one, put a new one of its name.
type LACProfile struct {
	// Name names the profile for operators and in records.
	Name string
	// Prefixes are the sources it matches; none matches any. HostNames are
	// the Host Name AVPs it matches, exactly; none matches any. The profile with the
	// longest matching prefix wins, then one that names the host name, then the lower name.
	Prefixes  []netip.Prefix
	HostNames []string
	// Secret is the tunnel's shared secret; empty means that neither end is challenged.
	Secret string
	// LocalName is the Host Name that we send; empty is the node's name.
	LocalName string
	// Window is the Receive Window Size that we offer, in messages (1 to 1024).
	Window uint16
	// Hello is how long a tunnel may be silent before HELLO is sent; 0 never sends one.
	Hello time.Duration
	// MRU is what we offer in LCP, and the most that is sent to a subscriber in one piece, in octets (576 to 1500).
	MRU uint16
	// Auth are the methods we ask for, the first one first: pap, chap, mschapv2, eap.
	Auth []string
	// Proxy says what becomes of the LCP and the authentication that the LAC
	// has done already (RFC 2661 section 6.8): accept, on-mismatch, strict or
	// always (see link.ProxyPolicy). Empty is on-mismatch.
	Proxy string
	// EchoInterval and EchoFailures are LCP's keepalive; 0 sends none.
	EchoInterval time.Duration
	EchoFailures int
	// BusyResult is the CDN result code when a call cannot be taken now
	// (draining, no address, too many calls): with 2 goes error code 7,
	// try another. The usual ones are 2, 4 and 5.
	BusyResult l2tp.ResultCode
	// AcceptUnknownMandatory takes messages with unknown mandatory AVPs from other vendors, as if they were optional.
	AcceptUnknownMandatory bool
	// FloatPeer lets the LAC's address and port change while the tunnel lives.
	FloatPeer bool
	// Address is where the LAC listens, for tunnels that are opened from here because an outgoing
	// call wants one; the zero value opens none.
	Address netip.AddrPort `json:",omitzero"`
	// PoolByGroup takes the address of a call with a Private Group ID from the pool of that name,
	// where the grant names no pool.
	PoolByGroup bool `json:",omitempty"`
	// LinePattern is a regular expression for the Calling Number, for LACs that name the line
	// in it: what its first group matches, or all of it where it has no group, becomes the
	// NAS-Port-Id. Empty, or no match: the agent's circuit id, else the ids of tunnel and session.
	LinePattern string `json:",omitempty"`
	// IgnoreDF fragments packets to subscribers that are too large for them also where
	// their sender forbids it, instead of asking for smaller ones (RFC 1191).
	IgnoreDF bool `json:",omitempty"`
	// HideAVPs hides every AVP that may be hidden in what is sent (RFC 2661 section 4.3); it
	// takes a secret. Hidden AVPs are always read.
	HideAVPs bool `json:",omitempty"`
	// Sequencing says when data messages are numbered: one of SequencingRequired (the
	// default), SequencingNegotiation and SequencingAlways.
	Sequencing string `json:",omitempty"`
	// ReorderPackets is for how many of a session's data messages a missing one is waited for
	// (0 to 256; 0, the default, for none), and ReorderTime for how long at most (1ms to 1s).
	// It is about numbered messages; what comes too late is dropped in any case.
	ReorderPackets int           `json:",omitempty"`
	ReorderTime    time.Duration `json:",omitempty"`
	// Failover says how its tunnels live on after this LNS has failed: one of FailoverAuto (the
	// default), FailoverAlways and FailoverNever. RecoveryTime is how long a LAC is asked to wait for
	// that before it gives a tunnel up (RFC 4951 section 5.1; 0 to 10m).
	Failover     string        `json:",omitempty"`
	RecoveryTime time.Duration `json:",omitempty"`
	// MaxTunnels and MaxSessions bound what these LACs may have; 0 is no bound.
	MaxTunnels, MaxSessions int
	// IPsec says how its tunnels are protected (RFC 3193); nil for not at all.
	IPsec *IPsecProfile `json:",omitempty"`
}

// DefaultLACProfile is what a profile has where it says nothing.
func DefaultLACProfile() LACProfile {
	return LACProfile{
		Window: 128, Hello: 60 * time.Second, MRU: 1500,
		Auth: []string{"chap", "mschapv2", "pap"}, Proxy: "on-mismatch", EchoInterval: 30 * time.Second, EchoFailures: 5,
		BusyResult: l2tp.ResultGeneralError, Sequencing: SequencingRequired, ReorderTime: 50 * time.Millisecond,
		Failover: FailoverAuto, RecoveryTime: time.Minute,
	}
}

// Validate says what is wrong with a profile, naming the field and what would be right.
func (p *LACProfile) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if p.Name == "" {
		bad("name: a LAC profile needs a name")
	}
	for _, x := range p.Prefixes {
		if x != x.Masked() {
			bad("prefixes: %v has host bits set; write %v", x, x.Masked())
		}
	}
	if p.Window < 1 || p.Window > 1024 {
		bad("window: %d is not between 1 and 1024 messages", p.Window)
	}
	if p.Hello != 0 && (p.Hello < time.Second || p.Hello > time.Hour) {
		bad("hello: %v is not between 1s and 1h (0 sends none)", p.Hello)
	}
	if p.MRU < 576 || p.MRU > 1500 {
		bad("mru: %d is not between 576 and 1500", p.MRU)
	}
	if len(p.Auth) == 0 {
		bad("auth: name at least one of pap, chap, mschapv2, eap")
	}
	if _, err := authMethods(p.Auth); err != nil {
		bad("auth: %w", err)
	}
	if _, err := proxyPolicy(p.Proxy); err != nil {
		bad("proxy: %w", err)
	}
	if p.EchoInterval != 0 && p.EchoInterval < time.Second {
		bad("echo_interval: %v is less than 1s (0 sends none)", p.EchoInterval)
	}
	if p.EchoInterval != 0 && p.EchoFailures < 1 {
		bad("echo_failures: %d is less than 1", p.EchoFailures)
	}
	if p.BusyResult < 1 || p.BusyResult > 11 {
		bad("busy_result: %d is no CDN result code (1 to 11; 2 tells the LAC to try another LNS)", p.BusyResult)
	}
	if _, err := regexp.Compile(p.LinePattern); err != nil {
		bad("line_pattern: %q is no regular expression: %w; write one such as ^line (\\d+)", p.LinePattern, err)
	}
	if err := checkAddress(p.Address); err != nil {
		errs = append(errs, err)
	}
	if p.HideAVPs && p.Secret == "" {
		bad("hide_avps: AVPs are hidden with the tunnel's secret; give a secret, or do not hide them")
	}
	if err := p.checkSequencing(); err != nil {
		errs = append(errs, unjoin(err)...)
	}
	if err := p.checkFailover(); err != nil {
		errs = append(errs, unjoin(err)...)
	}
	if p.MaxTunnels < 0 || p.MaxSessions < 0 {
		bad("max_tunnels, max_sessions: a bound cannot be negative (0 is none)")
	}
	if p.IPsec != nil {
		if err := p.IPsec.Validate(); err != nil {
			for _, e := range unjoin(err) {
				bad("ipsec.%w", e)
			}
		}
	}
	return errors.Join(errs...)
}

// unjoin lists the errors of an errors.Join.
func unjoin(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}
