package radius

import (
	"errors"
	"time"

	"culvert/aaa"

	"layeh.com/radius"
)

// exchange is one request on its way to an answer, from one server after another.
type exchange struct {
	// Immutable. For authentication req and doneAuth are set, for
	// accounting usage and doneAcct, for a probe none of them.
	req      *aaa.Request
	usage    *aaa.Usage
	doneAuth func(*aaa.Grant, error)
	doneAcct func(error)

	// Owned by whoever has the exchange in hand: the client between two
	// servers, else the server.
	tried uint64 // servers of the group that had it, as bits
	last  error  // why the last server did not answer
	trial bool   // it tests a dead server, with one transmission

	// Guarded by the server's mu.
	due    time.Time // when to send again, or to give up waiting in the queue
	first  time.Time // first transmission to this server
	sent   int       // transmissions to this server
	timer  int       // index in the server's timers; -1 when not there
	slots  []slotID  // identifiers it holds, the latest last
	finish bool      // answered or given up

	// Owned by the server's sending goroutine.
	packet []byte
	delay  uint32 // Acct-Delay-Time in packet
}

// probe says whether it is a Status-Server.
func (x *exchange) probe() bool { return x.req == nil && x.usage == nil }

// user is for logs and errors.
func (x *exchange) user() string {
	switch {
	case x.req != nil:
		return x.req.Identity.User
	case x.usage != nil:
		return x.usage.Identity.User
	}
	return ""
}

// fail tells the caller that no answer will come.
func (x *exchange) fail(err error) {
	switch {
	case x.doneAuth != nil:
		x.doneAuth(nil, err)
	case x.doneAcct != nil:
		x.doneAcct(err)
	}
}

// answer gives a genuine answer to the caller.
func (x *exchange) answer(s *server, packet []byte) {
	code := radius.Code(packet[0])
	switch {
	case x.doneAcct != nil:
		x.doneAcct(nil)
	case x.doneAuth == nil:
	case code == radius.CodeAccessAccept:
		grant, err := decodeAccept(packet[headerLen:], x.req.Method)
		if err != nil {
			err = s.malformed(x, err)
		} else {
			grant.Server = s.cfg.Name
		}
		x.doneAuth(grant, err)
	case code == radius.CodeAccessChallenge && x.req.Method == aaa.MethodEAP:
		x.challenge(s, packet)
	default:
		reject := decodeReject(packet[headerLen:], code)
		reject.Server = s.cfg.Name
		x.doneAuth(nil, reject)
	}
}

// challenge gives an Access-Challenge to the caller.
func (x *exchange) challenge(s *server, packet []byte) {
	c, err := decodeChallenge(packet[headerLen:], s.index)
	var reject *aaa.RejectError
	switch {
	case err == nil:
		c.Server = s.cfg.Name
		x.doneAuth(nil, c)
	case errors.As(err, &reject):
		reject.Server = s.cfg.Name
		x.doneAuth(nil, reject)
	default:
		x.doneAuth(nil, s.malformed(x, err))
	}
}

// timers is a heap of exchanges by due.
type timers []*exchange

func (h *timers) push(x *exchange) {
	x.timer = len(*h)
	*h = append(*h, x)
	h.up(x.timer)
}

func (h *timers) remove(x *exchange) {
	i := x.timer
	if i < 0 {
		return
	}
	last := len(*h) - 1
	if i != last {
		h.swap(i, last)
	}
	(*h)[last] = nil
	*h = (*h)[:last]
	x.timer = -1
	if i != last {
		h.down(i)
		h.up(i)
	}
}

func (h timers) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].timer, h[j].timer = i, j
}

func (h timers) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h[i].due.Before(h[parent].due) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h timers) down(i int) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(h); c++ {
			if h[c].due.Before(h[least].due) {
				least = c
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}

// fifo is a queue of exchanges.
type fifo struct {
	items []*exchange
	head  int
}

func (q *fifo) len() int { return len(q.items) - q.head }

func (q *fifo) push(x *exchange) { q.items = append(q.items, x) }

func (q *fifo) peek() *exchange { return q.items[q.head] }

func (q *fifo) pop() *exchange {
	x := q.items[q.head]
	q.items[q.head] = nil
	q.head++
	if q.head > 64 && q.head*2 > len(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	return x
}
