package main

import (
	"context"
	"sync"
	"time"

	"culvert/sessiondb"
	"culvert/sessiondb/postgres"
)

// historyEvery is how often the database's session history is trimmed.
const historyEvery = 6 * time.Hour

// confirmInterval is how long a change waits for others with durability:
// cluster, where somebody waits for it in turn.
const confirmInterval = 3 * time.Millisecond

// confirms tells whether new state waits for the database.
func (d *daemon) confirms() bool { return d.set.file.Database.Durability == "cluster" }

func (d *daemon) startStores() error {
	j, err := openJournal(d.set.file.Journal.Dir, d.set.node, d.log)
	if err != nil {
		return err
	}
	d.journal = j
	d.onAbort(func() { d.closing("journal", j.Close()) })
	if d.set.database == "" {
		return nil
	}
	opts := sessiondb.WriterOptions{Log: d.log}
	if d.confirms() {
		opts.Interval = confirmInterval
	}
	if d.set.cluster != nil {
		opts.Serves = d.serves
	}
	d.writer = sessiondb.NewWriter(d.openDatabase, j, opts)
	d.writer.Start()
	d.onAbort(func() { d.closing("database", within(d.patience(databaseEnd), d.writer.Close)) })
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { d.maintain(ctx) })
	d.onAbort(func() { cancel(); done.Wait() })
	return nil
}

// maintain keeps the session history to what the configuration wants kept. A
// database that is away is asked again the next time.
func (d *daemon) maintain(ctx context.Context) {
	every := time.NewTicker(historyEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		if err := d.maintainOnce(ctx); err != nil && ctx.Err() == nil {
			d.log.Warn("database: the session history could not be trimmed", "err", err)
		}
	}
}

func (d *daemon) maintainOnce(ctx context.Context) error {
	s, err := postgres.Open(ctx, d.postgres())
	if err != nil {
		return err
	}
	defer s.Close()
	return s.MaintainHistory(ctx, time.Duration(d.set.file.Database.History))
}

// openDatabase connects; a database that is away is tried again by the
// writer, and the node serves meanwhile.
func (d *daemon) openDatabase(ctx context.Context) (sessiondb.Store, error) {
	if d.set.file.Database.Migrate {
		if err := postgres.Migrate(ctx, d.set.database); err != nil {
			return nil, err
		}
	}
	return postgres.Open(ctx, d.postgres())
}

func (d *daemon) postgres() postgres.Config {
	cfg := postgres.Config{ConnString: d.set.database, Node: d.set.node, MaxConns: d.set.file.Database.MaxConns}
	if d.set.cluster != nil {
		cfg.Fenced = true
		cfg.SilenceTimeout = min(d.set.cluster.Lease/2, 5*time.Second)
	}
	return cfg
}

// store is the journal, with the database behind it where there is one.
func (d *daemon) store() sessiondb.Store {
	if d.writer == nil {
		return d.journal
	}
	return tee{d.journal, d.writer}
}

// tee passes on to the database what is applied to the journal.
type tee struct {
	sessiondb.Store
	sink sessiondb.Sink
}

func (t tee) Apply(ctx context.Context, changes []sessiondb.Change) error {
	if err := t.Store.Apply(ctx, changes); err != nil {
		return err
	}
	t.sink.Submit(changes)
	return nil
}
