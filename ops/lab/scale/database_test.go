package scale

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"culvert/ops/lab/proc"
	"culvert/sessiondb/postgres/pgtest"
)

// database is a PostgreSQL on its defaults, with a database for one lnsd.
type database struct {
	url  string
	pid  int
	conn *pgx.Conn
}

func startDatabase(t *testing.T) *database {
	t.Helper()
	s := pgtest.Start(t)
	b, err := os.ReadFile(filepath.Join(s.Dir, "data", "postmaster.pid"))
	must(t, err)
	first, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(first)
	must(t, err)
	d := &database{url: s.NewDatabase(t), pid: pid}
	d.conn, err = pgx.Connect(t.Context(), d.url)
	must(t, err)
	t.Cleanup(func() { d.conn.Close(context.Background()) })
	return d
}

func (d *database) cpu() (time.Duration, error) { return proc.CPUTree(d.pid) }

// rows are the numbers of rows in the tables.
type rows struct{ tunnels, sessions, history, outbox int }

func (d *database) rows() (r rows, err error) {
	err = d.conn.QueryRow(context.Background(), `select (select count(*) from tunnels), (select count(*) from sessions),
		(select count(*) from session_history), (select count(*) from accounting_outbox)`).Scan(&r.tunnels, &r.sessions, &r.history, &r.outbox)
	return r, err
}

// await waits until the database has what is wanted of it and says how long that took.
func (d *database) await(limit time.Duration, s *lnsd, good func(rows) bool) (time.Duration, error) {
	began := time.Now()
	err := proc.Await(limit, 20*time.Millisecond, s.Daemon, func() error {
		r, err := d.rows()
		if err == nil && !good(r) {
			err = fmt.Errorf("the database has %+v", r)
		}
		return err
	})
	return time.Since(began), err
}

// once tells whether every session is in the history, with an id and an
// address of its own, ended by the LAC, with so many packets of 64 octets each way.
func (d *database) once(sessions, packets int) error {
	var ids, addresses, ended, counted int
	err := d.conn.QueryRow(context.Background(), `select count(distinct acct_session_id), count(distinct address),
		count(*) filter (where ended_at >= started_at and cause = 'lac-carrier-lost'),
		count(*) filter (where in_packets = $1 and out_packets = $1 and in_octets = 64 * $1 and out_octets = 64 * $1)
		from session_history`, packets).Scan(&ids, &addresses, &ended, &counted)
	if want := [4]int{sessions, sessions, sessions, sessions}; err == nil && [4]int{ids, addresses, ended, counted} != want {
		err = fmt.Errorf("session_history: %d ids, %d addresses, %d ended by the LAC, %d with %d packets each way; want %d of each",
			ids, addresses, ended, counted, packets, sessions)
	}
	return err
}
