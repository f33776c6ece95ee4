package radius

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Mode says how a group chooses among its servers.
type Mode string

const (
	// Order uses the first server that is alive and has room.
	Order Mode = "order"
	// Balance spreads requests over the alive servers of the best priority,
	// each getting its weight's share of what is in flight.
	Balance Mode = "balance"
)

// Defaults of Server's fields that are zero.
const (
	DefaultTimeout  = 3 * time.Second
	DefaultRetries  = 2
	DefaultDeadTime = 30 * time.Second
	DefaultInFlight = 1024
	DefaultQueue    = 4096
	DefaultMaxWait  = 5 * time.Second
)

// Config is what a Client needs. It is not changed after New.
type Config struct {
	// NASIdentifier is sent as NAS-Identifier (RFC 2865 section 5.32); required.
	NASIdentifier string
	// NASAddress is sent as NAS-IP-Address or NAS-IPv6-Address; when it is not
	// valid, the local address of the socket towards the server is sent.
	NASAddress netip.Addr
	// Auth answers Access-Requests, Acct Accounting-Requests. Either may be
	// empty: what needs it then fails with aaa.ErrUnavailable.
	Auth, Acct Group
}

// Group is a set of servers that stand in for one another.
type Group struct {
	// Mode is Order when empty.
	Mode    Mode
	Servers []Server
}

// Server is one RADIUS server in one role. Zero fields take the defaults above.
type Server struct {
	// Name is used in logs, errors and metrics; Address when empty.
	Name string
	// Address is where it listens, port included (1812, 1813).
	Address netip.AddrPort
	// Source is the local address to send from; any when not valid.
	Source netip.Addr
	// Secret is shared with the server (RFC 2865 section 3); required.
	Secret []byte
	// Timeout is the wait for an answer to one transmission, within a tenth
	// either way; Retries is how many retransmissions follow the first
	// (-1 for none).
	Timeout time.Duration
	Retries int
	// DeadTime is how long a server that answers nothing gets no requests,
	// unless it answers a Status-Server (RFC 5997) before.
	DeadTime time.Duration
	// NoProbe turns Status-Server off, for servers that are hurt by it.
	NoProbe bool
	// Priority: lower is used first. Weight is the share in Balance mode
	// among servers of one priority (1 when zero).
	Priority, Weight int
	// InFlight is how many requests may wait for the server's answer, and
	// Queue how many more may wait for their turn (-1 for none), at most
	// MaxWait long. What finds the queue full goes to the next server, or
	// fails at once.
	InFlight, Queue int
	MaxWait         time.Duration
	// AllowUnsigned accepts Access-Accepts, -Rejects and -Challenges that have
	// no Message-Authenticator. It opens the door to forged answers
	// (CVE-2024-3596) and is for old servers on trusted networks only.
	AllowUnsigned bool
}

// DynAuthConfig is what a DynAuth needs (RFC 5176).
type DynAuthConfig struct {
	// Listen is the address to listen on; the usual port is 3799.
	Listen netip.AddrPort
	// Clients may send requests; the longest matching prefix counts.
	Clients []DynAuthClient
	// Window is how far an Event-Timestamp may be from now, either way;
	// zero is 300 seconds (RFC 5176 section 6.3).
	Window time.Duration
	// RequireTimestamp drops requests without Event-Timestamp,
	// RequireMessageAuthenticator those without Message-Authenticator.
	RequireTimestamp, RequireMessageAuthenticator bool
	// NASIdentifier and NASAddresses are what a request that names a NAS
	// must name; when they are empty, any name will do.
	NASIdentifier string
	NASAddresses  []netip.Addr
}

// DynAuthClient is who may send Disconnect-Requests.
type DynAuthClient struct {
	Prefix netip.Prefix
	Secret []byte
}

// Validate says what is wrong with the configuration and what would be right.
func (c *Config) Validate() error {
	if c.NASIdentifier == "" || len(c.NASIdentifier) > maxValue {
		return fmt.Errorf("radius: NAS identifier must be 1 to %d octets long", maxValue)
	}
	if len(c.Auth.Servers)+len(c.Acct.Servers) == 0 {
		return errors.New("radius: no server given; name at least one for authentication")
	}
	return errors.Join(c.Auth.validate("auth"), c.Acct.validate("acct"))
}

func (g *Group) validate(role string) error {
	var errs []error
	if g.Mode != "" && g.Mode != Order && g.Mode != Balance {
		errs = append(errs, fmt.Errorf("radius: %s: mode %q must be %q or %q", role, g.Mode, Order, Balance))
	}
	if len(g.Servers) > maxServers {
		errs = append(errs, fmt.Errorf("radius: %s: %d servers are more than %d", role, len(g.Servers), maxServers))
	}
	names := map[string]bool{}
	for i := range g.Servers {
		s := g.Servers[i].withDefaults()
		if err := s.validate(); err != nil {
			errs = append(errs, fmt.Errorf("radius: %s server %s: %w", role, s.Name, err))
		}
		if names[s.Name] {
			errs = append(errs, fmt.Errorf("radius: %s server %s: the name is given twice", role, s.Name))
		}
		names[s.Name] = true
	}
	return errors.Join(errs...)
}

func (s *Server) validate() error {
	switch {
	case !s.Address.IsValid() || s.Address.Port() == 0 || s.Address.Addr().IsUnspecified():
		return fmt.Errorf("address %q must be an address and a port, as 192.0.2.1:1812", s.Address)
	case len(s.Secret) == 0:
		return errors.New("secret is missing")
	case s.Source.IsValid() && s.Source.Is4() != s.Address.Addr().Unmap().Is4():
		return fmt.Errorf("source %s and address %s are of different families", s.Source, s.Address)
	case s.Timeout < 10*time.Millisecond || s.Timeout > time.Minute:
		return fmt.Errorf("timeout %s must be between 10ms and 1m", s.Timeout)
	case s.Retries > 10:
		return fmt.Errorf("retries %d must be at most 10", s.Retries)
	case s.DeadTime < 0:
		return fmt.Errorf("dead time %s must not be negative", s.DeadTime)
	case s.Weight < 0 || s.Weight > 1000:
		return fmt.Errorf("weight %d must be between 1 and 1000", s.Weight)
	case s.InFlight < 1 || s.InFlight > 1<<14:
		return fmt.Errorf("in flight %d must be between 1 and %d", s.InFlight, 1<<14)
	case s.Queue > 1<<20:
		return fmt.Errorf("queue %d must be at most %d", s.Queue, 1<<20)
	case s.MaxWait < 0:
		return fmt.Errorf("max wait %s must not be negative", s.MaxWait)
	}
	return nil
}

// withDefaults gives a copy in which zero fields have their defaults, and
// "none" (-1) is zero.
func (s Server) withDefaults() Server {
	if s.Name == "" {
		s.Name = s.Address.String()
	}
	s.Timeout = orDefault(s.Timeout, DefaultTimeout)
	s.Retries = orDefault(s.Retries, DefaultRetries)
	s.DeadTime = orDefault(s.DeadTime, DefaultDeadTime)
	s.InFlight = orDefault(s.InFlight, DefaultInFlight)
	s.Queue = orDefault(s.Queue, DefaultQueue)
	s.MaxWait = orDefault(s.MaxWait, DefaultMaxWait)
	s.Weight = orDefault(s.Weight, 1)
	s.Retries, s.Queue = max(s.Retries, 0), max(s.Queue, 0)
	s.Address = netip.AddrPortFrom(s.Address.Addr().Unmap(), s.Address.Port())
	s.Source = s.Source.Unmap()
	return s
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Validate says what is wrong with the configuration and what would be right.
func (c *DynAuthConfig) Validate() error {
	if !c.Listen.IsValid() {
		return errors.New("radius: dynauth: listen must be an address and a port, as 192.0.2.1:3799")
	}
	if len(c.Clients) == 0 {
		return errors.New("radius: dynauth: no client given; without one nobody may send requests")
	}
	for _, cl := range c.Clients {
		if !cl.Prefix.IsValid() {
			return errors.New("radius: dynauth: client without address or prefix")
		}
		if len(cl.Secret) == 0 {
			return fmt.Errorf("radius: dynauth: client %s: secret is missing", cl.Prefix)
		}
	}
	if c.Window < 0 {
		return fmt.Errorf("radius: dynauth: window %s must not be negative", c.Window)
	}
	return nil
}
