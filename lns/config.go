package lns

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"culvert/aaa"
	"culvert/lns/dataplane"
	"culvert/lns/link"
	"culvert/sessiondb"
)

// Config is what a Server is made of. All of it is immutable afterwards but
// the profiles, which PutLAC and DeleteLAC change.
type Config struct {
	// Node names this node in the cluster, in records and, as default, to LACs.
	Node string
	// Version is told to operators.
	Version string
	// Plane carries packets; its Shards says how many shards the server has.
	Plane dataplane.Plane
	// PlaneName is told to operators ("userspace", "memory").
	PlaneName  string
	Authorizer aaa.Authorizer
	Ledger     aaa.Ledger
	Addresses  aaa.Addresses
	// Journal keeps state on this node; Sink, where set, writes it behind to the cluster's store.
	Journal sessiondb.Journal
	Sink    sessiondb.Sink
	// Confirm, where set, calls done once the cluster's store has all that was
	// given to Sink before: what tells a LAC or a subscriber of a new tunnel or
	// session then waits for that, at most ConfirmWait (0 is 1 s).
	// done may be called from any goroutine, at once or late or never.
	Confirm     func(done func())
	ConfirmWait time.Duration
	// Elsewhere says that another room decides when the records of which local
	// address live here: Start leaves the journal alone, and RecoverKept, Recover and Detach
	// are called for one address after the other.
	Elsewhere bool
	// Fence, where set, is that of the plane's listeners. While one is shut nothing is done
	// with what is on it: its timers wait, nothing is accounted and nobody is disconnected, since
	// another node may have it all by then.
	Fence *dataplane.Fence
	// LACs are the profiles to begin with.
	LACs []LACProfile
	// Subscriber is what every subscriber gets where its grant says nothing else.
	Subscriber SubscriberDefaults
	// IPsec is the key exchange beside the LNS; nil where no LAC uses one: a profile
	// whose mode is required is then refused.
	IPsec IPsec
	// MaxSettingUp bounds the calls between ICRQ and up, so that a mass redial
	// is paced to what AAA answers; further calls are refused as busy.
	MaxSettingUp int
	// MaxSessions bounds the node's sessions, setting up included; 0 is no bound.
	MaxSessions int
	// Trace says what is kept of what sessions have done.
	Trace  TraceConfig
	Logger *slog.Logger
	// Clock and Rand are for tests; nil means the real ones.
	Clock Clock
	Rand  io.Reader
}

// SubscriberDefaults is what a grant may leave out.
type SubscriberDefaults struct {
	// LocalAddress is our end's address in IPCP.
	LocalAddress netip.Addr
	DNS, NBNS    [2]netip.Addr
	// Interim is how often usage is accounted (60 s or more); 0 only at start and stop.
	Interim time.Duration
	// SessionTimeout and IdleTimeout are 0 for none.
	SessionTimeout, IdleTimeout time.Duration
	// ClampMSS makes TCP fit the subscriber's MTU.
	ClampMSS bool
}

// Validate says what is wrong with the configuration, naming the field and what would be right.
func (c *Config) Validate() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	need(c.Node != "" && len(c.Node) <= 16, "node: give this node a name of 1 to 16 characters")
	need(c.Plane != nil, "plane: a data plane is needed")
	need(c.Authorizer != nil && c.Ledger != nil && c.Addresses != nil, "aaa: an authorizer, a ledger and addresses are needed")
	need(c.Journal != nil, "journal: a journal is needed")
	need(c.Confirm == nil || c.Sink != nil, "confirm: it needs a sink")
	need(c.ConfirmWait >= 0, "confirm_wait: a time cannot be negative (0 is 1s)")
	need(c.Subscriber.LocalAddress.Is4(), "subscriber.local_address: an IPv4 address is needed for our end of every link")
	need(c.Subscriber.Interim == 0 || c.Subscriber.Interim >= time.Minute, "subscriber.interim: less than 60s would flood the accounting server (0 sends none)")
	need(c.MaxSettingUp >= 0 && c.MaxSessions >= 0, "max_setting_up, max_sessions: a bound cannot be negative (0 is the default)")
	if err := c.Trace.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("trace: %w", err))
	}
	for i := range c.LACs {
		if err := c.LACs[i].Validate(); err != nil {
			errs = append(errs, fmt.Errorf("lac %q: %w", c.LACs[i].Name, err))
		}
	}
	return errors.Join(errs...)
}

// withDefaults fills what may be left out.
func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = newRealClock()
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.ConfirmWait == 0 {
		c.ConfirmWait = defaultConfirmWait
	}
	c.Trace = c.Trace.withDefaults()
	if c.MaxSettingUp == 0 {
		c.MaxSettingUp = 5000
	}
	return c
}

// authMethods turns names into methods.
func authMethods(names []string) ([]link.Method, error) {
	var list []link.Method
	for _, n := range names {
		switch n {
		case "pap":
			list = append(list, link.MethodPAP)
		case "chap":
			list = append(list, link.MethodCHAP)
		case "mschapv2":
			list = append(list, link.MethodMSCHAPv2)
		case "eap":
			list = append(list, link.MethodEAP)
		default:
			return nil, fmt.Errorf("%q is not one of pap, chap, mschapv2, eap", n)
		}
	}
	return list, nil
}

// proxyPolicy turns a name into a policy; none is the default.
func proxyPolicy(name string) (link.ProxyPolicy, error) {
	switch name {
	case "", "on-mismatch":
		return link.ProxyOnMismatch, nil
	case "accept":
		return link.ProxyAccept, nil
	case "strict":
		return link.ProxyStrict, nil
	case "always":
		return link.ProxyAlways, nil
	}
	return 0, fmt.Errorf("%q is not one of accept, on-mismatch, strict, always", name)
}
