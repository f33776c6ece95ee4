package radius

import (
	"bytes"
	"testing"
	"time"

	"culvert/aaa"
)

// Interworking has no value (RFC 4679 section 3.3.18): a server that knows it looks for
// its being there.
func TestInterworkingOnTheWire(t *testing.T) {
	e := testEncoder()
	b, err := e.accessRequest(1, &[16]byte{}, &aaa.Request{Identity: aaa.Identity{User: "ann", Line: &aaa.Line{Interworking: true}}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if want := []byte{26, 8, 0, 0, 0x0d, 0xe9, 254, 2}; !bytes.Contains(b, want) {
		t.Errorf("% x is not in % x", want, b)
	}
	if b, _ = e.accessRequest(1, &[16]byte{}, &aaa.Request{Identity: aaa.Identity{User: "ann"}}, time.Now()); bytes.Contains(b, []byte{0, 0, 0x0d, 0xe9}) {
		t.Error("a line is told that nobody knows of")
	}
}
