// Package ipsec runs strongSwan's charon beside the LNS as one with it (RFC
// 3193). A Manager keeps charon's configuration equal to the LAC profiles,
// knows every SA by the mark of its packets, tells the LNS when one comes or is gone for
// good and why, and keeps clear L2TP out of the kernel where every LAC of an address is
// to use IPsec. Key exchange is charon's and ESP the kernel's.
//
// The files: manager.go is what others call, run.go and follow.go the goroutine that does all of it,
// load.go and connection.go make charon's configuration, audit.go sees to it that it stays, table.go
// knows the SAs, events.go follows charon's events, ikelog.go reads its log for reasons,
// wall.go and xfrm_linux.go are the kernel's side.
package ipsec

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"
)

// DefaultSocket is where Debian's charon listens for us.
const DefaultSocket = "/var/run/charon.vici"

// Config is what a Manager is made of.
type Config struct {
	// Socket is charon's VICI socket; empty is DefaultSocket.
	Socket string
	// Listen are the addresses that LACs call: what the SAs protect.
	Listen []netip.AddrPort
	// Marks says that sockets can read and set marks (SO_RCVMARK, Linux 5.19),
	// so that every SA gets one.
	Marks bool
	// Wall says whether kernel policies may refuse clear L2TP; it needs CAP_NET_ADMIN.
	Wall bool
	// Log gets everything that an operator should know.
	Log *slog.Logger
	// Retry is the pause between attempts to reach charon; 0 is 2 s.
	Retry time.Duration
}

// Validate says what is wrong, naming the field.
func (c *Config) Validate() error {
	var errs []error
	if len(c.Listen) == 0 {
		errs = append(errs, errors.New("ipsec: listen: the addresses that LACs call are needed"))
	}
	// The path of a unix socket has to fit into sockaddr_un.
	if strings.Contains(c.Socket, "\x00") || len(c.Socket) > 107 {
		errs = append(errs, fmt.Errorf("ipsec: socket: %q is no path of a unix socket (at most 107 octets)", c.Socket))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.Socket == "" {
		c.Socket = DefaultSocket
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Retry == 0 {
		c.Retry = 2 * time.Second
	}
	return c
}
