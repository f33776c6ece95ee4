package journal

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"culvert/sessiondb"
)

// A record is a version byte and then fields. A field is its number and kind
// in one varint (number<<1 | kind), and a varint (kind 0) or a varint length
// and so many bytes (kind 1). Absent fields are zero; fields of unknown
// numbers are skipped, so that a version may add some and the one before it
// still reads the record. What changes the meaning of a field raises the
// version byte.
const version = 1

const (
	kindUint  = 0
	kindBytes = 1
)

func appendUint(b []byte, num, v uint64) []byte {
	if v == 0 {
		return b
	}
	return binary.AppendUvarint(binary.AppendUvarint(b, num<<1|kindUint), v)
}

func appendBytes[T string | []byte](b []byte, num uint64, v T) []byte {
	if len(v) == 0 {
		return b
	}
	b = binary.AppendUvarint(b, num<<1|kindBytes)
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// appendTime writes microseconds since 1970, zigzag; the zero time is absent.
func appendTime(b []byte, num uint64, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	return binary.AppendVarint(binary.AppendUvarint(b, num<<1|kindUint), t.UnixMicro())
}

func appendAddr(b []byte, num uint64, a netip.Addr) []byte {
	var buf [64]byte
	v, _ := a.AppendBinary(buf[:0]) // never fails
	return appendBytes(b, num, v)
}

func appendAddrPort(b []byte, num uint64, a netip.AddrPort) []byte {
	if a == (netip.AddrPort{}) {
		return b
	}
	var buf [64]byte
	v, _ := a.AppendBinary(buf[:0]) // never fails
	return appendBytes(b, num, v)
}

func appendPrefix(b []byte, num uint64, p netip.Prefix) []byte {
	if !p.IsValid() {
		return b
	}
	var buf [64]byte
	v, _ := p.Masked().AppendBinary(buf[:0]) // never fails
	return appendBytes(b, num, v)
}

// reader takes the fields of a record one by one. After an error, next is
// false and err says what is wrong.
type reader struct {
	rest []byte
	err  error
	// The field that next found; raw aliases the record.
	num, kind, value uint64
	raw              []byte
}

func newReader(record []byte) reader {
	if len(record) == 0 {
		return reader{err: fmt.Errorf("%w: empty record", sessiondb.ErrCorrupt)}
	}
	if record[0] != version {
		return reader{err: fmt.Errorf("%w: record of version %d, this program reads version %d",
			sessiondb.ErrCorrupt, record[0], version)}
	}
	return reader{rest: record[1:]}
}

func (r *reader) next() bool {
	if r.err != nil || len(r.rest) == 0 {
		return false
	}
	tag := r.uvarint()
	r.num, r.kind = tag>>1, tag&1
	r.value, r.raw = r.uvarint(), nil
	if r.err != nil || r.kind == kindUint {
		return r.err == nil
	}
	if r.value > uint64(len(r.rest)) {
		r.fail("is longer than the record")
		return false
	}
	r.raw, r.rest = r.rest[:r.value:r.value], r.rest[r.value:]
	return true
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail("is cut short")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: field %d %s", sessiondb.ErrCorrupt, r.num, what)
	}
}

// uint gives the field's number, which must not exceed max.
func (r *reader) uint(max uint64) uint64 {
	if r.kind != kindUint || r.value > max {
		r.fail("is not the number it should be")
		return 0
	}
	return r.value
}

func (r *reader) text() string { return string(r.bytes()) }

// bytes aliases the record.
func (r *reader) bytes() []byte {
	if r.kind != kindBytes {
		r.fail("is not the bytes it should be")
		return nil
	}
	return r.raw
}

func (r *reader) time() time.Time {
	if r.kind != kindUint {
		r.fail("is not the time it should be")
		return time.Time{}
	}
	return time.UnixMicro(int64(r.value>>1) ^ -int64(r.value&1)).UTC()
}

// binary decodes addresses and prefixes.
func (r *reader) binary(v interface{ UnmarshalBinary([]byte) error }) {
	if err := v.UnmarshalBinary(r.bytes()); err != nil {
		r.fail("is not the address it should be")
	}
}
