package l2tp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// hiddenVectors were computed from the text of RFC 2661 section 4.3 by a program
// that shares nothing with this package.
var hiddenVectors = []struct {
	attribute uint16
	secret    string
	value     string // hex
	hidden    string // hex, of length, value and padding
}{
	{14, "swordfish", "1234", "48133c1f"},
	{33, "a much longer secret than sixteen octets",
		"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627",
		"7635d239264a12b5e4fad3b57f9a3083a0bba39ac61705512426c68858b8f036a1ac1be389f2b65523269d85ce6657ca973a64"},
	{7, "x", "", "7d1a"},
	{21, "swordfish", "3031323334353637383961626364", "d0f9cc8b4cc93facfe79aa87c3d153f7"},
}

const hiddenVector = "101112131415161718191a1b1c1d1e1f"

func TestUnhideVectors(t *testing.T) {
	for _, tt := range hiddenVectors {
		value := unhex(t, tt.value)
		plain := unhideValue(nil, tt.attribute, []byte(tt.secret), unhex(t, hiddenVector), unhex(t, tt.hidden))
		if n := int(binary.BigEndian.Uint16(plain)); n != len(value) || !bytes.Equal(plain[2:2+n], value) {
			t.Errorf("AVP %d: %x", tt.attribute, plain)
		}
		// Padding differs, what comes before it does not.
		b := append(appendAVPHeader(nil, true, 0, tt.attribute), value...)
		b = hideValue(b, 0, []byte(tt.secret), unhex(t, hiddenVector))
		got, want := b[avpHeader:][:len(value)+2], unhex(t, tt.hidden)[:len(value)+2]
		if !bytes.Equal(got, want) || (len(b)-avpHeader)%16 != 0 || b[0] != 0xc0 {
			t.Errorf("AVP %d: hidden %x, want %x", tt.attribute, b, want)
		}
	}
}

// hiddenSCCRQ was read by l2tpns 2.4.1 with the secret "swordfish": vendor name
// "v", tunnel id 77, framing capabilities 3.
const hiddenSCCRQ = "8008000000000001801600000024ec06aa0a372817fae9369c3d77aea9648008000000020100" +
	"c0160000000390c74ba3f135bae810912b6d9a95bc068009000000076c6163" +
	"401600000008ce5d342a7548b025d82aaf9fb9963811c0160000000997e7a64f29f2cc6ee32a3adc522673d2" +
	"80080000000a0080c0260000000bc9e560c2e0fa56aa885e73654fb5fef2dba46e47b7a89beb59a56c5d92bcd5fe"

func TestParseHidden(t *testing.T) {
	var m Message
	if err := ParseMessage(unhex(t, hiddenSCCRQ), []byte("swordfish"), &m); err != nil {
		t.Fatal(err)
	}
	if string(m.VendorName) != "v" || m.AssignedTunnelID != 77 || m.FramingCap != 3 || string(m.HostName) != "lac" ||
		!bytes.Equal(m.Challenge, unhex(t, "abb561a2930fed85bde2f41a52fb8046")) {
		t.Errorf("%+v", m)
	}
	for _, secret := range []string{"Swordfish", "x"} {
		if err := ParseMessage(unhex(t, hiddenSCCRQ), []byte(secret), &m); !errors.Is(err, ErrHidden) {
			t.Errorf("secret %q: %v", secret, err)
		}
	}
	if err := ParseMessage(unhex(t, hiddenSCCRQ), nil, &m); !errors.Is(err, ErrNoSecret) || string(m.HostName) != "lac" {
		t.Errorf("no secret: %v, host %q", err, m.HostName)
	}
}

func TestHiddenErrors(t *testing.T) {
	vector := avp(8, 0, 36, "0123456789abcdef")
	tests := []struct {
		name string
		body []byte
		err  error
	}{
		{"no vector", body(MessageHello, avp(12, 0, 8, "abcdef")), ErrNoVector},
		{"vector after it", body(MessageHello, avp(12, 0, 8, "abcdef"), vector), ErrNoVector},
		{"no room for a length", body(MessageHello, vector, avp(12, 0, 8, "a")), ErrHidden},
		{"nothing", body(MessageHello, vector, avp(12, 0, 8, "")), ErrHidden},
		{"hidden vector", body(MessageHello, vector, avp(12, 0, 36, "abcdef")), ErrHidden},
		{"garbage", body(MessageHello, vector, avp(12, 0, 8, "abcdef")), ErrHidden},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var m Message
			if err := ParseMessage(tt.body, []byte("secret"), &m); !errors.Is(err, tt.err) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
		})
	}
}

// TestHiddenRoundTrip hides everything and reads it back.
func TestHiddenRoundTrip(t *testing.T) {
	want := full()
	want.RandomVector = []byte("0123456789abcdef")
	b := want.AppendHidden(nil, []byte("secret"), want.RandomVector)
	if bytes.Contains(b, want.ProxyAuthName) || bytes.Contains(b, want.Line.AgentCircuitID) {
		t.Error("something is not hidden")
	}
	var got Message
	if err := ParseMessage(b, []byte("secret"), &got); err != nil {
		t.Fatal(err)
	}
	if !same(&got, want) {
		t.Errorf("got  %+v\nwant %+v", normal(got.Clone()), normal(want.Clone()))
	}
	// Empty vector: nothing to pad with, still readable.
	if err := ParseMessage(want.AppendHidden(nil, []byte("secret"), nil), []byte("secret"), &got); err != nil {
		t.Error(err)
	}
}

// TestHiddenScratch checks that unhidden values do not move under each other.
func TestHiddenScratch(t *testing.T) {
	m := Message{Type: MessageICRQ, AssignedSessionID: 1}
	m.Set(AVPAssignedSessionID, AVPCalledNumber, AVPCallingNumber, AVPSubAddress, AVPPrivateGroup)
	m.CalledNumber = bytes.Repeat([]byte("1"), 900)
	m.CallingNumber = bytes.Repeat([]byte("2"), 900)
	m.SubAddress = bytes.Repeat([]byte("3"), 900)
	m.PrivateGroup = bytes.Repeat([]byte("4"), 3000)[:900]
	b := m.AppendHidden(nil, []byte("s"), []byte("v"))
	var got Message
	for range 2 {
		if err := ParseMessage(b, []byte("s"), &got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.CalledNumber, m.CalledNumber) || !bytes.Equal(got.PrivateGroup, m.PrivateGroup) {
			t.Error("values overlap")
		}
	}
}

// TestChallengeResponse has a vector that xl2tpd computed (SCCCN) and one of
// its challenges.
func TestChallengeResponse(t *testing.T) {
	tests := []struct {
		id        MessageType
		challenge string
		want      string
	}{
		{MessageSCCRP, "680945f2008bb8d4ca52b60b35a03814", "f23a48d421c623846385ab7ef88e02b7"},
		{MessageSCCCN, "83a81c7473ce84ac95927b9a73bae380", "40bfd4e122ba901a6f1ff3c11a6fcc88"},
	}
	for _, tt := range tests {
		got := ChallengeResponse(tt.id, []byte("swordfish"), unhex(t, tt.challenge))
		if want := unhex(t, tt.want); !bytes.Equal(got[:], want) {
			t.Errorf("%v: %x, want %x", tt.id, got, want)
		}
	}
}

func FuzzHidden(f *testing.F) {
	for _, v := range hiddenVectors {
		f.Add(v.attribute, []byte(v.secret), unhex(f, hiddenVector), unhex(f, v.value))
	}
	f.Add(uint16(22), []byte("s"), []byte{}, bytes.Repeat([]byte("x"), maxHidden))
	f.Fuzz(func(t *testing.T, attribute uint16, secret, vector, value []byte) {
		value = value[:min(len(value), maxHidden)]
		b := append(appendAVPHeader(nil, true, 0, attribute), value...)
		b = hiding{on: true, secret: secret, vector: vector}.finish(b, 0, true)
		raw, rest, ok := cutAVP(b)
		if !ok || len(rest) != 0 || !raw.Hidden || raw.Attribute != attribute {
			t.Fatalf("%x does not parse", b)
		}
		if len(secret) == 0 || attribute == 0 || attribute == 36 {
			return
		}
		m := Message{RandomVector: vector}
		m.Set(AVPRandomVector)
		p := parser{m: &m, secret: secret}
		got, err := p.unhide(raw, len(b))
		if err != nil || !bytes.Equal(got, value) {
			t.Fatalf("%x came back as %x: %v", value, got, err)
		}
		// Hidden text that was tampered with never leads outside it.
		raw.Value[len(raw.Value)-1] ^= 0xff
		raw.Value[0] ^= 0x01
		if got, err := p.unhide(raw, len(b)); err == nil && len(got) > len(raw.Value)-2 {
			t.Fatalf("%d octets out of %d", len(got), len(raw.Value))
		}
	})
}
