package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/ops"
	"culvert/ops/opstest"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	time.Local = time.UTC
	for _, name := range []string{"CULVERT_ADDRESS", "CULVERT_TLS_CA", "CULVERT_TLS_CERT", "CULVERT_TLS_KEY", "CULVERT_TLS_NAME"} {
		os.Unsetenv(name)
	}
	version = "1.2.3"
	os.Exit(m.Run())
}

// shutdowns are what nodes were asked to do.
var shutdowns asked

type asked struct{ drops []bool }

func (a *asked) note(drop bool) { a.drops = append(a.drops, drop) }

// serve serves a node on a unix socket and gives its address.
func serve(t *testing.T, node ops.Node) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	s, err := ops.New(ops.Config{Socket: path, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Shutdown: shutdowns.note}, node)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "unix://" + path
}

// result is what one run of lnsctl printed.
type result struct {
	code     int
	out, err string
}

// asker is a lnsctl with a terminal, at which somebody types input.
func asker(input string) func(*app) {
	return func(a *app) { a.in, a.terminal = strings.NewReader(input), true }
}

// lnsctl runs a command line two and a half hours after the sample node's beginning.
func lnsctl(t *testing.T, address string, change func(*app), args ...string) result {
	t.Helper()
	var out, errOut bytes.Buffer
	a := &app{
		ctx: t.Context(), in: strings.NewReader(""), out: &out, errOut: &errOut,
		now: func() time.Time { return opstest.Began.Add(150 * time.Minute) },
	}
	if change != nil {
		change(a)
	}
	if address != "" {
		args = append([]string{"--address", address}, args...)
	}
	code := a.run(args)
	return result{code, out.String(), errOut.String()}
}

// golden compares with testdata/NAME.txt.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if got != string(want) {
		t.Errorf("%s differs\n--- got\n%s--- want\n%s", path, got, want)
	}
}
