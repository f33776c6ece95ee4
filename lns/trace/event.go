package trace

import (
	"encoding/binary"
	"iter"
	"time"
)

// Source says what an event belongs to.
type Source uint8

// The sources.
const (
	SourceLNS  Source = iota // what the LNS decided
	SourceL2TP               // control messages
	SourcePPP                // LCP, authentication, NCPs
	SourceAAA                // questions to AAA, and its answers
	SourceIKE                // IPsec in front of L2TP
)

var sourceNames = [...]string{"lns", "l2tp", "ppp", "aaa", "ike"}

// String is the source's name in the API and for scripts.
func (s Source) String() string { return sourceNames[min(int(s), len(sourceNames)-1)] }

// Direction says which way something went.
type Direction uint8

// The directions.
const (
	Inside Direction = iota // nothing was sent or received
	Sent
	Received
)

var directionNames = [...]string{"", "send", "recv"}

// String is "send", "recv" or nothing.
func (d Direction) String() string { return directionNames[min(int(d), len(directionNames)-1)] }

// Event is one event in words.
type Event struct {
	// At is when, on the clock that the Log was given; Until is when the last of Count came.
	At, Until time.Duration
	// Count is how many there were, 1 or more.
	Count     uint32
	Source    Source
	Direction Direction
	// Text says what, in the words of the RFCs, e.g. "LCP: send Configure-Request id 1 mru
	// 1492". Names and messages from peers in it are quoted.
	Text string
}

// kind says how a record's body is to be read. The numbers are not kept
// anywhere longer than the process lives.
type kind uint8

const (
	kindPPPSent kind = iota + 1
	kindPPPReceived
	kindPPPSentMany
	kindPPPReceivedMany
	kindCallSent
	kindCallReceived
	kindCallReceivedMany
	kindControlSent
	kindControlReceived
	kindControlSentMany
	kindControlReceivedMany
	kindResentMany
	kindAsk
	kindAnswer
	kindState
	kindUp
	kindEnd
	kindNote
	kindNoteMany
	kindRecovered
)

// reader puts records into words; it remembers what later ones refer to.
type reader struct {
	asked uint64 // when AAA was asked last, in milliseconds
}

// Events yields what the log holds, the oldest first.
func (l *Log) Events() iter.Seq[Event] {
	return func(yield func(Event) bool) {
		if !l.On() {
			return
		}
		var rd reader
		for off, base := headLen, l.get48(0); ; {
			r, ok := l.next(off, base)
			if !ok || !yield(rd.event(&r)) {
				return
			}
			off, base = r.end, r.at
		}
	}
}

// Event gives the one event that a recording function has just returned the offset of.
func (l *Log) Event(at int) (Event, bool) {
	if !l.On() || at < headLen {
		return Event{}, false
	}
	var rd reader
	for off, base := headLen, l.get48(0); ; {
		r, ok := l.next(off, base)
		if !ok {
			return Event{}, false
		}
		if off == at {
			return rd.event(&r), true
		}
		rd.see(&r)
		off, base = r.end, r.at
	}
}

// see notes what later records refer to.
func (rd *reader) see(r *record) {
	if r.kind == kindAsk {
		rd.asked = r.at
	}
}

func (rd *reader) event(r *record) Event {
	e := Event{At: time.Duration(r.at) * time.Millisecond, Count: 1}
	body := r.body
	if f := &formats[r.kind]; f.text != nil {
		if f.many && len(body) >= repeatLen {
			e.Count = binary.BigEndian.Uint32(body)
			e.Until = e.At + time.Duration(binary.BigEndian.Uint32(body[4:]))*10*time.Millisecond
			body = body[repeatLen:]
		}
		e.Source, e.Direction = f.source, f.direction
		e.Text = f.text(rd, r, body, &e)
	}
	rd.see(r)
	if e.Until < e.At {
		e.Until = e.At
	}
	return e
}

// format says how a kind's body becomes words.
type format struct {
	source    Source
	direction Direction
	many      bool
	text      func(rd *reader, r *record, body []byte, e *Event) string
}

var formats = [256]format{
	kindPPPSent:             {SourcePPP, Sent, false, pppText},
	kindPPPReceived:         {SourcePPP, Received, false, pppText},
	kindPPPSentMany:         {SourcePPP, Sent, true, pppManyText},
	kindPPPReceivedMany:     {SourcePPP, Received, true, pppManyText},
	kindCallSent:            {SourceL2TP, Sent, false, callText},
	kindCallReceived:        {SourceL2TP, Received, false, callText},
	kindCallReceivedMany:    {SourceL2TP, Received, true, callText},
	kindControlSent:         {SourceL2TP, Sent, false, controlText},
	kindControlReceived:     {SourceL2TP, Received, false, controlText},
	kindControlSentMany:     {SourceL2TP, Sent, true, controlText},
	kindControlReceivedMany: {SourceL2TP, Received, true, controlText},
	kindResentMany:          {SourceL2TP, Sent, true, resentText},
	kindAsk:                 {SourceAAA, Sent, false, askText},
	kindAnswer:              {SourceAAA, Received, false, answerText},
	kindState:               {SourceLNS, Inside, false, stateText},
	kindUp:                  {SourceLNS, Inside, false, upText},
	kindEnd:                 {SourceLNS, Inside, false, endText},
	kindNote:                {SourceLNS, Inside, false, noteText},
	kindNoteMany:            {SourceLNS, Inside, true, noteText},
	kindRecovered:           {SourceLNS, Inside, false, recoveredText},
}
