package main

import (
	"encoding"
	"fmt"
	"net/netip"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// placed is an error at a place of the configuration file.
type placed struct {
	line, column int
	err          error
}

func (e *placed) Error() string { return e.err.Error() }
func (e *placed) Unwrap() error { return e.err }

// at names the place of a node.
func at(n ast.Node, err error) error {
	p := n.GetToken().Position
	return &placed{p.Line, p.Column, err}
}

// text is a value that is written as a string and checked where it stands.
type text[T any] struct{ V T }

// UnmarshalYAML lets T read the scalar, and names the place when it cannot.
func (t *text[T]) UnmarshalYAML(n ast.Node) error {
	s, err := scalar(n)
	if err != nil {
		return err
	}
	u, ok := any(&t.V).(encoding.TextUnmarshaler)
	if !ok {
		return at(n, fmt.Errorf("%T cannot be written in a configuration file", t.V))
	}
	if err := u.UnmarshalText([]byte(s)); err != nil {
		return at(n, t.explain(s, err))
	}
	return nil
}

// explain says what to write instead of s, where the type's own error does not.
func (t *text[T]) explain(s string, err error) error {
	switch any(t.V).(type) {
	case netip.Addr:
		return fmt.Errorf("%q is no address; write one such as 192.0.2.1 or 2001:db8::1", s)
	case netip.AddrPort:
		return fmt.Errorf("%q is no address with a port; write one such as 192.0.2.1:1701 or [2001:db8::1]:1701", s)
	case netip.Prefix:
		return fmt.Errorf("%q is no prefix; write one such as 192.0.2.0/24 or 2001:db8::/32", s)
	}
	return err
}

// values takes the wrapping off a list.
func values[T any](list []text[T]) []T {
	var out []T
	for _, t := range list {
		out = append(out, t.V)
	}
	return out
}

// span is a duration such as "30s" or "10m".
type span time.Duration

// UnmarshalYAML reads a duration; a bare number is refused for want of a unit.
func (d *span) UnmarshalYAML(n ast.Node) error {
	s, err := scalar(n)
	if err != nil {
		return err
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return at(n, fmt.Errorf("%q is no duration; write a number with a unit, such as 30s or 10m", s))
	}
	if v < 0 {
		return at(n, fmt.Errorf("%v is negative", v))
	}
	*d = span(v)
	return nil
}

// secret is a string that does not show itself in logs.
type secret string

// String hides it.
func (s secret) String() string { return "(hidden)" }

// scalar is a node's text, whatever YAML takes its type for.
func scalar(n ast.Node) (string, error) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, nil
	case ast.ScalarNode:
		return v.GetToken().Value, nil
	}
	return "", at(n, fmt.Errorf("want a single value here, not a %s", n.Type()))
}
