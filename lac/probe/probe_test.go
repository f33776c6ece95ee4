package probe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"
)

var (
	sub  = netip.MustParseAddr("10.1.2.3")
	core = netip.MustParseAddr("192.0.2.1")
	ping = Spec{Kind: Ping, Size: 64, Run: 7}
	udp  = Spec{Kind: UDP, Size: 1301, Run: 7, Port: 7, LocalPort: 4000}
	mark = Stamp{From: 70000, To: 70000, Sequence: 66000, Sent: 5 * time.Second}
)

func TestThereAndBack(t *testing.T) {
	for _, s := range []Spec{ping, udp, {Kind: Ping, Size: MinSize}, {Kind: UDP, Size: MinSize}, {Kind: UDP, Size: MaxSize}} {
		p := s.Append([]byte("ahead"), sub, core, mark)[len("ahead"):]
		if len(p) != s.Size || binary.BigEndian.Uint16(p[2:]) != uint16(s.Size) {
			t.Fatalf("%+v: %d octets", s, len(p))
		}
		if _, err := s.Parse(p, sub); err == nil {
			t.Errorf("%+v: the probe itself passed for its answer", s)
		}
		if !Reflect(p) {
			t.Fatalf("%+v: not reflected", s)
		}
		got, err := s.Parse(append(p, 0, 0), sub) // trailing padding of PPP
		if err != nil || got != mark {
			t.Errorf("%+v: %+v, %v", s, got, err)
		}
	}
}

func TestKnownPing(t *testing.T) {
	s := Spec{Kind: Ping, Size: MinSize, Run: 1}
	p := s.Append(nil, sub, core, Stamp{From: 2, To: 2, Sequence: 3, Sent: 4})
	want := []byte{
		0x45, 0, 0, 56, 0, 3, 0, 0, 64, 1, 0xac, 0xbd, 10, 1, 2, 3, 192, 0, 2, 1,
		8, 0, 0x64, 0x44, 0, 2, 0, 3,
		'C', 'V', 'P', 'T', 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4,
	}
	if !bytes.Equal(p, want) {
		t.Errorf("got  %x\nwant %x", p, want)
	}
}

func TestChangedOnTheWay(t *testing.T) {
	for _, s := range []Spec{ping, udp} {
		answer := s.Append(nil, sub, core, mark)
		Reflect(answer)
		for i := range answer {
			p := bytes.Clone(answer)
			p[i] ^= 0x10
			if st, err := s.Parse(p, sub); err == nil {
				t.Errorf("kind %d: octet %d changed unnoticed: %+v", s.Kind, i, st)
			}
		}
		for n := range answer {
			if _, err := s.Parse(answer[:n], sub); err == nil {
				t.Errorf("kind %d: cut to %d octets unnoticed", s.Kind, n)
			}
		}
		if _, err := s.Parse(answer, core); err == nil || errors.Is(err, ErrNotProbe) {
			t.Errorf("kind %d: for another address: %v", s.Kind, err)
		}
		other := s
		other.Run++
		if _, err := other.Parse(answer, sub); !errors.Is(err, ErrNotProbe) {
			t.Errorf("kind %d: another run's: %v", s.Kind, err)
		}
		other = s
		other.Size--
		if _, err := other.Parse(answer, sub); err == nil || errors.Is(err, ErrNotProbe) {
			t.Errorf("kind %d: of another size: %v", s.Kind, err)
		}
	}
}

func TestReflectRefuses(t *testing.T) {
	reply := ping.Append(nil, sub, core, mark)
	Reflect(reply)
	tcp := udp.Append(nil, sub, core, mark)
	tcp[9] = 6
	for name, p := range map[string][]byte{"empty": nil, "short": reply[:27], "echo reply": reply, "tcp": tcp, "cut": udp.Append(nil, sub, core, mark)[:100]} {
		if Reflect(p) {
			t.Errorf("%s: reflected", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []Spec{ping, udp} {
		p := s.Append(nil, sub, core, mark)
		f.Add(bytes.Clone(p))
		Reflect(p)
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		for _, s := range []Spec{ping, udp} {
			st, err := s.Parse(p, sub)
			if err == nil && len(p) < s.Size {
				t.Errorf("%d octets taken for %+v", len(p), st)
			}
		}
		Reflect(p)
	})
}

func BenchmarkAppendParse(b *testing.B) {
	buf := make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		p := ping.Append(buf, sub, core, mark)
		Reflect(p)
		if _, err := ping.Parse(p, sub); err != nil {
			b.Fatal(err)
		}
	}
}
