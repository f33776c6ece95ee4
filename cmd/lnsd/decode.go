package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// source is a configuration file: what it says, and where.
type source struct {
	path string
	file *ast.File
	cfg  fileConfig
}

// load reads a configuration file over the defaults. Every error names the
// file, the line and the key, and what would be right.
func load(path string) (*source, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return decode(path, b)
}

func decode(path string, b []byte) (*source, error) {
	s := &source{path: path, cfg: defaults()}
	if err := s.read(b); err != nil && !errors.Is(err, io.EOF) {
		return nil, s.explain(err)
	}
	return s, nil
}

// read parses b and takes its values. The library panics at some malformed
// files, such as one with a tag before a bracket that is never closed.
func (s *source) read(b []byte) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("this is not YAML; look for tags (!), quotes and brackets that are not closed")
		}
	}()
	if s.file, err = parser.ParseBytes(b, 0); err != nil {
		return err
	}
	return yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(&s.cfg)
}

// explain puts file and line in front of what the decoder says.
func (s *source) explain(err error) error {
	if p := (*placed)(nil); errors.As(err, &p) {
		return fmt.Errorf("%s:%d:%d: %w", s.path, p.line, p.column, p.err)
	}
	var y yaml.Error
	if errors.As(err, &y) {
		p := y.GetToken().Position
		msg := y.GetMessage()
		if strings.HasPrefix(msg, "unknown field") {
			msg = strings.Replace(msg, "unknown field", "unknown key", 1) + "; `lnsd example` shows all keys"
		}
		return fmt.Errorf("%s:%d:%d: %s", s.path, p.Line, p.Column, msg)
	}
	return fmt.Errorf("%s: %w", s.path, err)
}

// problem is an error about a key of the configuration, such as "$.lacs[0].mru".
type problem struct {
	key string
	err error
}

func (p *problem) Error() string { return p.err.Error() }
func (p *problem) Unwrap() error { return p.err }

// under makes problems of the errors of a package's Validate. Such an error
// begins with the field it is about: "mru: 100 is not ...".
func under(key string, err error) error {
	if err == nil {
		return nil
	}
	var all []error
	for _, e := range unjoin(err) {
		k, msg := key, e.Error()
		for _, room := range []string{"radius: ", "dataplane: ", "ippool: "} {
			msg = strings.TrimPrefix(msg, room)
		}
		if field, rest, ok := strings.Cut(msg, ": "); ok && !strings.ContainsAny(field, " ,") {
			k, msg = k+"."+field, rest
		}
		all = append(all, &problem{k, errors.New(msg)})
	}
	return errors.Join(all...)
}

// unjoin lists the errors of an errors.Join, and of what wraps one.
func unjoin(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range j.Unwrap() {
			all = append(all, unjoin(e)...)
		}
		return all
	}
	return []error{err}
}

// place puts file, line and key in front of problems.
func (s *source) place(err error) error {
	if err == nil {
		return nil
	}
	var all []error
	for _, e := range unjoin(err) {
		var p *problem
		if errors.As(e, &p) {
			e = fmt.Errorf("%s%s: %s: %w", s.path, s.line(p.key), strings.TrimPrefix(p.key, "$."), p.err)
		} else {
			e = fmt.Errorf("%s: %w", s.path, e)
		}
		all = append(all, e)
	}
	return errors.Join(all...)
}

// line is ":12" for a key that the file has, else that of the nearest key above it.
func (s *source) line(key string) string {
	for s.file != nil && key != "" && key != "$" {
		if p, err := yaml.PathString(key); err == nil {
			if n, err := p.FilterFile(s.file); err == nil && n != nil {
				return fmt.Sprintf(":%d", n.GetToken().Position.Line)
			}
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	return ""
}
