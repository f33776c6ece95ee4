package lns

import (
	"sync"

	"culvert/proto/l2tp"
)

// carriers are control messages that have been from one shard to another. A message is large, and each call
// needs four, so they are used again. Who takes one in must keep nothing of it but the octets that its fields point to.
var carriers = sync.Pool{New: func() any { return new(l2tp.Message) }}

// carry makes a copy of a message for another shard.
func carry(m *l2tp.Message) *l2tp.Message {
	c := carriers.Get().(*l2tp.Message)
	*c = m.Clone()
	return c
}

// arrived takes back a message that its shard has dealt with.
func arrived(m *l2tp.Message) {
	*m = l2tp.Message{}
	carriers.Put(m)
}
