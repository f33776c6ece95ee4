package outbox_test

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/aaa/outbox"
	"culvert/aaa/radius"
	"culvert/aaa/radius/radtest"
	"culvert/sessiondb"
)

// counter is a journal that only counts what is in it.
type counter struct {
	sessiondb.Store
	mu   sync.Mutex
	left map[uint64]bool
}

func (c *counter) Apply(_ context.Context, changes []sessiondb.Change) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range changes {
		delete(c.left, ch.Entry.Seq)
	}
	return nil
}

func (c *counter) Entries(context.Context) iter.Seq2[sessiondb.Entry, error] {
	return func(func(sessiondb.Entry, error) bool) {}
}

// Two thousand sessions over real sockets, with a server that loses packets,
// falls silent and comes back, and a second one that is silent from the start:
// every Start and Stop arrives once, in order.
func TestExactAccountingOverRADIUS(t *testing.T) {
	srv, err := radtest.New(radtest.Config{Secret: []byte("s")})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	mute, err := radtest.New(radtest.Config{Secret: []byte("s")})
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	mute.Behave(radtest.Behaviour{Silent: true})
	srv.Behave(radtest.Behaviour{DropEvery: 10})
	server := func(s *radtest.Server) radius.Server {
		return radius.Server{Address: s.AcctAddr(), Secret: []byte("s"), Timeout: 50 * time.Millisecond, Retries: 3, DeadTime: 200 * time.Millisecond}
	}
	c, err := radius.New(radius.Config{NASIdentifier: "lns", Acct: radius.Group{Servers: []radius.Server{server(mute), server(srv)}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	st := &counter{left: map[uint64]bool{}}
	o := outbox.New(outbox.Config{RetryFirst: 20 * time.Millisecond, RetryCap: 200 * time.Millisecond}, st, c)
	const sessions = 2000
	seq := uint64(0)
	submit := func(kind aaa.UsageKind, i int) {
		seq++
		st.mu.Lock()
		st.left[seq] = true
		st.mu.Unlock()
		o.Submit([]aaa.Usage{{Seq: seq, Kind: kind, At: time.Now(), Identity: aaa.Identity{AcctSessionID: fmt.Sprint("s", i), User: "ann"}}})
	}
	for i := range sessions {
		submit(aaa.UsageStart, i)
		if i == sessions/2 {
			srv.Behave(radtest.Behaviour{Silent: true})
		}
		if i > 100 {
			submit(aaa.UsageStop, i-100)
		}
	}
	time.Sleep(300 * time.Millisecond)
	srv.Behave(radtest.Behaviour{DropEvery: 10})
	for i := range sessions {
		if i == 0 || i >= sessions-100 {
			submit(aaa.UsageStop, i)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := o.Close(ctx); err != nil {
		t.Fatalf("%v; %+v", err, srv.Counts())
	}
	n := srv.Counts()
	if n.Starts != sessions || n.Stops != sessions || n.Open != 0 || n.StopsWithoutStart != 0 || n.RecordsAfterStop != 0 {
		t.Errorf("counts %+v", n)
	}
	if len(st.left) != 0 {
		t.Errorf("%d entries left in the journal", len(st.left))
	}
}
