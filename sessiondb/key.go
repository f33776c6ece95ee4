package sessiondb

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// Compare orders tunnels by local address (IPv4 first), port and id.
func (k TunnelKey) Compare(o TunnelKey) int {
	if c := k.Local.Compare(o.Local); c != 0 {
		return c
	}
	return cmp.Compare(k.ID, o.ID)
}

// String gives "192.0.2.1:1701/7".
func (k TunnelKey) String() string { return fmt.Sprintf("%v/%d", k.Local, k.ID) }

// Compare orders sessions by tunnel, then id.
func (k SessionKey) Compare(o SessionKey) int {
	if c := k.Tunnel.Compare(o.Tunnel); c != 0 {
		return c
	}
	return cmp.Compare(k.ID, o.ID)
}

// String gives "192.0.2.1:1701/7/42".
func (k SessionKey) String() string { return fmt.Sprintf("%v/%d", k.Tunnel, k.ID) }

// Compare orders objects by kind, then name, byte by byte.
func (o *Object) Compare(p *Object) int {
	return cmp.Or(strings.Compare(o.Kind, p.Kind), strings.Compare(o.Name, p.Name))
}

var opNames = [...]string{
	PutTunnel: "put tunnel", DropTunnel: "drop tunnel",
	PutSession: "put session", DropSession: "drop session",
	PutEntry: "put accounting entry", DropEntry: "drop accounting entry",
	PutObject: "put object", DropObject: "drop object",
	PutCall: "put call", DropCall: "drop call",
}

// String gives the name, such as "put session".
func (o Op) String() string {
	if o >= PutTunnel && int(o) < len(opNames) {
		return opNames[o]
	}
	return fmt.Sprintf("operation %d", o)
}

// String names the operation and the key, for logs.
func (c Change) String() string {
	if err := c.Validate(); err != nil {
		return err.Error()
	}
	switch c.Op {
	case PutTunnel, DropTunnel:
		return fmt.Sprintf("%v %v", c.Op, c.Tunnel.Key)
	case PutSession, DropSession:
		return fmt.Sprintf("%v %v", c.Op, c.Session.Key)
	case PutEntry, DropEntry:
		return fmt.Sprintf("%v %d", c.Op, c.Entry.Seq)
	case PutCall, DropCall:
		return fmt.Sprintf("%v %v", c.Op, c.Call.Key)
	}
	return fmt.Sprintf("%v %s %q", c.Op, c.Object.Kind, c.Object.Name)
}

// Validate tells whether a store can take the change. The error is an ErrInvalid.
func (c Change) Validate() error {
	switch c.Op {
	case PutTunnel, DropTunnel:
		if c.Tunnel == nil {
			return invalid("%v without a tunnel", c.Op)
		}
		return c.Tunnel.Key.validate()
	case PutSession, DropSession:
		if c.Session == nil {
			return invalid("%v without a session", c.Op)
		}
		return c.Session.Key.Tunnel.validate()
	case PutCall, DropCall:
		if c.Call == nil {
			return invalid("%v without a call", c.Op)
		}
		return c.Call.Key.Tunnel.validate()
	case PutEntry, DropEntry:
		if c.Entry == nil || c.Entry.Seq == 0 || c.Entry.Seq > math.MaxInt64 {
			return invalid("%v without an entry whose number is from 1 to 2^63-1", c.Op)
		}
		return nil
	case PutObject, DropObject:
		if c.Object == nil || !plain(c.Object.Kind) || !plain(c.Object.Name) {
			return invalid("%v needs a kind and a name in UTF-8", c.Op)
		}
		return nil
	}
	return invalid("%v is unknown", c.Op)
}

func (k TunnelKey) validate() error {
	a := k.Local.Addr()
	if !a.IsValid() || a.Is4In6() || a.Zone() != "" {
		return invalid("local address %q of tunnel %d is none that a key can hold", a, k.ID)
	}
	return nil
}

// Validate tells whether every change is valid, and names the first that is not.
func Validate(changes []Change) error {
	for i := range changes {
		if err := changes[i].Validate(); err != nil {
			return fmt.Errorf("change %d of %d: %w", i+1, len(changes), err)
		}
	}
	return nil
}

func plain(s string) bool {
	return s != "" && utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}
