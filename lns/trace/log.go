package trace

import (
	"bytes"
	"encoding/binary"
	"time"
)

// A Log is one slice: a head, then records, the oldest first.
//
//	head:   base 6, last 6 (both milliseconds), dropped 2
//	record: kind 1, milliseconds since the record before (uvarint), length 1, body
//
// The first record's time counts from base. A record of a kind that repeats has
// a body that begins with how often it has come, and how long after its own
// time the last of them came, in hundredths of a second; 4 octets each.
const (
	headLen   = 14
	offLast   = 6
	offDrop   = 12
	repeatLen = 8
	maxBody   = 128
	growBy    = 32
)

// MinLimit is the least limit that a Log works with, in octets.
const MinLimit = 2 * (headLen + 12 + maxBody)

// DefaultLimit holds the set-up of a talkative subscriber and what comes after it for long; most
// sessions take half of it.
const DefaultLimit = 640

// Log holds events. The zero Log is off: it takes no event and costs nothing.
type Log struct{ b []byte }

// Begin switches the log on, empty. The memory of buf is used if there is enough
// of it; nobody else may have it any more.
func (l *Log) Begin(now time.Duration, buf []byte) {
	if cap(buf) < headLen {
		buf = make([]byte, 0, headLen+growBy)
	}
	l.b = buf[:headLen]
	clear(l.b)
	l.put48(0, millis(now))
	l.put48(offLast, millis(now))
}

// On says whether the log takes events.
func (l *Log) On() bool { return l.b != nil }

// Size is what the log takes up, in octets.
func (l *Log) Size() int { return cap(l.b) }

// Fit moves the log to memory of its own size, unless it is there already, and gives back
// what it had before for another Begin; nil where it keeps that.
func (l *Log) Fit() (free []byte) {
	if cap(l.b)-len(l.b) <= growBy {
		return nil
	}
	free = l.b
	l.b = append(make([]byte, 0, roundUp(len(free))), free...)
	return free[:0]
}

func roundUp(n int) int { return (n + growBy - 1) / growBy * growBy }

func millis(t time.Duration) uint64 { return uint64(max(t, 0) / time.Millisecond) }

func (l *Log) put48(at int, v uint64) {
	binary.BigEndian.PutUint16(l.b[at:], uint16(v>>32))
	binary.BigEndian.PutUint32(l.b[at+2:], uint32(v))
}

func (l *Log) get48(at int) uint64 {
	return uint64(binary.BigEndian.Uint16(l.b[at:]))<<32 | uint64(binary.BigEndian.Uint32(l.b[at+2:]))
}

// Dropped is how many events there were before the first one that is still
// held; 65,535 stands for more, too.
func (l *Log) Dropped() int {
	if !l.On() {
		return 0
	}
	return int(binary.BigEndian.Uint16(l.b[offDrop:]))
}

// record is one record as it lies in the log.
type record struct {
	kind kind
	at   uint64 // milliseconds
	body []byte
	// off and end say where it lies.
	off, end int
}

// next reads the record at off; base is the time of the one before.
func (l *Log) next(off int, base uint64) (record, bool) {
	if off+3 > len(l.b) {
		return record{}, false
	}
	dt, n := binary.Uvarint(l.b[off+1:])
	at := off + 1 + n
	if n <= 0 || at >= len(l.b) {
		return record{}, false
	}
	end := at + 1 + int(l.b[at])
	if end > len(l.b) {
		return record{}, false
	}
	return record{kind: kind(l.b[off]), at: base + dt, body: l.b[at+1 : end], off: off, end: end}, true
}

// add appends a record and returns its offset. limit bounds the log's length, in
// octets; the oldest records make room.
func (l *Log) add(now time.Duration, k kind, body []byte, limit int) int {
	if !l.On() {
		return 0
	}
	body = body[:min(len(body), maxBody)]
	at, last := millis(now), l.get48(offLast)
	at = max(at, last)
	var head [12]byte
	head[0] = byte(k)
	n := 1 + binary.PutUvarint(head[1:], at-last)
	head[n] = byte(len(body))
	n++
	need := n + len(body)
	if len(l.b)+need > max(limit, MinLimit) {
		// Some more than is needed, so that not every event moves the log.
		l.forget(len(l.b) + need - max(limit, MinLimit) + max(limit, MinLimit)/8)
	}
	l.grow(need)
	off := len(l.b)
	l.b = append(append(l.b, head[:n]...), body...)
	l.put48(offLast, at)
	return off
}

// grow makes room for n octets, in small steps: logs are many.
func (l *Log) grow(n int) {
	if len(l.b)+n <= cap(l.b) {
		return
	}
	l.b = append(make([]byte, 0, roundUp(len(l.b)+n)+growBy), l.b...)
}

// forget drops the oldest records, n octets of them or some more.
func (l *Log) forget(n int) {
	off, base, dropped := headLen, l.get48(0), l.Dropped()
	for off < len(l.b) && off-headLen < n {
		r, ok := l.next(off, base)
		if !ok {
			off = len(l.b)
			break
		}
		off, base = r.end, r.at
		dropped++
	}
	l.b = append(l.b[:headLen], l.b[off:]...)
	l.put48(0, base)
	binary.BigEndian.PutUint16(l.b[offDrop:], uint16(min(dropped, 0xffff)))
}

// addRepeated counts one more of what has its record already, or adds the record.
func (l *Log) addRepeated(now time.Duration, k kind, key []byte, limit int) int {
	if !l.On() {
		return 0
	}
	for off, base := headLen, l.get48(0); ; {
		r, ok := l.next(off, base)
		if !ok {
			break
		}
		if r.kind == k && len(r.body) >= repeatLen && bytes.Equal(r.body[repeatLen:], key) {
			count := binary.BigEndian.Uint32(r.body)
			if count < 1<<32-1 {
				binary.BigEndian.PutUint32(r.body, count+1)
			}
			span := (max(millis(now), r.at) - r.at) / 10
			binary.BigEndian.PutUint32(r.body[4:], uint32(min(span, 1<<32-1)))
			return r.off
		}
		off, base = r.end, r.at
	}
	var body [maxBody]byte
	body[3] = 1
	n := repeatLen + copy(body[repeatLen:], key)
	return l.add(now, k, body[:n], limit)
}

// Clone is a copy that takes no more room than it needs.
func (l *Log) Clone() Log {
	return Log{b: bytes.Clone(l.b)}
}

// Began is when the first event that is held was recorded.
func (l *Log) Began() time.Duration {
	if !l.On() {
		return 0
	}
	r, ok := l.next(headLen, l.get48(0))
	if !ok {
		return time.Duration(l.get48(0)) * time.Millisecond
	}
	return time.Duration(r.at) * time.Millisecond
}
