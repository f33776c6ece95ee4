package pgtest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func ping(s *Server, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c, err := pgx.Connect(ctx, s.ConnString("postgres"))
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	return c.Ping(ctx)
}

// TestServer breaks a server in every way and repairs it.
func TestServer(t *testing.T) {
	s := Start(t, "fsync=off")
	if err := ping(s, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	s.Stall()
	if ping(s, 200*time.Millisecond) == nil {
		t.Error("a stalled server answers")
	}
	s.Resume()
	if err := ping(s, 5*time.Second); err != nil {
		t.Errorf("after Resume: %v", err)
	}
	for name, end := range map[string]func(){"Stop": s.Stop, "Kill": s.Kill} {
		end()
		if ping(s, time.Second) == nil {
			t.Errorf("the server answers after %s", name)
		}
		if err := s.Restart(); err != nil {
			t.Fatalf("after %s: %v", name, err)
		}
	}
}
