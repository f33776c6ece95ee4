package radius

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"culvert/aaa"
)

// ErrClosed is what requests fail with after Close, besides aaa.ErrUnavailable.
var ErrClosed = errors.New("radius: client is closed")

// ReplyError is a genuine answer that cannot be used. errors.Is(err,
// aaa.ErrUnavailable) is true for it: it is the server that must be mended.
type ReplyError struct {
	// Server and User say whose answer it was and for whom.
	Server, User string
	// Attribute is what could not be read, Reason why.
	Attribute, Reason string
}

// Error names all of it.
func (e *ReplyError) Error() string {
	return fmt.Sprintf("radius server %s: answer for user %q: %s %s", e.Server, e.User, e.Attribute, e.Reason)
}

// Is makes errors.Is(err, aaa.ErrUnavailable) true.
func (e *ReplyError) Is(target error) bool { return target == aaa.ErrUnavailable }

// unavailable wraps aaa.ErrUnavailable with a reason.
func unavailable(reason error) error {
	if reason == nil {
		return aaa.ErrUnavailable
	}
	return fmt.Errorf("%w: %w", aaa.ErrUnavailable, reason)
}

// logEvery is how often a limiter lets one log line through.
const logEvery = 10 * time.Second

// limiter keeps what strangers can cause from flooding the log.
type limiter struct {
	mu         sync.Mutex
	last       time.Time
	suppressed int
}

// warn logs unless it did so lately; then it counts.
func (l *limiter) warn(log *slog.Logger, msg string, args ...any) {
	l.mu.Lock()
	now := time.Now()
	if !l.last.IsZero() && now.Sub(l.last) < logEvery {
		l.suppressed++
		l.mu.Unlock()
		return
	}
	n := l.suppressed
	l.last, l.suppressed = now, 0
	l.mu.Unlock()
	if n > 0 {
		args = append(args, "suppressed", n)
	}
	log.Warn(msg, args...)
}
