package journal

import (
	"encoding/binary"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"culvert/sessiondb"
)

// scratch holds a key and a value while they are copied into a batch.
type scratch struct{ key, value []byte }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func encodeChanges(b *pebble.Batch, changes []sessiondb.Change) error {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	for i := range changes {
		put := s.encode(&changes[i])
		var err error
		if put {
			err = b.Set(s.key, s.value, nil)
		} else {
			err = b.Delete(s.key, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// encode sets the key, and for a put the value, of a valid change.
func (s *scratch) encode(c *sessiondb.Change) (put bool) {
	key, value := s.key[:0], s.value[:0]
	switch c.Op {
	case sessiondb.PutTunnel, sessiondb.DropTunnel:
		key = appendTunnelKey(append(key, prefixTunnel), c.Tunnel.Key)
	case sessiondb.PutSession, sessiondb.DropSession:
		key = appendSessionKey(append(key, prefixSession), c.Session.Key)
	case sessiondb.PutCall, sessiondb.DropCall:
		key = appendSessionKey(append(key, prefixCall), c.Call.Key)
	case sessiondb.PutEntry, sessiondb.DropEntry:
		key = binary.BigEndian.AppendUint64(append(key, prefixEntry), c.Entry.Seq)
	case sessiondb.PutObject, sessiondb.DropObject:
		key = appendObjectKey(append(key, prefixObject), c.Object.Kind, c.Object.Name)
	}
	switch c.Op {
	case sessiondb.PutTunnel:
		value = appendTunnel(value, c.Tunnel)
	case sessiondb.PutSession:
		value = appendSession(value, c.Session)
	case sessiondb.PutCall:
		value = appendCall(value, c.Call)
	case sessiondb.PutEntry:
		value = appendEntry(value, c.Entry)
	case sessiondb.PutObject:
		value = appendObject(value, c.Object)
	}
	s.key, s.value = key, value
	return len(value) > 0 // a value has a version byte at least
}
