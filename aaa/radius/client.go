package radius

import (
	"log/slog"

	"culvert/aaa"
)

// Client asks RADIUS servers. It implements aaa.Authorizer and
// aaa.Accountant and is safe for concurrent use.
type Client struct {
	// Immutable.
	auth, acct *group
}

var (
	_ aaa.Authorizer = (*Client)(nil)
	_ aaa.Accountant = (*Client)(nil)
)

// New opens a first socket towards every server of the groups and starts
// their goroutines. log may be nil. The caller must Close the client.
func New(cfg Config, log *slog.Logger) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	auth, err := newGroup(cfg.Auth, RoleAuth, cfg.NASIdentifier, cfg.NASAddress, log)
	if err != nil {
		return nil, err
	}
	acct, err := newGroup(cfg.Acct, RoleAcct, cfg.NASIdentifier, cfg.NASAddress, log)
	if err != nil {
		auth.close()
		return nil, err
	}
	return &Client{auth: auth, acct: acct}, nil
}

// Authorize is that of aaa.Authorizer. Besides a *aaa.RejectError the error
// may be a *ReplyError, which wraps aaa.ErrUnavailable. done must not block
// for long: answers of the same server wait for it.
func (c *Client) Authorize(req aaa.Request, done func(*aaa.Grant, error)) {
	c.auth.authorize(&req, done)
}

// Account is that of aaa.Accountant. done must not block for long.
func (c *Client) Account(u *aaa.Usage, done func(error)) {
	c.acct.account(u, done)
}

// Stats gives every server's state and counters: those for authentication
// first, the best priority first.
func (c *Client) Stats() []ServerStats {
	var out []ServerStats
	for _, g := range []*group{c.auth, c.acct} {
		for _, s := range g.servers {
			out = append(out, s.snapshot())
		}
	}
	return out
}

// Close fails what still waits for an answer, closes the sockets and waits
// for the goroutines to end. It must not be called from a done function.
func (c *Client) Close() error {
	c.auth.close()
	c.acct.close()
	return nil
}
