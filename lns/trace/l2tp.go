package trace

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"culvert/proto/l2tp"
)

// What an ICCN brings, in its record.
const (
	iccnSequencing = 1 << iota
	iccnProxyLCP
	iccnProxyAuth
)

// Call records a control message of a call, and returns the event's offset.
// Which subscriber it is about is not in it: the owner of the log knows.
func (l *Log) Call(now time.Duration, d Direction, m *l2tp.Message, limit int) int {
	if !l.On() {
		return 0
	}
	var buf [32 + keepMessage]byte
	b := append(buf[:0], byte(m.Type))
	switch m.Type {
	case l2tp.MessageWEN, l2tp.MessageCSUN, l2tp.MessageCSURQ:
		if d == Received {
			return l.addRepeated(now, kindCallReceivedMany, b, limit)
		}
	case l2tp.MessageICRQ, l2tp.MessageOCRQ:
		b = binary.BigEndian.AppendUint16(b, m.AssignedSessionID)
		b = binary.AppendUvarint(b, uint64(m.CallSerial))
	case l2tp.MessageICRP, l2tp.MessageOCRP:
		b = binary.BigEndian.AppendUint16(b, m.AssignedSessionID)
	case l2tp.MessageICCN, l2tp.MessageOCCN:
		b = append(b, connectedFlags(m), byte(m.ProxyAuthType))
		b = binary.AppendUvarint(b, m.TxSpeed)
	case l2tp.MessageSLI:
		b = binary.BigEndian.AppendUint32(b, m.ACCM.Send)
		b = binary.BigEndian.AppendUint32(b, m.ACCM.Receive)
	case l2tp.MessageCDN:
		b = appendResult(b, &m.Result, m.PPPDisconnect.Code)
	}
	k := kindCallReceived
	if d == Sent {
		k = kindCallSent
	}
	return l.add(now, k, b, limit)
}

func connectedFlags(m *l2tp.Message) (f byte) {
	if m.SequencingRequired {
		f |= iccnSequencing
	}
	if m.Has(l2tp.AVPLastSentLCP) || m.Has(l2tp.AVPLastReceivedLCP) {
		f |= iccnProxyLCP
	}
	if m.Has(l2tp.AVPProxyAuthType) {
		f |= iccnProxyAuth
	}
	return f
}

func appendResult(b []byte, r *l2tp.Result, disconnect uint16) []byte {
	b = binary.AppendUvarint(b, uint64(r.Code))
	b = binary.AppendUvarint(b, uint64(r.Error))
	b = binary.AppendUvarint(b, uint64(disconnect))
	return append(b, r.Message[:min(len(r.Message), keepMessage)]...)
}

// numbers reads uvarints from a body; what is not there is 0.
type numbers struct{ b []byte }

func (n *numbers) next() uint64 {
	v, size := binary.Uvarint(n.b)
	if size <= 0 {
		n.b = nil
		return 0
	}
	n.b = n.b[size:]
	return v
}

func (n *numbers) fixed(size int) (v uint64) {
	if len(n.b) < size {
		n.b = nil
		return 0
	}
	for _, x := range n.b[:size] {
		v = v<<8 | uint64(x)
	}
	n.b = n.b[size:]
	return v
}

func callText(_ *reader, _ *record, b []byte, e *Event) string {
	if len(b) == 0 {
		return "L2TP"
	}
	typ, n := l2tp.MessageType(b[0]), numbers{b[1:]}
	text := e.Direction.String() + " " + typ.String()
	switch typ {
	case l2tp.MessageICRQ, l2tp.MessageOCRQ:
		id := n.fixed(2)
		text += fmt.Sprintf(" session %d serial %d", id, n.next())
	case l2tp.MessageICRP, l2tp.MessageOCRP:
		text += fmt.Sprintf(" session %d", n.fixed(2))
	case l2tp.MessageICCN, l2tp.MessageOCCN:
		text += connectedText(&n)
	case l2tp.MessageSLI:
		send := n.fixed(4)
		text += fmt.Sprintf(" accm send %08x receive %08x", send, n.fixed(4))
	case l2tp.MessageCDN:
		text += resultText(&n, l2tp.Result.CDN)
	}
	return text
}

func connectedText(n *numbers) (text string) {
	flags, authType := n.fixed(1), n.fixed(1)
	if speed := n.next(); speed > 0 {
		text += fmt.Sprintf(" tx %d bit/s", speed)
	}
	if flags&iccnSequencing != 0 {
		text += ", sequencing required"
	}
	if flags&iccnProxyLCP != 0 {
		text += ", proxy LCP"
	}
	if flags&iccnProxyAuth != 0 {
		text += fmt.Sprintf(", proxy authen type %d", authType)
	}
	return text
}

func resultText(n *numbers, words func(l2tp.Result) string) string {
	r := l2tp.Result{Code: l2tp.ResultCode(n.next()), Error: l2tp.ErrorCode(n.next())}
	disconnect := n.next()
	r.Message = string(n.b)
	text := fmt.Sprintf(" result %d/%d: %s", r.Code, r.Error, words(r))
	if disconnect != 0 {
		text += fmt.Sprintf(", PPP disconnect cause %d: %v (RFC 3145)", disconnect, l2tp.PPPDisconnect{Code: uint16(disconnect)})
	}
	return text
}

// Control records a whole control datagram of a tunnel where its message is the
// tunnel's own, and returns the event's offset. Messages of calls are in their sessions'
// logs, and acknowledgements in none.
func (l *Log) Control(now time.Duration, d Direction, datagram []byte, limit int) int {
	if !l.On() {
		return 0
	}
	h, body, err := l2tp.ParseHeader(datagram)
	if err != nil || !h.Control || len(body) < 8 {
		return 0
	}
	typ := l2tp.MessageType(binary.BigEndian.Uint16(body[6:]))
	if typ > l2tp.MessageHello || body[2] != 0 || body[3] != 0 || body[4] != 0 || body[5] != 0 {
		return 0
	}
	one, many := kindControlReceived, kindControlReceivedMany
	if d == Sent {
		one, many = kindControlSent, kindControlSentMany
	}
	b := [5]byte{byte(typ)}
	if typ == l2tp.MessageHello {
		return l.addRepeated(now, many, b[:1], limit)
	}
	binary.BigEndian.PutUint16(b[1:], h.Ns)
	binary.BigEndian.PutUint16(b[3:], h.Nr)
	return l.add(now, one, b[:], limit)
}

func controlText(_ *reader, _ *record, b []byte, e *Event) string {
	if len(b) == 0 {
		return "L2TP"
	}
	text := e.Direction.String() + " " + l2tp.MessageType(b[0]).String()
	if n := (numbers{b[1:]}); len(n.b) == 4 {
		ns := n.fixed(2)
		text += fmt.Sprintf(" Ns %d Nr %d", ns, n.fixed(2))
	}
	return text
}

// Resent records that control messages were sent again, the first of them with
// sequence number ns, and returns the event's offset.
func (l *Log) Resent(now time.Duration, ns uint16, limit int) int {
	return l.addRepeated(now, kindResentMany, binary.BigEndian.AppendUint16(nil, ns), limit)
}

func resentText(_ *reader, _ *record, b []byte, _ *Event) string {
	n := numbers{b}
	return "send again, unacknowledged: Ns " + strconv.FormatUint(n.fixed(2), 10)
}

// Stopped records why a tunnel ended, and returns the event's offset.
func (l *Log) Stopped(now time.Duration, reason string, r *l2tp.Result, limit int) int {
	return l.Note(now, SourceL2TP, fmt.Sprintf("tunnel down: %s; StopCCN result %d/%d: %s", reason, r.Code, r.Error, r.StopCCN()), limit)
}
