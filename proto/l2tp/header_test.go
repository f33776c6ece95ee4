package l2tp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseHeader(t *testing.T) {
	tests := []struct {
		name    string
		in      string
		want    Header
		payload string
		err     error
	}{
		{"zlb", "c802000c000b000000010002", ControlHeader(11, 0, 1, 2), "", nil},
		{"control", "c8020014000b00160003000480080000000000060000ffff",
			Header{Control: true, HasLength: true, HasSequence: true, Length: 20, TunnelID: 11, SessionID: 22, Ns: 3, Nr: 4},
			"8008000000000006", nil},
		{"data", "0002000b0016ff03c021", Header{TunnelID: 11, SessionID: 22}, "ff03c021", nil},
		{"data, empty", "0002000b0016", Header{TunnelID: 11, SessionID: 22}, "", nil},
		{"data, length", "4002000a000b0016ff03c021", Header{HasLength: true, Length: 10, TunnelID: 11, SessionID: 22}, "ff03", nil},
		{"data, sequence", "0802000b001600050006aa",
			Header{HasSequence: true, TunnelID: 11, SessionID: 22, Ns: 5, Nr: 6}, "aa", nil},
		{"data, priority", "0102000b0016aa", Header{Priority: true, TunnelID: 11, SessionID: 22}, "aa", nil},
		{"data, offset", "0202000b00160003000000aa",
			Header{HasOffset: true, TunnelID: 11, SessionID: 22, Offset: 3}, "aa", nil},
		{"data, all", "4b020010000b0016000500060001eeaabb",
			Header{HasLength: true, HasSequence: true, HasOffset: true, Priority: true, Length: 16,
				TunnelID: 11, SessionID: 22, Ns: 5, Nr: 6, Offset: 1}, "aa", nil},
		{"reserved bits", "34f2000b0016aa", Header{TunnelID: 11, SessionID: 22}, "aa", nil},
		{"nothing", "", Header{}, "", ErrShort},
		{"half", "0002000b00", Header{}, "", ErrShort},
		{"half control", "c802000c000b0000000100", Header{}, "", ErrShort},
		{"half offset", "0202000b001600", Header{}, "", ErrShort},
		{"version 1", "c801000c000b000000010002", Header{}, "", ErrVersion},
		{"version 3", "c803000c000b000000010002", Header{}, "", ErrVersion},
		{"longer than the datagram", "c802000d000b000000010002", Header{}, "", ErrLength},
		{"shorter than the header", "c802000b000b000000010002", Header{}, "", ErrLength},
		{"offset beyond the end", "0202000b00160005000000aa", Header{}, "", ErrLength},
		{"offset beyond the length", "4202000b000b00160002aabbcc", Header{}, "", ErrLength},
		{"control without length", "8802000b000000010002", Header{}, "", ErrControlFlags},
		{"control without sequence", "c002000c000b000000010002", Header{}, "", ErrControlFlags},
		{"control with offset", "ca02000e000b0000000100020000", Header{}, "", ErrControlFlags},
		{"control with priority", "c902000c000b000000010002", Header{}, "", ErrControlFlags},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, payload, err := ParseHeader(unhex(t, tt.in))
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			if h != tt.want || !bytes.Equal(payload, unhex(t, tt.payload)) {
				t.Errorf("got %+v and %x, want %+v and %s", h, payload, tt.want, tt.payload)
			}
		})
	}
}

// TestHeaderAppend encodes every combination of flags and reads it back.
func TestHeaderAppend(t *testing.T) {
	for flags := range 32 {
		h := Header{
			HasLength: flags&1 != 0, HasSequence: flags&2 != 0, HasOffset: flags&4 != 0, Priority: flags&8 != 0,
			Control: flags == 16+3, TunnelID: 0x1234, SessionID: 0x5678,
		}
		if flags >= 16 && !h.Control {
			continue
		}
		if h.HasSequence {
			h.Ns, h.Nr = 0xfffe, 1
		}
		if h.HasOffset {
			h.Offset = 5
		}
		b := append(h.Append([]byte{0xee}), "payload"...)[1:]
		if h.HasLength {
			PutLength(b)
			h.Length = uint16(len(b))
		}
		if want := h.Size() + int(h.Offset) + 7; len(b) != want {
			t.Errorf("%+v: %d octets, want %d", h, len(b), want)
		}
		got, payload, err := ParseHeader(b)
		if err != nil || got != h || string(payload) != "payload" {
			t.Errorf("%+v came back as %+v, %q, %v", h, got, payload, err)
		}
	}
}

func FuzzParseHeader(f *testing.F) {
	for _, s := range []string{
		"c802000c000b000000010002", "0002000b0016ff03c021", "4b020010000b0016000500060001eeaa",
		"0202000b00160003000000aa", "c803000c000b000000010002", "",
	} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, payload, err := ParseHeader(b)
		if err != nil {
			return
		}
		if h.Size()+int(h.Offset)+len(payload) > len(b) {
			t.Fatalf("%+v: payload of %d octets out of %d", h, len(payload), len(b))
		}
		again := append(h.Append(nil), payload...)
		h2, payload2, err := ParseHeader(again)
		if err != nil || h2 != h || !bytes.Equal(payload, payload2) {
			t.Fatalf("%+v came back as %+v: %v", h, h2, err)
		}
	})
}
