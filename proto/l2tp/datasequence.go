package l2tp

// resyncAfter is how many late numbers in a row, each one more than the one
// before, mean that the peer has begun to count anew: after a failover of its own,
// say. Until then what is late is a duplicate or has been overtaken.
const resyncAfter = 16

// DataSequence judges the Ns of the data messages that come in for one session
// (RFC 2661 section 5.4). Data messages are never sent again, so a number that is
// missing is waited for by nobody but a reorder queue, which asks Ahead and
// calls Take when it gives a message on; who has none asks Accept. The zero value
// takes the first number that comes as the one that is due, for
// sequencing may begin at any time. It belongs to one goroutine.
type DataSequence struct {
	next  uint16 // due next
	last  uint16 // the latest that was late
	run   uint8  // how many in a row were late, each one more than the one before
	begun bool
}

// Ahead says how many numbers are missing before ns: 0 when it is the one that is
// due. Less than 0 is a duplicate, or late: its turn is over.
func (q *DataSequence) Ahead(ns uint16) int {
	if !q.begun {
		q.begun, q.next = true, ns
	}
	ahead := int(int16(ns - q.next))
	if ahead >= 0 {
		q.run = 0
		return ahead
	}
	if q.run > 0 && ns == q.last+1 {
		q.run++
	} else {
		q.run = 1
	}
	q.last = ns
	if q.run < resyncAfter {
		return ahead
	}
	q.run, q.next = 0, ns
	return 0
}

// Take says that everything up to and with ns has had its turn.
func (q *DataSequence) Take(ns uint16) { q.next = ns + 1 }

// Next is the number that is due.
func (q *DataSequence) Next() uint16 { return q.next }

// Accept is for who keeps no reorder queue: ok is false for a message to be
// dropped, a duplicate or a late one; missing is how many are given up before one
// that is good.
func (q *DataSequence) Accept(ns uint16) (missing int, ok bool) {
	ahead := q.Ahead(ns)
	if ahead < 0 {
		return 0, false
	}
	q.Take(ns)
	return ahead, true
}
