package main

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

// maxLogWaiting is how many octets of log lines wait for their reader at most.
const maxLogWaiting = 4 << 20

// maxLogClosing is how long the end of the process waits for a reader that stalls.
const maxLogClosing = 2 * time.Second

// logWriter writes lines in the order in which they come, from a goroutine of
// its own: a reader that stalls (journald, a full pipe, a slow terminal) must
// not stall the shards that log, and lines of one moment leave in one system call. What
// comes while maxLogWaiting octets wait is lost, and a line says how much that was.
// A process that is killed takes with it what its writer was just about to write.
type logWriter struct {
	// Immutable.
	out   io.Writer
	lines func(lost int) []byte // makes the line that tells of lost ones
	wake  chan struct{}
	ended chan struct{}

	mu      sync.Mutex
	waiting []byte
	lost    int
	closed  bool
}

// newLogWriter begins to write to out. Close ends it.
func newLogWriter(out io.Writer, lines func(lost int) []byte) *logWriter {
	w := &logWriter{out: out, lines: lines, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go w.run()
	return w
}

// Write takes one line. It never fails and never waits; after Close it writes itself.
func (w *logWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return w.out.Write(line)
	case len(w.waiting)+len(line) > maxLogWaiting:
		w.lost++
	default:
		w.waiting = append(w.waiting, line...)
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return len(line), nil
}

// Close writes what waits, unless its reader has stalled for good.
func (w *logWriter) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	close(w.wake)
	w.mu.Unlock()
	select {
	case <-w.ended:
	case <-time.After(maxLogClosing):
	}
	return nil
}

// run writes until Close.
func (w *logWriter) run() {
	defer close(w.ended)
	var spare []byte
	for range w.wake {
		spare = w.drain(spare)
	}
	w.drain(spare)
}

// drain writes all that waits, into spare what comes meanwhile. Nobody can be
// told of an error: this is the log.
func (w *logWriter) drain(spare []byte) []byte {
	for {
		w.mu.Lock()
		batch, lost := w.waiting, w.lost
		w.waiting, w.lost = spare[:0], 0
		w.mu.Unlock()
		if len(batch) == 0 && lost == 0 {
			return batch
		}
		_, _ = w.out.Write(batch)
		if lost > 0 {
			_, _ = w.out.Write(w.lines(lost))
		}
		if spare = batch; cap(spare) > maxLogWaiting/8 {
			spare = nil // after a stall
		}
	}
}

// lostLines formats the line for lost ones as the log's other lines are.
func lostLines(c *logSection) func(lost int) []byte {
	return func(lost int) []byte {
		var b bytes.Buffer
		newLogger(c, &b).Error(fmt.Sprintf("log: lines are lost, since their reader has stalled with %d MiB waiting", maxLogWaiting>>20), "lost", lost)
		return b.Bytes()
	}
}
