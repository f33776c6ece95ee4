package vici

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// sample is the example of the protocol's description.
var sample = Section{
	{Name: "key1", Kind: Value, Value: "value1"},
	{Name: "section1", Kind: Sub, Sub: Section{
		{Name: "sub-section", Kind: Sub, Sub: Section{{Name: "key2", Kind: Value, Value: "value2"}}},
		{Name: "list1", Kind: List, List: []string{"item1", "item2"}},
	}},
}

const sampleWire = "\x03\x04key1\x00\x06value1" +
	"\x01\x08section1" + "\x01\x0bsub-section" + "\x03\x04key2\x00\x06value2" + "\x02" +
	"\x04\x05list1" + "\x05\x00\x05item1" + "\x05\x00\x05item2" + "\x06" + "\x02"

func TestMessageBothWays(t *testing.T) {
	b, err := sample.Append(nil)
	if err != nil || string(b) != sampleWire {
		t.Fatalf("encoded %q, %v; want %q", b, err, sampleWire)
	}
	s, err := Parse([]byte(sampleWire))
	if err != nil || !reflect.DeepEqual(s, sample) {
		t.Fatalf("decoded %+v, %v", s, err)
	}
	if got := s.GetSub("section1").GetSub("sub-section").Get("key2"); got != "value2" {
		t.Errorf("key2 is %q", got)
	}
	if got := s.GetSub("section1").GetList("list1"); len(got) != 2 {
		t.Errorf("list1 is %q", got)
	}
	if s.Get("section1") != "" || s.GetList("key1") != nil || s.GetSub("none").Get("x") != "" {
		t.Error("an item was found by another kind's name")
	}
}

func TestParseRefuses(t *testing.T) {
	for name, wire := range map[string]string{
		"unknown element":      "\x09",
		"end without start":    "\x02",
		"list item outside":    "\x05\x00\x01x",
		"list end outside":     "\x06",
		"no end of section":    "\x01\x01s",
		"no end of list":       "\x04\x01l",
		"section inside list":  "\x04\x01l\x01\x01s\x02\x06",
		"value inside list":    "\x04\x01l\x03\x01k\x00\x00\x06",
		"name cut off":         "\x03\x05ab",
		"no name":              "\x03",
		"empty name":           "\x03\x00\x00\x00",
		"value cut off":        "\x03\x01k\x00\x05ab",
		"length cut off":       "\x03\x01k\x00",
		"nested beyond bounds": strings.Repeat("\x01\x01s", 40) + strings.Repeat("\x02", 40),
	} {
		if s, err := Parse([]byte(wire)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v; want ErrMalformed", name, s, err)
		}
	}
	if _, err := Parse(make([]byte, MaxSegment+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("too long: %v", err)
	}
}

func TestAppendRefuses(t *testing.T) {
	for name, s := range map[string]Section{
		"long name":  {{Name: strings.Repeat("n", 256), Kind: Value}},
		"no name":    {{Kind: Value}},
		"long value": {{Name: "n", Kind: Value, Value: strings.Repeat("v", 1<<16)}},
		"long item":  {{Name: "n", Kind: List, List: []string{strings.Repeat("v", 1<<16)}}},
		"deep":       {{Name: "n", Kind: Sub, Sub: Section{{Name: "", Kind: Value}}}},
	} {
		if _, err := s.Append(nil); !errors.Is(err, ErrTooLong) {
			t.Errorf("%s: %v; want ErrTooLong", name, err)
		}
	}
	if _, err := (Section{{Name: "n"}}).Append(nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("no kind: %v", err)
	}
	big := Section{{Name: "n", Kind: List, List: []string{strings.Repeat("v", 60000)}}}
	for range 10 {
		big = append(big, big[0])
	}
	if _, err := appendPacket(nil, cmdRequest, "x", big); !errors.Is(err, ErrTooLong) {
		t.Errorf("too long a packet: %v", err)
	}
}

// FuzzPacket: whatever is decoded encodes to the same octets, and nothing panics.
func FuzzPacket(f *testing.F) {
	f.Add([]byte("\x00\x07version"))
	f.Add([]byte("\x01" + sampleWire))
	f.Add([]byte("\x07\x0cchild-updown\x03\x02up\x00\x03yes\x01\x01c\x01\x09child-sas\x02\x02"))
	f.Add([]byte("\x02"))
	f.Add([]byte("\x07\x03log\x04\x01l\x06"))
	f.Add([]byte("\x01" + strings.Repeat("\x01\x01s", 20)))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePacket(b)
		if err != nil {
			return
		}
		again, err := appendPacket(nil, p.kind, p.name, p.body)
		if err != nil {
			t.Fatalf("%+v does not encode: %v", p, err)
		}
		if !bytes.Equal(again[4:], b) {
			t.Fatalf("%q came back as %q", b, again[4:])
		}
	})
}
