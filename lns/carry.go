package lns

import (
	"sync"

	"culvert/proto/l2tp"
)

// carriers are the messages that have gone from shard to shard, to be used again: a message is large, and
// a call takes half a dozen of them.
var carriers = sync.Pool{New: func() any { return new(l2tp.Message) }}

// carry copies a message for another shard, which ends its use with arrived.
func carry(m *l2tp.Message) *l2tp.Message {
	c := carriers.Get().(*l2tp.Message)
	m.CloneTo(c)
	return c
}

// arrived takes back a message that carry made. Strings of octets taken from it live on, what points into it does not.
func arrived(m *l2tp.Message) {
	carriers.Put(m)
}
