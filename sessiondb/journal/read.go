package journal

import (
	"context"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"culvert/sessiondb"
)

// Tunnels implements sessiondb.Store.
func (j *Journal) Tunnels(ctx context.Context) iter.Seq2[sessiondb.Tunnel, error] {
	return read(ctx, j, []byte{prefixTunnel}, tunnelOf)
}

// Sessions implements sessiondb.Store.
func (j *Journal) Sessions(ctx context.Context) iter.Seq2[sessiondb.Session, error] {
	return read(ctx, j, []byte{prefixSession}, sessionOf)
}

// Entries implements sessiondb.Store.
func (j *Journal) Entries(ctx context.Context) iter.Seq2[sessiondb.Entry, error] {
	return read(ctx, j, []byte{prefixEntry}, entryOf)
}

// Objects implements sessiondb.Store.
func (j *Journal) Objects(ctx context.Context, kind string) iter.Seq2[sessiondb.Object, error] {
	return read(ctx, j, objectsOf(kind), objectOf)
}

// Calls implements sessiondb.Journal.
func (j *Journal) Calls(ctx context.Context) iter.Seq2[sessiondb.Call, error] {
	return read(ctx, j, []byte{prefixCall}, callOf)
}

// tunnelOf, sessionOf, callOf, entryOf and objectOf decode a record and its key, which
// is without its first octet.
func tunnelOf(key, value []byte) (t sessiondb.Tunnel, err error) {
	k, rest, err := parseTunnelKey(key)
	if err == nil && len(rest) > 0 {
		err = badKey(key)
	}
	if err != nil {
		return t, err
	}
	t.Key = k
	return t, decodeTunnel(value, &t)
}

func sessionOf(key, value []byte) (s sessiondb.Session, err error) {
	if s.Key, err = parseSessionKey(key); err != nil {
		return s, err
	}
	return s, decodeSession(value, &s)
}

func callOf(key, value []byte) (c sessiondb.Call, err error) {
	if c.Key, err = parseSessionKey(key); err != nil {
		return c, err
	}
	return c, decodeCall(value, &c)
}

func entryOf(key, value []byte) (e sessiondb.Entry, err error) {
	if e.Seq, err = parseEntryKey(key); err != nil {
		return e, err
	}
	return e, decodeEntry(value, &e)
}

func objectOf(key, value []byte) (o sessiondb.Object, err error) {
	if o.Kind, o.Name, err = parseObjectKey(key); err != nil {
		return o, err
	}
	return o, decodeObject(value, &o)
}

// objectsOf is the prefix of the keys of a kind's objects, of all for an empty kind.
func objectsOf(kind string) []byte {
	prefix := []byte{prefixObject}
	if kind != "" {
		prefix = appendObjectKey(prefix, kind, "")
	}
	return prefix
}

// read yields what decode makes of the records whose keys begin with prefix,
// as they are when the iteration begins. decode is given the key without its
// first byte.
func read[T any](ctx context.Context, j *Journal, prefix []byte, decode func(key, value []byte) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		if err := j.enter(); err != nil {
			yield(none, err)
			return
		}
		defer j.leave()
		it, err := j.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
		if err != nil {
			yield(none, unreadable(j.dir, err))
			return
		}
		defer it.Close()
		for valid := it.First(); valid; valid = it.Next() {
			record, err := decodeAt(it, decode)
			if err == nil {
				err = ctx.Err()
			} else {
				err = unreadable(j.dir, err)
			}
			if !yield(record, err) || err != nil {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield(none, unreadable(j.dir, err))
		}
	}
}

func decodeAt[T any](it *pebble.Iterator, decode func(key, value []byte) (T, error)) (T, error) {
	value, err := it.ValueAndErr()
	if err != nil {
		var none T
		return none, err
	}
	record, err := decode(it.Key()[1:], value)
	if err != nil {
		return record, fmt.Errorf("record %x: %w", it.Key(), err)
	}
	return record, nil
}

// after gives the least key above all that begin with prefix, whose last byte
// is never 255.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	end[len(end)-1]++
	return end
}
