package radius

import (
	"log/slog"
	"net/netip"
)

// Match says which sessions a Disconnect-Request means: those of which every
// field that is set is true. At least one is set.
type Match struct {
	AcctSessionID string
	User          string
	// Address is the subscriber's Framed-IP-Address.
	Address netip.Addr
}

// Disconnecter ends sessions on behalf of a DynAuth.
type Disconnecter interface {
	// Disconnect ends the sessions that m means (their Acct-Terminate-Cause
	// is Admin Reset) and tells how many there were. It may block for a
	// moment; an error says that there were some and they could not be ended.
	Disconnect(m Match) (int, error)
}

// DynAuth answers Disconnect-Requests (RFC 5176).
type DynAuth struct{ d Disconnecter }

// NewDynAuth listens and answers until Close. log may be nil.
func NewDynAuth(cfg DynAuthConfig, d Disconnecter, log *slog.Logger) (*DynAuth, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &DynAuth{d: d}, nil
}

// Addr is the address it listens on.
func (s *DynAuth) Addr() netip.AddrPort { return netip.AddrPort{} }

// Stats gives the counters.
func (s *DynAuth) Stats() DynAuthStats { return DynAuthStats{} }

// Close stops listening and waits for requests that are being answered.
func (s *DynAuth) Close() error { return nil }
