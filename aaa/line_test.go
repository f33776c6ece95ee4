package aaa

import (
	"errors"
	"reflect"
	"testing"
)

func fullLine() *Line {
	return &Line{
		CircuitID: "olt-7 eth 3/21", RemoteID: "DEU.QSC\x00\xff", Encapsulation: &[3]byte{1, 1, 0}, Interworking: true,
		Values: []LineValue{{129, 20_000_000}, {130, 1 << 40}, {142, 8}, {LineAccessType, 5}},
	}
}

func TestLineRoundTrip(t *testing.T) {
	for _, l := range []*Line{{}, fullLine(), {RemoteID: "x"}, {Values: []LineValue{{0, 0}}}, {Encapsulation: &[3]byte{}}} {
		got, err := ParseLine(string(AppendLine(nil, l)))
		if err != nil || !reflect.DeepEqual(got, l) {
			t.Errorf("%+v came back as %+v, %v", l, got, err)
		}
	}
}

func TestLineCutOff(t *testing.T) {
	b := string(AppendLine(nil, fullLine()))
	whole := 0
	for n := range len(b) {
		if l, err := ParseLine(b[:n]); err == nil {
			whole++ // between two values
			if len(l.Values) >= len(fullLine().Values) {
				t.Errorf("%d octets of %d are taken for whole", n, len(b))
			}
		} else if !errors.Is(err, ErrUsage) {
			t.Errorf("%d octets: %v", n, err)
		}
	}
	if whole != len(fullLine().Values) {
		t.Errorf("%d cuts are between values, want %d", whole, len(fullLine().Values))
	}
}

func TestLineTypeString(t *testing.T) {
	if LineType(130).String() != "Actual-Data-Rate-Downstream" || LineType(143).String() != "143" {
		t.Error(LineType(130), LineType(143))
	}
}

func FuzzLine(f *testing.F) {
	f.Add(string(AppendLine(nil, fullLine())))
	f.Add("")
	f.Add("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
	f.Fuzz(func(t *testing.T, s string) {
		l, err := ParseLine(s)
		if err != nil {
			return
		}
		again, err := ParseLine(string(AppendLine(nil, l)))
		if err != nil || !reflect.DeepEqual(l, again) {
			t.Errorf("%+v came back as %+v, %v", l, again, err)
		}
	})
}
