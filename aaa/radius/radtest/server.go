package radtest

import "net/netip"

// Server is a running RADIUS server. Its methods may be called at any time
// from any goroutine.
type Server struct{ cfg Config }

// New starts a server.
func New(cfg Config) (*Server, error) { return &Server{cfg: cfg}, nil }

// AuthAddr and AcctAddr are where it listens.
func (s *Server) AuthAddr() netip.AddrPort { return s.cfg.Auth }

// AcctAddr is where it listens for accounting.
func (s *Server) AcctAddr() netip.AddrPort { return s.cfg.Acct }

// Behave changes how the server misbehaves from now on.
func (s *Server) Behave(b Behaviour) {}

// Counts gives what it has seen.
func (s *Server) Counts() Counts { return Counts{} }

// Records gives the latest accounting records, the oldest first.
func (s *Server) Records() []Record { return nil }

// Session gives a session's records among the latest, the oldest first.
func (s *Server) Session(acctSessionID string) []Record { return nil }

// Close stops the server and waits for its goroutines.
func (s *Server) Close() error { return nil }
