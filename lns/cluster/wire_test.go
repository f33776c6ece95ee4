package cluster

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"culvert/lns/dataplane"
)

// wires are the two ends of a connection, and the raw ones below them.
func wires(t *testing.T, secretA, secretB string) (a, b *wire, rawA net.Conn) {
	t.Helper()
	c, d := net.Pipe()
	t.Cleanup(func() { c.Close(); d.Close() })
	done := make(chan error, 1)
	go func() {
		var err error
		b, err = acceptWire(d, []byte(secretB))
		done <- err
	}()
	a, err := dialWire(c, []byte(secretA))
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	return a, b, c
}

func TestWire(t *testing.T) {
	a, b, _ := wires(t, "secret", "secret")
	go func() {
		_ = a.write(frameOffer, []byte("one"))
		_ = a.write(frameEnd, nil)
	}()
	for _, want := range []string{"one", ""} {
		if _, p, err := b.read(); err != nil || string(p) != want {
			t.Fatalf("%q, %v; want %q", p, err, want)
		}
	}
	if err := a.write(frameCame, make([]byte, maxFrame+1)); err == nil {
		t.Error("a frame that is too long is sent")
	}
}

// TestWireRefuses sends what is none of the cluster's.
func TestWireRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		secret string
		spoil  func(frames [][]byte) []byte
	}{
		"another secret": {"other", func(f [][]byte) []byte { return f[0] }},
		"changed":        {"secret", func(f [][]byte) []byte { f[0][6] ^= 1; return f[0] }},
		"left out":       {"secret", func(f [][]byte) []byte { return f[1] }},
		"too long":       {"secret", func([][]byte) []byte { return []byte{0xff, 0, 0, 0, 1} }},
		"no kind":        {"secret", func([][]byte) []byte { return []byte{0, 0, 0, 0, 0} }},
	} {
		t.Run(name, func(t *testing.T) {
			a, b, raw := wires(t, c.secret, "secret")
			var frames [][]byte
			for range 2 {
				rec := &recorder{}
				w := &wire{c: rec, out: a.out}
				if err := w.write(frameGone, []byte("payload")); err != nil {
					t.Fatal(err)
				}
				a.out = w.out
				frames = append(frames, rec.b.Bytes())
			}
			go func() { _, _ = raw.Write(c.spoil(frames)) }()
			if kind, _, err := b.read(); !errors.Is(err, errFrame) {
				t.Errorf("kind %d, %v", kind, err)
			}
		})
	}
	c, d := net.Pipe()
	defer d.Close()
	go func() { _, _ = c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); c.Close() }()
	if _, err := acceptWire(d, nil); !errors.Is(err, errFrame) {
		t.Errorf("a browser is answered: %v", err)
	}
}

// recorder is a connection that keeps what is written.
type recorder struct {
	net.Conn
	b bytes.Buffer
}

func (r *recorder) SetWriteDeadline(time.Time) error { return nil }

func (r *recorder) Write(b []byte) (int, error) { return r.b.Write(b) }

var someDatagrams = []dataplane.Datagram{
	{Listener: 3, Peer: netip.MustParseAddrPort("192.0.2.1:1701"), B: []byte("one")},
	{Listener: 3, Peer: netip.MustParseAddrPort("[2001:db8::1]:1701"), B: []byte{}},
}

func TestFrames(t *testing.T) {
	var b []byte
	for i := range someDatagrams {
		b = appendDatagram(b, &someDatagrams[i])
	}
	if got, err := parseDatagrams(b, 3); err != nil || !reflect.DeepEqual(got, someDatagrams) {
		t.Errorf("%v, %v", got, err)
	}
	for n := 1; n < len(b); n++ {
		if got, err := parseDatagrams(b[:n], 3); err == nil && len(got) > 1 {
			t.Errorf("cut off at %d: %v", n, got)
		}
	}
	list := []dataplane.Counted{{Key: dataplane.Key{Listener: 3, Tunnel: 7, Session: 9},
		Counters: dataplane.Counters{InOctets: 1, InPackets: 2, OutOctets: 3, OutPackets: 4, Spoofed: 1 << 60}}}
	b = appendCounts(nil, list)
	if got, err := parseCounts(b, 3); err != nil || !reflect.DeepEqual(got, list) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := parseCounts(b[1:], 3); !errors.Is(err, errFrame) {
		t.Errorf("half of a counter: %v", err)
	}
	g := grant{Sent: time.Minute, For: time.Second}
	if got, err := parseGrant(g.append(nil)); err != nil || got != g {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := parseGrant(g.append(nil)[:8]); err != nil || got != (grant{Sent: time.Minute}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, b := range [][]byte{nil, make([]byte, 9), make([]byte, 17), (grant{Sent: -1}).append(nil), (grant{For: -1}).append(nil)} {
		if _, err := parseGrant(b); !errors.Is(err, errFrame) {
			t.Errorf("%x: %v", b, err)
		}
	}
}

func FuzzFrames(f *testing.F) {
	var b []byte
	for i := range someDatagrams {
		b = appendDatagram(b, &someDatagrams[i])
	}
	f.Add(b)
	f.Add(appendCounts(nil, []dataplane.Counted{{}}))
	f.Add(grant{Sent: time.Minute, For: time.Second}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, err := parseCounts(b, 1); err == nil && !bytes.Equal(appendCounts(nil, list), b) {
			t.Error("counters are not what they were")
		}
		if g, err := parseGrant(b); err == nil && !bytes.HasPrefix(g.append(nil), b) {
			t.Error("a grant is not what it was")
		}
		list, err := parseDatagrams(b, 1)
		if err != nil {
			return
		}
		var again []byte
		for i := range list {
			again = appendDatagram(again, &list[i])
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%x became %x", b, again)
		}
	})
}
