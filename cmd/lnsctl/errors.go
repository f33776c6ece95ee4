package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The exit statuses.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2
	exitNotFound = 3
)

// failure is an error with its exit status and with what to do next.
type failure struct {
	code int
	text string
	hint string
}

// Error is the text without the hint.
func (f *failure) Error() string { return f.text }

// usagef is an error in how lnsctl was called.
func usagef(format string, args ...any) error {
	return &failure{code: exitUsage, text: fmt.Sprintf(format, args...)}
}

// report prints an error and gives its exit status.
func (a *app) report(err error) int {
	if err == nil {
		return exitOK
	}
	f := &failure{code: exitFailed, text: err.Error()}
	errors.As(err, &f)
	fmt.Fprintf(a.errOut, "lnsctl: %s\n", clean(f.text))
	if f.hint != "" {
		fmt.Fprintf(a.errOut, "%s\n", f.hint)
	}
	return f.code
}

// explain makes a call's error tell what to do next.
func (a *app) explain(c *client, err error) error {
	st, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	f := &failure{code: exitFailed, text: st.Message()}
	switch st.Code() {
	case codes.NotFound:
		f.code, f.hint = exitNotFound, hintNotFound(st.Message())
	case codes.InvalidArgument:
		f.code = exitUsage
	case codes.Unavailable:
		return unreachable(c, f)
	case codes.DeadlineExceeded:
		f.text = fmt.Sprintf("%s did not answer within %v", c.address, a.Timeout)
		f.hint = "Is the node overloaded, or a firewall in between? --timeout waits longer."
		if e := c.dialError(); e != nil {
			return unreachable(c, f)
		}
	case codes.Canceled:
		f.text = "interrupted"
	case codes.Unimplemented:
		f.hint = "The node runs another version; \"lnsctl version\" shows both."
	}
	return f
}

// hintNotFound says where to look for what is there. The message begins with the field's name.
func hintNotFound(message string) string {
	switch field, _, _ := strings.Cut(message, ":"); field {
	case "id", "selector":
		return "\"lnsctl session list\" shows the sessions there are; one that has ended is in the log and in accounting."
	case "tunnel", "selector.tunnel":
		return "\"lnsctl tunnel list\" shows the tunnels there are."
	case "name", "lac.name":
		return "\"lnsctl lac list\" shows the profiles there are."
	}
	return ""
}

// unreachable explains why there was no connection.
func unreachable(c *client, f *failure) error {
	err := c.dialError()
	path, local := strings.CutPrefix(c.address, "unix://")
	switch {
	case err == nil && c.tls:
		f.hint = "Check --tls-ca, --tls-cert, --tls-key and --tls-name: the node takes only client certificates of its own authority."
	case err == nil:
	case errors.Is(err, fs.ErrPermission):
		f.text = fmt.Sprintf("no permission to connect to %s", c.address)
		f.hint = "Join the socket's group (see \"ls -l " + path + "\"), or use sudo."
	case local && (errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)):
		f.text = fmt.Sprintf("no lnsd answers on %s", c.address)
		f.hint = "Is it running (systemctl status lnsd)? If it listens elsewhere, give --address or CULVERT_ADDRESS."
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		f.text = fmt.Sprintf("cannot connect to %s in time", c.address)
		f.hint = "Check the address and the firewall; --timeout waits longer."
	default:
		f.text = fmt.Sprintf("cannot connect to %s: %v", c.address, err)
		f.hint = "Check --address, and that lnsd runs there with grpc listening on it."
	}
	return f
}
