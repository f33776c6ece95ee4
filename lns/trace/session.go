package trace

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// keepName bounds what is kept of a name, in octets.
const keepName = 40

// Ask records that AAA is asked about a user, by a method in words, and returns the event's offset.
func (l *Log) Ask(now time.Duration, user, method string, limit int) int {
	if !l.On() {
		return 0
	}
	var buf [maxBody]byte
	b := append(append(buf[:0], byte(len(method))), method...)
	return l.add(now, kindAsk, append(b, user[:min(len(user), keepName)]...), limit)
}

func askText(_ *reader, _ *record, b []byte, _ *Event) string {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return "RADIUS: Access-Request"
	}
	method, user := b[1:1+b[0]], b[1+b[0]:]
	return fmt.Sprintf("RADIUS: Access-Request for %s by %s", strconv.Quote(string(user)), method)
}

// Verdict is what AAA said.
type Verdict uint8

// The verdicts.
const (
	VerdictAccept Verdict = iota
	VerdictReject
	VerdictNone // no answer
	VerdictChallenge
)

var verdictNames = [...]string{"Access-Accept", "Access-Reject", "no answer", "Access-Challenge"}

// Answer records what AAA said: which server, where that is known, and in what
// words, where there are any. It returns the event's offset.
func (l *Log) Answer(now time.Duration, v Verdict, server, message string, limit int) int {
	if !l.On() {
		return 0
	}
	var buf [maxBody]byte
	server = server[:min(len(server), keepName)]
	b := append(append(buf[:0], byte(v), byte(len(server))), server...)
	return l.add(now, kindAnswer, append(b, message[:min(len(message), keepMessage)]...), limit)
}

func answerText(rd *reader, r *record, b []byte, _ *Event) string {
	if len(b) < 2 || len(b) < 2+int(b[1]) {
		return "RADIUS: an answer"
	}
	text := "RADIUS: " + verdictNames[min(int(b[0]), len(verdictNames)-1)]
	server, message := b[2:2+b[1]], b[2+b[1]:]
	if len(server) > 0 {
		text += " from " + string(server)
	}
	if rd.asked != 0 && r.at >= rd.asked {
		text += fmt.Sprintf(" in %d ms", r.at-rd.asked)
	}
	if len(message) > 0 {
		text += " " + strconv.Quote(string(message))
	}
	return text
}

// State is how far a link is.
type State uint8

// The states worth an event.
const (
	StateLCP State = iota // LCP is being negotiated, for the first time or anew
	StateAuthenticating
	StateNetwork
	StateClosing
)

var stateTexts = [...]string{
	"LCP starts", "LCP opened; the subscriber is asked who it is", "authenticated; IPCP starts", "the link is being closed",
}

// State records that the link has come to a state, and returns the event's offset.
func (l *Log) State(now time.Duration, s State, limit int) int {
	return l.add(now, kindState, []byte{byte(s)}, limit)
}

func stateText(_ *reader, _ *record, b []byte, e *Event) string {
	if len(b) == 0 {
		return "state"
	}
	e.Source = SourcePPP
	return stateTexts[min(int(b[0]), len(stateTexts)-1)]
}

// Up records that IPCP opened with the subscriber's address, and returns the event's offset.
func (l *Log) Up(now time.Duration, address netip.Addr, limit int) int {
	if !l.On() {
		return 0
	}
	var buf [24]byte
	b := buf[:0]
	switch {
	case address.Is4():
		a := address.As4()
		b = append(b, a[:]...)
	case address.IsValid():
		a := address.As16()
		b = append(b, a[:]...)
	}
	return l.add(now, kindUp, b, limit)
}

func upText(_ *reader, _ *record, b []byte, e *Event) string {
	e.Source = SourcePPP
	if a, ok := netip.AddrFromSlice(b); ok {
		return "IPCP opened " + a.String()
	}
	return "IPCP opened"
}

// Recovered records that a session goes on which came up at since: after a restart of the node, or,
// adopted, because the node that had it is gone. It is the first event of such a log, since logs
// do not outlive the process. It returns the event's offset.
func (l *Log) Recovered(now time.Duration, since time.Time, adopted bool, limit int) int {
	if !l.On() {
		return 0
	}
	var buf [9]byte
	if adopted {
		buf[0] = 1
	}
	binary.BigEndian.PutUint64(buf[1:], uint64(since.Unix()))
	return l.add(now, kindRecovered, buf[:], limit)
}

func recoveredText(_ *reader, _ *record, b []byte, _ *Event) string {
	text := "recovered after a restart of this LNS"
	if len(b) == 9 && b[0] == 1 {
		text = "taken over from another node"
	}
	if len(b) == 9 {
		text += "; the session is up since " + time.Unix(int64(binary.BigEndian.Uint64(b[1:])), 0).UTC().Format(time.RFC3339)
	}
	return text + ", and what it did before is not remembered"
}

// End records why a session ended: the cause, and what is known besides. It
// returns the event's offset.
func (l *Log) End(now time.Duration, cause, detail string, limit int) int {
	if !l.On() {
		return 0
	}
	var buf [maxBody]byte
	b := append(append(buf[:0], byte(len(cause))), cause...)
	return l.add(now, kindEnd, append(b, detail[:min(len(detail), maxBody-len(b))]...), limit)
}

func endText(_ *reader, _ *record, b []byte, _ *Event) string {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return "cause unknown"
	}
	text := "cause " + string(b[1:1+b[0]])
	if detail := b[1+b[0]:]; len(detail) > 0 {
		text += ": " + printable(detail)
	}
	return text
}

// printable is text as it is, and quoted where it has what is not to be shown as it is.
func printable(b []byte) string {
	s := string(b)
	for _, r := range s {
		if r == '\uFFFD' || !strconv.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}

// Note records any other event in words, cut to some 120 octets, and returns its offset.
func (l *Log) Note(now time.Duration, source Source, text string, limit int) int {
	return l.note(now, source, text, limit, false)
}

// NoteRepeated is Note for what may come very often in the same words: it is counted.
func (l *Log) NoteRepeated(now time.Duration, source Source, text string, limit int) int {
	return l.note(now, source, text, limit, true)
}

func (l *Log) note(now time.Duration, source Source, text string, limit int, many bool) int {
	if !l.On() {
		return 0
	}
	var buf [maxBody]byte
	b := append(buf[:0], byte(source))
	b = append(b, text[:min(len(text), maxBody-repeatLen-1)]...)
	if many {
		return l.addRepeated(now, kindNoteMany, b, limit)
	}
	return l.add(now, kindNote, b, limit)
}

func noteText(_ *reader, _ *record, b []byte, e *Event) string {
	if len(b) == 0 {
		return ""
	}
	e.Source = Source(b[0])
	return printable(b[1:])
}
