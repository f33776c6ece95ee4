package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"culvert/sessiondb/postgres/pgtest"
)

// slowly is a trigger that has the transaction of a move take its time when it changes the owner of an address.
const slowly = `
create function slowly() returns trigger language plpgsql as $$ begin perform pg_sleep(%s); return new; end $$;
create trigger slowly before update of owner on service_addresses for each row execute function slowly()`

// TestMoveLongerThanALease moves an address by a transaction that takes two leases, in which no renewal comes through, and has what is on
// it take two more to be read: the old node forwards all the while, no packet is lost, and every octet is accounted.
func TestMoveLongerThanALease(t *testing.T) {
	l := newLab(t, pgtest.Start(t), "")
	l.dial()
	before := l.all("a", "b")
	l.speaks("a", "b")
	held := l.holdUp(2 * lease)
	began := time.Now()
	out, err := l.nodes["a"].ctl("node", "drain", "--to", "b")
	must(t, err)
	took := time.Since(began)
	t.Logf("%s in %v, with a lease of %v", out, took.Round(time.Millisecond), lease)
	must(t, <-held)
	if took < 4*lease {
		t.Errorf("the move took %v only", took)
	}
	l.owns("b", "b")
	time.Sleep(2 * time.Second) // more packets
	turns, gap := l.watch.turns(l.service[0], began)
	if turns != "a b" {
		t.Errorf("in turn, %q sent from %v", turns, l.service[0])
	}
	t.Logf("no packet for %v; before, %v at most from a", gap.Round(time.Millisecond), l.watch.pause("a", l.service[0], began).Round(time.Millisecond))
	if gap > lease {
		t.Errorf("no packet for %v: longer than a lease", gap)
	}
	if n := l.watch.both(l.service[0], "a", "b", began); n > 0 {
		t.Errorf("a sent %d packets after b had begun to", n)
	}
	l.same(before, "b")
	l.tables("a", "b")
	r := l.hangUp()
	if r.Lost > 0 {
		t.Errorf("%d packets were lost by moving", r.Lost)
	}
	l.octets(r, 0)
}

// holdUp has the next move's transaction take a time, and whoever reads what has moved wait for as long again. What it gives has an error or
// nil when that is over.
func (l *lab) holdUp(d time.Duration) <-chan error {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	c, err := pgx.Connect(ctx, l.dbURL)
	must(l.t, err)
	_, err = c.Exec(ctx, fmt.Sprintf(slowly, fmt.Sprint(d.Seconds())))
	must(l.t, err)
	held := make(chan error, 1)
	go func() {
		defer cancel()
		defer c.Close(ctx)
		held <- func() error {
			for n := 0; n == 0; time.Sleep(20 * time.Millisecond) {
				if err := c.QueryRow(ctx, "select count(*) from pg_stat_activity where wait_event = 'PgSleep'").Scan(&n); err != nil {
					return err
				}
			}
			// It waits for the move's commit, and whoever reads afterwards waits for it.
			return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, "lock table sessions in access exclusive mode"); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, "select pg_sleep($1)", d.Seconds())
				return err
			})
		}()
	}()
	return held
}
