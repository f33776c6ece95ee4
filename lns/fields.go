package lns

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"culvert/sessiondb"
)

// What lns keeps of a tunnel or session beside the stores' own columns is a version
// octet and tagged fields. A field is a key, tag<<1 | form, and a value: a
// uvarint (form 0), or a uvarint length and that many octets (form 1). Zero fields
// are absent, unknown ones are skipped; tags are never used again for something
// else. The version rises only when older programs must not read the rest.

// tagNext is the tag of a field that no program reads; see nextVersion.
const tagNext = 63

func appendNumber(b []byte, tag byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	return binary.AppendUvarint(append(b, tag<<1), v)
}

// appendTime is a span or a moment on a clock, which may be negative.
func appendTime(b []byte, tag byte, d time.Duration) []byte {
	return appendNumber(b, tag, uint64(d)<<1^uint64(d>>63))
}

func appendFlag(b []byte, tag byte, on bool) []byte {
	if !on {
		return b
	}
	return appendNumber(b, tag, 1)
}

func appendOctets[T string | []byte](b []byte, tag byte, v T) []byte {
	if len(v) == 0 {
		return b
	}
	return append(binary.AppendUvarint(append(b, tag<<1|1), uint64(len(v))), v...)
}

func appendIP(b []byte, tag byte, a netip.Addr) []byte {
	if !a.Is4() {
		return b
	}
	v := a.As4()
	return appendOctets(b, tag, v[:])
}

// fields reads them one by one. After an error, next is false and err says
// what is wrong; it is a sessiondb.ErrCorrupt.
type fields struct {
	rest []byte
	err  error
	tag  uint64
	form uint64
	v    uint64
	raw  []byte // of form 1; aliases the record
}

// fieldsOf begins to read a record whose version is from least to last.
func fieldsOf(record []byte, least, last byte) fields {
	switch {
	case len(record) == 0:
		return fields{err: fmt.Errorf("%w: empty state", sessiondb.ErrCorrupt)}
	case record[0] > last:
		return fields{err: &NewerStateError{Version: int(record[0]), Known: int(last)}}
	case record[0] < least:
		return fields{err: fmt.Errorf("%w: state of version %d", sessiondb.ErrCorrupt, record[0])}
	}
	return fields{rest: record[1:]}
}

// NewerStateError says that a record was written by a newer program, and that this one cannot know what it means.
type NewerStateError struct{ Version, Known int }

// Error says what to do.
func (e *NewerStateError) Error() string {
	return fmt.Sprintf("its state has version %d, and this lnsd knows up to %d: a newer lnsd has written it; start that one again", e.Version, e.Known)
}

func (f *fields) next() bool {
	if f.err != nil || len(f.rest) == 0 {
		return false
	}
	key := f.uvarint()
	f.tag, f.form = key>>1, key&1
	f.v, f.raw = f.uvarint(), nil
	if f.err != nil || f.form == 0 {
		return f.err == nil
	}
	if f.v > uint64(len(f.rest)) {
		f.fail("is cut off")
		return false
	}
	f.raw, f.rest = f.rest[:f.v:f.v], f.rest[f.v:]
	return true
}

func (f *fields) uvarint() uint64 {
	v, n := binary.Uvarint(f.rest)
	if n <= 0 {
		f.fail("is cut off")
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

func (f *fields) fail(what string) {
	if f.err == nil {
		f.err = fmt.Errorf("%w: field %d of its state %s", sessiondb.ErrCorrupt, f.tag, what)
	}
}

// number gives the field's number, at most limit.
func (f *fields) number(limit uint64) uint64 {
	if f.form != 0 || f.v > limit {
		f.fail("is not the number it should be")
		return 0
	}
	return f.v
}

func (f *fields) flag() bool { return f.number(1) == 1 }

func (f *fields) time() time.Duration {
	v := f.number(1<<64 - 1)
	return time.Duration(v>>1) ^ -time.Duration(v&1)
}

func (f *fields) octets() []byte {
	if f.form != 1 {
		f.fail("is not the octets it should be")
	}
	return f.raw
}

func (f *fields) ip() netip.Addr {
	b := f.octets()
	if len(b) != 4 {
		f.fail("is not the IPv4 address it should be")
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte(b))
}
