package ops

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"culvert/ops/opstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quiet is a log that nobody reads.
func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// start serves cfg until the test ends.
func start(t *testing.T, cfg Config, node Node) *Server {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = quiet()
	}
	s, err := New(cfg, node)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

// socketConfig serves on a unix socket in a folder of the test's own.
func socketConfig(t *testing.T) Config {
	return Config{Socket: filepath.Join(t.TempDir(), "s")}
}

// connect gives a client of the unix socket.
func connect(t *testing.T, path string) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// serveSample serves a sample node and gives a client of it.
func serveSample(t *testing.T, sessions int) (*opstest.Node, *grpc.ClientConn) {
	t.Helper()
	node := opstest.Sample(sessions)
	cfg := socketConfig(t)
	start(t, cfg, node)
	return node, connect(t, cfg.Socket)
}

// wantStatus checks an error's code and that its message has all the words.
func wantStatus(t *testing.T, err error, code codes.Code, words ...string) {
	t.Helper()
	st, _ := status.FromError(err)
	if st.Code() != code {
		t.Errorf("got %v, want %v", err, code)
	}
	for _, w := range words {
		if !strings.Contains(st.Message(), w) {
			t.Errorf("%q does not say %q", st.Message(), w)
		}
	}
}
