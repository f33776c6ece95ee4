package ops

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"time"
)

// Role is what a client may do.
type Role uint8

// The roles; each may do what the one before may.
const (
	// RoleNone may call nothing but the health service.
	RoleNone Role = iota
	// RoleViewer may look at everything that is not secret.
	RoleViewer
	// RoleOperator may change things, too.
	RoleOperator
)

// String is the role's name in configuration and messages.
func (r Role) String() string {
	switch r {
	case RoleViewer:
		return "viewer"
	case RoleOperator:
		return "operator"
	}
	return "none"
}

// ParseRole reads what String gives, but "none".
func ParseRole(s string) (Role, error) {
	switch s {
	case "viewer":
		return RoleViewer, nil
	case "operator":
		return RoleOperator, nil
	}
	return RoleNone, fmt.Errorf("role: %q is neither viewer nor operator", s)
}

// RoleRule gives a role to client certificates. Fields that are set must all
// match; a certificate that several rules match gets the highest role.
type RoleRule struct {
	Role Role
	// CommonName is the subject's CN; Unit is one of its OUs.
	CommonName, Unit string
}

// Config says where to listen and who may do what. It must not change after New.
type Config struct {
	// Cluster is the node's part in a cluster; nil where it is in none.
	Cluster Cluster
	// Shutdown ends the program some moments later, its tunnels and sessions too where drop is
	// set. It must not block; nil refuses.
	Shutdown func(drop bool)
	// Address is the gRPC API's TCP address, "host:port"; empty listens on none.
	// TLS 1.3 with client certificates is spoken there.
	Address string
	// Certificate and Key are PEM files of the server; ClientCA has the
	// authorities of client certificates. They are read again when they change.
	Certificate, Key, ClientCA string
	// Roles are the rules by which a client certificate gets its role; one
	// that matches none may do nothing.
	Roles []RoleRule
	// PlainLoopback serves Address without TLS, to operators all; it is
	// refused unless Address is a loopback IP address.
	PlainLoopback bool

	// Socket is the path of the local operator's unix socket; empty makes
	// none. Whoever its mode and group let connect is an operator.
	Socket string
	// SocketMode are its permissions; 0 means 0660. SocketGroup is its
	// group's name or number; empty leaves the process's own.
	SocketMode  fs.FileMode
	SocketGroup string

	// HTTP is the address of metrics, health and profiling, "host:port";
	// empty listens on none. It has neither TLS nor authentication.
	HTTP string
	// RemoteProfiling serves /debug/pprof to others than loopback clients.
	RemoteProfiling bool

	// Sources are the counters of other rooms.
	Sources Sources
	// BehindWarning is how old a change may be that is not in the database
	// yet before the status warns; 0 means 10s.
	BehindWarning time.Duration
	// Log gets who called what; nil is slog.Default.
	Log *slog.Logger
}

// maxSocketPath is the room for a path in sockaddr_un, less the final NUL and
// what the temporary name adds while the socket is being made.
const maxSocketPath = 107 - len(socketTemp)

// Validate says what is wrong with a configuration, naming the field and what
// would be right.
func (c *Config) Validate() error {
	return errors.Join(append(append(c.validateTCP(), c.validateSocket()...), c.validateHTTP()...)...)
}

func (c *Config) validateTCP() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for i, r := range c.Roles {
		if r.Role != RoleViewer && r.Role != RoleOperator {
			bad("roles[%d].role: must be viewer or operator", i)
		}
		if r.CommonName == "" && r.Unit == "" {
			bad("roles[%d]: set common_name or unit, or every certificate would match", i)
		}
	}
	if c.Address == "" {
		return errs
	}
	if err := checkAddress(c.Address); err != nil {
		bad("address: %w", err)
	}
	if c.PlainLoopback {
		if c.Certificate != "" || c.Key != "" || c.ClientCA != "" {
			bad("plain_loopback: contradicts certificate, key and client_ca; drop one or the other")
		}
		if !isLoopback(c.Address) {
			bad("plain_loopback: %q is not a loopback IP address; use 127.0.0.1 or [::1], or set certificate, key and client_ca", c.Address)
		}
		return errs
	}
	if c.Certificate == "" || c.Key == "" || c.ClientCA == "" {
		bad("address: TCP needs certificate, key and client_ca (PEM files); for the local host alone use socket")
	}
	if len(c.Roles) == 0 {
		bad("roles: without a rule no client certificate may do anything; give one, e.g. role operator to unit \"noc\"")
	}
	return errs
}

func (c *Config) validateSocket() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Socket == "" {
		if c.SocketMode != 0 || c.SocketGroup != "" {
			bad("socket_mode, socket_group: set socket, too, or neither")
		}
		return errs
	}
	if !filepath.IsAbs(c.Socket) {
		bad("socket: %q is not an absolute path; write e.g. /run/culvert/lnsd.sock", c.Socket)
	}
	if len(c.Socket) > maxSocketPath {
		bad("socket: the path has %d octets, %d are allowed", len(c.Socket), maxSocketPath)
	}
	if c.SocketMode&^0o777 != 0 {
		bad("socket_mode: %#o is not a file mode from 0 to 0777", uint32(c.SocketMode))
	}
	if c.SocketMode&0o006 != 0 {
		bad("socket_mode: %#o lets every local user operate this node; use 0660 and socket_group", uint32(c.SocketMode))
	}
	if c.SocketGroup != "" {
		if _, err := groupID(c.SocketGroup); err != nil {
			bad("socket_group: %w", err)
		}
	}
	return errs
}

func (c *Config) validateHTTP() (errs []error) {
	if c.HTTP != "" {
		if err := checkAddress(c.HTTP); err != nil {
			errs = append(errs, fmt.Errorf("http: %w", err))
		}
	}
	if c.BehindWarning < 0 {
		errs = append(errs, fmt.Errorf("behind_warning: %v is negative", c.BehindWarning))
	}
	return errs
}

// checkAddress takes "host:port" with an empty host for all addresses.
func checkAddress(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is not host:port, such as 127.0.0.1:9107", s)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q: port %q is not a number from 0 to 65535", s, port)
	}
	return nil
}

// isLoopback does not look names up: "localhost" may be anything.
func isLoopback(address string) bool {
	ap, err := netip.ParseAddrPort(address)
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

func (c Config) withDefaults() Config {
	if c.SocketMode == 0 {
		c.SocketMode = 0o660
	}
	if c.BehindWarning == 0 {
		c.BehindWarning = 10 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}
