package radtest

import (
	"hash/maphash"
	"net/netip"
	"time"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"
)

// maxEnded is how many ended sessions are remembered, to know a duplicate.
const maxEnded = 1 << 20

// ledger is the accounting that has come.
type ledger struct {
	seed     maphash.Seed
	sessions map[string]*session
	ended    []string // ring of ended sessions, the oldest at next
	next     int
	records  []Record // ring
	oldest   int
	keep     int
}

// session is what is known of one Acct-Session-Id.
type session struct {
	started, stopped bool
	last             uint64 // hash of the last interim
	in, out          uint64
}

func newLedger(keep int) ledger {
	return ledger{seed: maphash.MakeSeed(), sessions: map[string]*session{}, keep: keep}
}

func (l *ledger) add(c *Counts, p *radius.Packet, from netip.AddrPort) {
	r := Record{
		At: time.Now(), From: from, Status: uint32(rfc2866.AcctStatusType_Get(p)),
		Session: rfc2866.AcctSessionID_GetString(p), User: rfc2865.UserName_GetString(p), Packet: p,
	}
	l.record(r)
	s := l.sessions[r.Session]
	if s == nil {
		s = &session{}
		l.sessions[r.Session] = s
		c.Sessions++
	}
	in, out := octets(p)
	if r.Status != uint32(rfc2866.AcctStatusType_Value_Start) {
		c.InOctets += in - s.in
		c.OutOctets += out - s.out
		s.in, s.out = in, out
	}
	l.count(c, s, r)
}

func (l *ledger) count(c *Counts, s *session, r Record) {
	late := s.stopped
	switch rfc2866.AcctStatusType(r.Status) {
	case rfc2866.AcctStatusType_Value_Start:
		if s.started {
			c.DuplicateStarts++
			return
		}
		s.started = true
		c.Starts++
		if !s.stopped {
			c.Open++
		}
	case rfc2866.AcctStatusType_Value_InterimUpdate:
		h := l.hash(r.Packet)
		if s.last == h {
			c.DuplicateInterims++
			return
		}
		s.last = h
		c.Interims++
	case rfc2866.AcctStatusType_Value_Stop:
		if s.stopped {
			c.DuplicateStops++
			return
		}
		s.stopped = true
		c.Stops++
		if s.started {
			c.Open--
		} else {
			c.StopsWithoutStart++
		}
		l.end(r.Session)
	}
	if late {
		c.RecordsAfterStop++
	}
}

// end forgets the session that ended longest ago, when there are too many.
func (l *ledger) end(id string) {
	if len(l.ended) < maxEnded {
		l.ended = append(l.ended, id)
		return
	}
	delete(l.sessions, l.ended[l.next])
	l.ended[l.next] = id
	l.next = (l.next + 1) % maxEnded
}

// hash tells records apart by everything but Acct-Delay-Time, which differs
// when a record is sent again.
func (l *ledger) hash(p *radius.Packet) uint64 {
	var h maphash.Hash
	h.SetSeed(l.seed)
	for _, a := range p.Attributes {
		if a.Type != rfc2866.AcctDelayTime_Type {
			_ = h.WriteByte(byte(a.Type))
			_, _ = h.Write(a.Attribute)
		}
	}
	return h.Sum64()
}

func (l *ledger) record(r Record) {
	if len(l.records) < l.keep {
		l.records = append(l.records, r)
		return
	}
	l.records[l.oldest] = r
	l.oldest = (l.oldest + 1) % l.keep
}

func octets(p *radius.Packet) (in, out uint64) {
	in = uint64(rfc2869.AcctInputGigawords_Get(p))<<32 | uint64(rfc2866.AcctInputOctets_Get(p))
	out = uint64(rfc2869.AcctOutputGigawords_Get(p))<<32 | uint64(rfc2866.AcctOutputOctets_Get(p))
	return in, out
}

// Counts gives what the server has seen.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Records gives the latest accounting records, the oldest first.
func (s *Server) Records() []Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.ledger
	return append(append([]Record(nil), l.records[l.oldest:]...), l.records[:l.oldest]...)
}

// Session gives a session's records among the latest, the oldest first.
func (s *Server) Session(acctSessionID string) []Record {
	var out []Record
	for _, r := range s.Records() {
		if r.Session == acctSessionID {
			out = append(out, r)
		}
	}
	return out
}
