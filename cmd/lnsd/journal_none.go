//go:build nojournal

package main

import (
	"context"
	"iter"
	"log/slog"
	"time"

	"culvert/sessiondb"
)

// openJournal keeps nothing: the program is built so to measure what the journal costs.
func openJournal(_, _ string, log *slog.Logger) (sessiondb.Journal, error) {
	log.Warn("this lnsd was built without a journal, for measurements: nothing survives it")
	return noJournal{}, nil
}

type noJournal struct{}

func (noJournal) Apply(context.Context, []sessiondb.Change) error { return nil }
func (noJournal) Close() error                                    { return nil }
func (noJournal) Epoch() uint32                                   { return uint32(time.Now().Unix()) }

func none[T any](func(T, error) bool) {}

func (noJournal) Tunnels(context.Context) iter.Seq2[sessiondb.Tunnel, error] {
	return none[sessiondb.Tunnel]
}

func (noJournal) Sessions(context.Context) iter.Seq2[sessiondb.Session, error] {
	return none[sessiondb.Session]
}

func (noJournal) Calls(context.Context) iter.Seq2[sessiondb.Call, error] {
	return none[sessiondb.Call]
}

func (noJournal) Entries(context.Context) iter.Seq2[sessiondb.Entry, error] {
	return none[sessiondb.Entry]
}

func (noJournal) Objects(context.Context, string) iter.Seq2[sessiondb.Object, error] {
	return none[sessiondb.Object]
}
