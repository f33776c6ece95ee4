package ppp

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestParseEAP(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		want EAP
	}{
		{"identity request", []byte{1, 7, 0, 5, 1}, EAP{Code: EAPRequest, ID: 7, Type: EAPIdentity, Data: []byte{}}},
		{"identity", []byte{2, 7, 0, 8, 1, 'a', 'n', 'n'}, EAP{Code: EAPResponse, ID: 7, Type: EAPIdentity, Data: []byte("ann")}},
		{"padding", []byte{2, 7, 0, 6, 3, 26, 0, 0, 0}, EAP{Code: EAPResponse, ID: 7, Type: EAPNak, Data: []byte{26}}},
		{"success", []byte{3, 255, 0, 4}, EAP{Code: EAPSuccess, ID: 255}},
		{"failure with padding", []byte{4, 0, 0, 4, 9}, EAP{Code: EAPFailure}},
		{"expanded", []byte{2, 1, 0, 12, 254, 0, 0, 0, 0, 0, 0, 3}, EAP{Code: EAPResponse, ID: 1, Type: EAPExpanded, Data: []byte{0, 0, 0, 0, 0, 0, 3}}},
	} {
		got, err := ParseEAP(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if n := int(c.in[3]); !bytes.Equal(got.Packet, c.in[:n]) {
			t.Errorf("%s: the packet is %x of %x", c.name, got.Packet, c.in)
		}
		got.Packet = nil
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestParseEAPRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []byte
		want string
	}{
		{"nothing", nil, "with 0 octets"},
		{"half a header", []byte{1, 1, 0}, "with 3 octets"},
		{"length too small", []byte{1, 1, 0, 3, 1}, "Length 3"},
		{"cut off", []byte{2, 1, 0, 9, 1, 'a'}, "Length 9 with 6"},
		{"request without type", []byte{1, 1, 0, 4, 1}, "Request without Type"},
		{"response without type", []byte{2, 1, 0, 4}, "Response without Type"},
		{"success with data", []byte{3, 1, 0, 5, 1}, "Success with 1 octets"},
		{"failure with data", []byte{4, 1, 0, 6, 1, 2}, "Failure with 2 octets"},
		{"code 0", []byte{0, 1, 0, 4}, "Code 0"},
		{"initiate", []byte{5, 1, 0, 5, 1}, "Code 5"},
	} {
		_, err := ParseEAP(c.in)
		if !errors.Is(err, ErrPacket) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestAppendEAP(t *testing.T) {
	if got := AppendEAP([]byte{9}, EAPRequest, 3, EAPMD5, []byte{1, 2}); !bytes.Equal(got, []byte{9, 1, 3, 0, 7, 4, 1, 2}) {
		t.Errorf("request %x", got)
	}
	if got := AppendEAPResult(nil, EAPFailure, 3); !bytes.Equal(got, []byte{4, 3, 0, 4}) {
		t.Errorf("failure %x", got)
	}
	for _, c := range []struct{ got, want string }{
		{EAPTLS.String(), "TLS"}, {EAPType(21).String(), "type 21"}, {EAPCodeName(EAPSuccess), "Success"},
		{EAPCodeName(EAPRequest), "Request"}, {EAPCodeName(EAPResponse), "Response"}, {EAPCodeName(9), "Code 9"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

// FuzzEAP: what is parsed is encoded again to the same octets.
func FuzzEAP(f *testing.F) {
	for _, s := range [][]byte{
		{1, 1, 0, 5, 1}, {2, 1, 0, 8, 1, 'a', 'n', 'n'}, {3, 1, 0, 4}, {4, 9, 0, 4, 0}, {2, 2, 0, 6, 3, 26},
		{2, 3, 0, 22, 4, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, {1, 1, 0xff, 0xff, 13}, {2, 2, 0, 3},
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseEAP(b)
		if err != nil {
			if !errors.Is(err, ErrPacket) {
				t.Fatalf("error %v is no ErrPacket", err)
			}
			return
		}
		again := AppendEAPResult(nil, p.Code, p.ID)
		if p.Code == EAPRequest || p.Code == EAPResponse {
			again = AppendEAP(nil, p.Code, p.ID, p.Type, p.Data)
		}
		if !bytes.Equal(again, p.Packet) || !bytes.HasPrefix(b, p.Packet) {
			t.Errorf("%x is %x again", p.Packet, again)
		}
	})
}
