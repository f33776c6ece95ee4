package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// Lines of many goroutines arrive whole, each goroutine's in order, all before Close returns.
func TestLogWriterKeepsLines(t *testing.T) {
	var out bytes.Buffer
	w := newLogWriter(&out, func(int) []byte { t.Error("a line was lost"); return nil })
	log := slog.New(slog.NewJSONHandler(w, nil))
	const writers, lines = 4, 500
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for n := range lines {
				log.Info("line", "writer", i, "n", n)
			}
		})
	}
	all.Wait()
	w.Close()
	log.Info("line", "writer", 0, "n", lines) // after Close
	var next [writers]int
	d := json.NewDecoder(&out)
	for {
		var l struct{ Writer, N int }
		if err := d.Decode(&l); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if l.N != next[l.Writer] {
			t.Fatalf("writer %d: line %d, want %d", l.Writer, l.N, next[l.Writer])
		}
		next[l.Writer]++
	}
	if next != [writers]int{lines + 1, lines, lines, lines} {
		t.Fatalf("lines: %v", next)
	}
}

// stalled is a reader of the log that takes nothing until it is freed.
type stalled struct {
	free chan struct{}
	mu   sync.Mutex
	got  bytes.Buffer
}

func (s *stalled) Write(b []byte) (int, error) {
	<-s.free
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.Write(b)
}

// A reader that stalls delays nobody, and hears afterwards what it has missed.
func TestLogWriterReaderStalls(t *testing.T) {
	out := &stalled{free: make(chan struct{})}
	w := newLogWriter(out, lostLines(&logSection{Level: "info", Format: "text"}))
	line := []byte(strings.Repeat("x", 1023) + "\n")
	for range 2*maxLogWaiting/len(line) + 1 {
		if n, err := w.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	close(out.free)
	w.Close()
	got := out.got.String()
	if n := strings.Count(got, string(line)); n < maxLogWaiting/len(line) || n > 2*maxLogWaiting/len(line) {
		t.Errorf("%d lines arrived", n)
	}
	if !strings.Contains(got, "level=ERROR msg=\"log: lines are lost") || !strings.Contains(got, "lost=") {
		t.Errorf("nothing tells of the lost lines: %q", got[len(got)-min(len(got), 300):])
	}
}

// The process can end though the reader of its log never reads again.
func TestLogWriterCloseIsBounded(t *testing.T) {
	out := &stalled{free: make(chan struct{})}
	defer close(out.free)
	w := newLogWriter(out, lostLines(&logSection{Level: "info", Format: "json"}))
	_, _ = w.Write([]byte("line\n"))
	done := make(chan struct{})
	go func() { w.Close(); close(done) }()
	select {
	case <-done:
	case <-time.After(maxLogClosing + 20*time.Second):
		t.Fatal("Close waits for ever")
	}
}
