package vici

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// ErrUnknown says that charon knows no command or event of that name: it is too old, or a plugin is missing.
var ErrUnknown = errors.New("vici: charon does not know this command or event")

// Error is charon's refusal of a command.
type Error struct {
	Command, Message string
}

func (e *Error) Error() string { return fmt.Sprintf("charon refused %s: %s", e.Command, e.Message) }

// Conn is a connection to charon. It carries one command at a time and is used
// by one goroutine. After any error but Error and ErrUnknown it is of no
// use any more and has to be closed: an answer may still be on its way.
type Conn struct {
	c   net.Conn
	r   *bufio.Reader
	buf []byte
	// early are events that came while a command waited for its answer.
	early []packet
}

// maxEarly bounds the events that wait while a command runs.
const maxEarly = 65536

// dialRetry is for how long, and busyPause how often, Dial tries a socket whose queue is full: few connections fit
// into charon's, and a unix socket refuses the next one instead of letting it wait.
const (
	dialRetry = 5 * time.Second
	busyPause = 5 * time.Millisecond
)

// Dial connects to charon's socket, such as /var/run/charon.vici.
func Dial(ctx context.Context, path string) (*Conn, error) {
	var d net.Dialer
	for end := time.Now().Add(dialRetry); ; {
		c, err := d.DialContext(ctx, "unix", path)
		if err == nil {
			return NewConn(c), nil
		}
		if !errors.Is(err, syscall.EAGAIN) || time.Now().After(end) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(busyPause):
		}
	}
}

// NewConn uses a stream that is connected already.
func NewConn(c net.Conn) *Conn { return &Conn{c: c, r: bufio.NewReaderSize(c, 64<<10)} }

// Close ends the connection.
func (c *Conn) Close() error { return c.c.Close() }

// Call sends a command and gives its answer. An answer that says success = no is an Error.
func (c *Conn) Call(ctx context.Context, command string, args Section) (Section, error) {
	return c.do(ctx, command, args, "", nil)
}

// Stream sends a command whose answer is a stream of events, and calls each with every one of them.
func (c *Conn) Stream(ctx context.Context, command string, args Section, name string, each func(Section)) error {
	defer c.guard(ctx)()
	if err := c.register(eventRegister, name); err != nil {
		return c.cause(ctx, err)
	}
	_, err := c.exchange(command, args, name, each)
	if refused := (*Error)(nil); err != nil && !errors.As(err, &refused) && !errors.Is(err, ErrUnknown) {
		return c.cause(ctx, err)
	}
	return errors.Join(err, c.cause(ctx, c.register(eventUnregister, name)))
}

// Register asks for events of these names from now on; Next gives them.
func (c *Conn) Register(ctx context.Context, names ...string) error {
	defer c.guard(ctx)()
	for _, n := range names {
		if err := c.register(eventRegister, n); err != nil {
			return c.cause(ctx, fmt.Errorf("event %s: %w", n, err))
		}
	}
	return nil
}

// Next waits for the next event.
func (c *Conn) Next(ctx context.Context) (name string, body Section, err error) {
	if len(c.early) > 0 {
		p := c.early[0]
		c.early = c.early[1:]
		return p.name, p.body, nil
	}
	defer c.guard(ctx)()
	p, err := c.read()
	switch {
	case err != nil:
		return "", nil, c.cause(ctx, err)
	case p.kind != event:
		return "", nil, fmt.Errorf("%w: packet type %d where an event was due", ErrMalformed, p.kind)
	}
	return p.name, p.body, nil
}

// guard lets ctx interrupt what is being read or written; what it gives back ends that.
func (c *Conn) guard(ctx context.Context) func() {
	_ = c.c.SetDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = c.c.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

// cause is the context's error where that is why something was interrupted.
func (c *Conn) cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (c *Conn) do(ctx context.Context, command string, args Section, stream string, each func(Section)) (Section, error) {
	defer c.guard(ctx)()
	s, err := c.exchange(command, args, stream, each)
	return s, c.cause(ctx, err)
}

// exchange sends a command and reads up to its answer.
func (c *Conn) exchange(command string, args Section, stream string, each func(Section)) (Section, error) {
	if err := c.write(cmdRequest, command, args); err != nil {
		return nil, err
	}
	for {
		p, err := c.read()
		if err != nil {
			return nil, err
		}
		switch {
		case p.kind == event && p.name == stream && each != nil:
			each(p.body)
		case p.kind == event:
			if err := c.keep(p); err != nil {
				return nil, err
			}
		case p.kind == cmdResponse:
			if p.body.Get("success") == "no" {
				return nil, &Error{command, p.body.Get("errmsg")}
			}
			return p.body, nil
		case p.kind == cmdUnknown:
			return nil, fmt.Errorf("%s: %w", command, ErrUnknown)
		default:
			return nil, fmt.Errorf("%w: packet type %d where an answer was due", ErrMalformed, p.kind)
		}
	}
}

func (c *Conn) register(kind packetType, name string) error {
	if err := c.write(kind, name, nil); err != nil {
		return err
	}
	for {
		p, err := c.read()
		if err != nil {
			return err
		}
		switch p.kind {
		case event:
			if err := c.keep(p); err != nil {
				return err
			}
		case eventConfirm:
			return nil
		case eventUnknown:
			return ErrUnknown
		default:
			return fmt.Errorf("%w: packet type %d where a confirmation was due", ErrMalformed, p.kind)
		}
	}
}

func (c *Conn) keep(p packet) error {
	if len(c.early) >= maxEarly {
		return fmt.Errorf("%w: more than %d events during one command", ErrTooLong, maxEarly)
	}
	c.early = append(c.early, p)
	return nil
}

func (c *Conn) read() (packet, error) {
	p, buf, err := readPacket(c.r, c.buf)
	c.buf = buf
	return p, err
}

func (c *Conn) write(kind packetType, name string, body Section) error {
	b, err := appendPacket(nil, kind, name, body)
	if err != nil {
		return err
	}
	_, err = c.c.Write(b)
	return err
}
