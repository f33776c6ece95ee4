// Package vici speaks the control protocol of strongSwan's charon: messages
// that are trees of sections, lists and values, carried over a stream in
// length-prefixed packets as requests, responses and events. The reference is the
// README of strongSwan's vici plugin.
package vici

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxSegment is the longest packet that either side sends, in octets, without its length.
const MaxSegment = 512 << 10

// maxDepth bounds how deep sections nest; charon's own go five deep.
const maxDepth = 16

// ErrMalformed says that a packet or message breaks the protocol's rules.
var ErrMalformed = errors.New("vici: malformed message")

// ErrTooLong says that a name (255 octets), a value (65,535) or a whole packet does not fit.
var ErrTooLong = errors.New("vici: too long")

// Kind says what an Item is.
type Kind uint8

// The kinds of items.
const (
	Value Kind = iota + 1
	List
	Sub
)

// Item is one element of a section: a value, a list of values, or a section.
type Item struct {
	Name  string
	Kind  Kind
	Value string   // of a Value; any octets
	List  []string // of a List
	Sub   Section  // of a Sub
}

// Section is an ordered set of items; a message is one. charon cares for the order of some.
type Section []Item

// Set adds a value.
func (s *Section) Set(name, value string) {
	*s = append(*s, Item{Name: name, Kind: Value, Value: value})
}

// SetList adds a list, also an empty one.
func (s *Section) SetList(name string, values ...string) {
	*s = append(*s, Item{Name: name, Kind: List, List: values})
}

// SetSub adds a section.
func (s *Section) SetSub(name string, sub Section) {
	*s = append(*s, Item{Name: name, Kind: Sub, Sub: sub})
}

// Get gives a value, "" where there is none.
func (s Section) Get(name string) string {
	for i := range s {
		if s[i].Kind == Value && s[i].Name == name {
			return s[i].Value
		}
	}
	return ""
}

// GetList gives a list's values, nil where there is none.
func (s Section) GetList(name string) []string {
	for i := range s {
		if s[i].Kind == List && s[i].Name == name {
			return s[i].List
		}
	}
	return nil
}

// GetSub gives a section, nil where there is none.
func (s Section) GetSub(name string) Section {
	for i := range s {
		if s[i].Kind == Sub && s[i].Name == name {
			return s[i].Sub
		}
	}
	return nil
}

// The types of elements on the wire.
const (
	elementSectionStart = 1
	elementSectionEnd   = 2
	elementKeyValue     = 3
	elementListStart    = 4
	elementListItem     = 5
	elementListEnd      = 6
)

// Append encodes a message behind b.
func (s Section) Append(b []byte) ([]byte, error) {
	var err error
	for i := range s {
		if b, err = s[i].append(b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (it *Item) append(b []byte) ([]byte, error) {
	if len(it.Name) > 255 || it.Name == "" {
		return nil, fmt.Errorf("%w: a name of %d octets", ErrTooLong, len(it.Name))
	}
	named := func(element byte) {
		b = append(b, element, byte(len(it.Name)))
		b = append(b, it.Name...)
	}
	var err error
	switch it.Kind {
	case Value:
		named(elementKeyValue)
		return appendValue(b, it.Name, it.Value)
	case List:
		named(elementListStart)
		for _, v := range it.List {
			if b, err = appendValue(append(b, elementListItem), it.Name, v); err != nil {
				return nil, err
			}
		}
		return append(b, elementListEnd), nil
	case Sub:
		named(elementSectionStart)
		if b, err = it.Sub.Append(b); err != nil {
			return nil, err
		}
		return append(b, elementSectionEnd), nil
	}
	return nil, fmt.Errorf("%w: item %q has no kind", ErrMalformed, it.Name)
}

func appendValue(b []byte, name, v string) ([]byte, error) {
	if len(v) > 0xffff {
		return nil, fmt.Errorf("%w: %q has a value of %d octets", ErrTooLong, name, len(v))
	}
	return append(binary.BigEndian.AppendUint16(b, uint16(len(v))), v...), nil
}

// Parse decodes a whole message. The result holds no reference to b.
func Parse(b []byte) (Section, error) {
	if len(b) > MaxSegment {
		return nil, fmt.Errorf("%w: %d octets", ErrTooLong, len(b))
	}
	p := parser{b: b}
	s, err := p.section(0)
	if err != nil {
		return nil, fmt.Errorf("%w at octet %d: %w", ErrMalformed, len(b)-len(p.b), err)
	}
	return s, nil
}

// parser takes a message apart from its beginning.
type parser struct{ b []byte }

var errShort = errors.New("it ends in the middle of an element")

// section reads items up to the section's end, which at depth 0 is the message's.
func (p *parser) section(depth int) (Section, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("sections nest deeper than %d", maxDepth)
	}
	var s Section
	for len(p.b) > 0 {
		element := p.b[0]
		p.b = p.b[1:]
		if element == elementSectionEnd && depth > 0 {
			return s, nil
		}
		it, err := p.item(element, depth)
		if err != nil {
			return nil, err
		}
		s = append(s, it)
	}
	if depth > 0 {
		return nil, errShort
	}
	return s, nil
}

func (p *parser) item(element byte, depth int) (it Item, err error) {
	switch element {
	case elementSectionStart, elementKeyValue, elementListStart:
		if it.Name, err = p.name(); err != nil {
			return it, err
		}
	default:
		return it, fmt.Errorf("element type %d is out of place", element)
	}
	switch element {
	case elementSectionStart:
		it.Kind = Sub
		it.Sub, err = p.section(depth + 1)
	case elementKeyValue:
		it.Kind = Value
		it.Value, err = p.value()
	case elementListStart:
		it.Kind = List
		it.List, err = p.list()
	}
	return it, err
}

func (p *parser) list() ([]string, error) {
	var list []string
	for len(p.b) > 0 {
		element := p.b[0]
		p.b = p.b[1:]
		switch element {
		case elementListEnd:
			return list, nil
		case elementListItem:
			v, err := p.value()
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		default:
			return nil, fmt.Errorf("element type %d is inside a list", element)
		}
	}
	return nil, errShort
}

func (p *parser) name() (string, error) {
	if len(p.b) < 1 || len(p.b) < 1+int(p.b[0]) {
		return "", errShort
	}
	n := int(p.b[0])
	if n == 0 {
		return "", errors.New("a name is empty")
	}
	v := string(p.b[1 : 1+n])
	p.b = p.b[1+n:]
	return v, nil
}

func (p *parser) value() (string, error) {
	if len(p.b) < 2 {
		return "", errShort
	}
	n := int(binary.BigEndian.Uint16(p.b))
	if len(p.b) < 2+n {
		return "", errShort
	}
	v := string(p.b[2 : 2+n])
	p.b = p.b[2+n:]
	return v, nil
}
