package main

import (
	"context"
	"time"

	"culvert/lns"
	"culvert/sessiondb/postgres"
)

// eventBatch bounds the events that are written in one piece, eventEvery how long one waits for others.
const (
	eventBatch = 1000
	eventEvery = time.Second
)

// recordEvents writes what happens to the database's table events. What the
// database does not take is left out, and what comes too fast as well: the
// session history and accounting are what must be complete.
func (d *daemon) recordEvents(ctx context.Context) {
	var batch []postgres.Event
	var store *postgres.Store
	tick := time.NewTicker(eventEvery)
	defer tick.Stop()
	defer func() {
		if store != nil {
			go store.Close() // may wait for a dead server
		}
	}()
	events := d.server.Watch(ctx)
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return
			}
			if len(batch) < eventBatch {
				batch = append(batch, eventOf(&e))
			}
			continue
		case <-tick.C:
		}
		if len(batch) == 0 {
			continue
		}
		if store == nil {
			store = d.openForEvents(ctx)
		}
		if store != nil {
			c, cancel := context.WithTimeout(ctx, 2*time.Second)
			if err := store.RecordEvents(c, batch); err != nil {
				d.log.Debug("database: events are left out", "events", len(batch), "err", err)
			}
			cancel()
		}
		batch = batch[:0]
	}
}

func (d *daemon) openForEvents(ctx context.Context) *postgres.Store {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	cfg := d.postgres()
	cfg.MaxConns = 1
	s, err := postgres.Open(ctx, cfg)
	if err != nil {
		return nil // the writer complains
	}
	return s
}

func eventOf(e *lns.Event) postgres.Event {
	s := &e.Session
	return postgres.Event{At: e.At, Kind: string(e.Kind), User: s.User, Cause: e.Cause, Detail: e.Detail,
		Local: s.Local, Tunnel: s.Tunnel, Session: s.Session}
}
