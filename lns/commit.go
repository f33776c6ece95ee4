package lns

import (
	"context"
	"errors"
	"slices"
	"time"

	"culvert/sessiondb"
)

// The journal is tried again every retryUnkept with what it has refused, of
// which at most maxUnkept changes are held.
const (
	retryUnkept = time.Second
	maxUnkept   = 1 << 17
)

// commit journals the step's changes. A journal that fails (a full disk) does
// not stop the service: established sessions matter more than their records,
// and the failure is logged and counted for the operator to act on.
func (sh *shard) commit() {
	if len(sh.changes) == 0 && len(sh.unkept) == 0 {
		return
	}
	if len(sh.unkept) == 0 || sh.now >= sh.retryAt {
		sh.keep()
	} else {
		sh.putOff()
	}
	// Before the ledger, which drops a record's entry once it is acknowledged:
	// the sink must not see the drop first.
	if sh.srv.cfg.Sink != nil && len(sh.changes) > 0 {
		sh.srv.cfg.Sink.Submit(sh.changes)
	}
	if len(sh.usages) > 0 {
		sh.srv.cfg.Ledger.Submit(sh.usages)
		clear(sh.usages)
		sh.usages = sh.usages[:0]
	}
	clear(sh.changes)
	sh.changes = sh.changes[:0]
}

// keep gives the journal what it has refused before, then the step's changes.
func (sh *shard) keep() {
	late := len(sh.unkept)
	list := sh.changes
	if late > 0 {
		list = slices.Concat(sh.unkept, sh.changes)
	}
	err := sh.srv.cfg.Journal.Apply(context.Background(), list)
	if errors.Is(err, sessiondb.ErrInvalid) {
		// It would be refused for ever, and with it all that comes after.
		list = slices.DeleteFunc(slices.Clone(list), func(c sessiondb.Change) bool { return c.Validate() != nil })
		sh.stats.journalErrors++
		sh.log.Error("journal: a change that no store can take is given up", "err", err)
		err = sh.srv.cfg.Journal.Apply(context.Background(), list)
	}
	if err == nil {
		if late > 0 {
			sh.log.Info("journal: state of this node is being kept again", "changes", late)
		}
		sh.unkept = nil
		return
	}
	sh.stats.journalErrors++
	sh.log.Error("journal: state of this node is not being kept; look at its disk", "err", err, "changes", len(list))
	sh.retryAt = sh.now + retryUnkept
	sh.putOff()
}

// putOff holds the step's changes until the journal is tried again. When there
// are too many the later ones are lost to the journal: what it has is wrong then until
// those sessions end, and the log says so.
func (sh *shard) putOff() {
	n := min(len(sh.changes), maxUnkept-len(sh.unkept))
	sh.unkept = append(sh.unkept, sh.changes[:n]...)
	if lost := len(sh.changes) - n; lost > 0 {
		sh.stats.journalErrors++
		sh.log.Error("journal: changes are lost, since too many wait for the disk", "lost", lost)
	}
}
