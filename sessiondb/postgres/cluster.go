package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"culvert/sessiondb"
	"culvert/sessiondb/cluster"
)

// ErrSuperseded says that another process has joined the cluster under this
// node's name later than this one.
var ErrSuperseded = errors.New("another process has joined the cluster under this node's name")

// ErrNotOwner says that an address is not this node's.
var ErrNotOwner = errors.New("the address belongs to another node")

// Member is what a node tells of itself.
type Member struct {
	Epoch   uint64
	At      string
	Lease   time.Duration
	Version string
	Serves  []netip.AddrPort
}

// Secret is what the nodes of the cluster sign their messages with.
func (s *Store) Secret(ctx context.Context) (secret []byte, err error) {
	if err := s.pool.QueryRow(ctx, "select secret from cluster").Scan(&secret); err != nil {
		return nil, s.explain(ctx, err)
	}
	return secret, nil
}

// Renew renews the node's lease, has it join where it is no member, makes the
// addresses that it serves known, and reads the cluster's state, in one
// transaction. It waits for claims that are being made. The error is
// ErrSuperseded when the node's program has been started again since.
func (s *Store) Renew(ctx context.Context, m Member, seen uint64, draining bool) (v cluster.View, err error) {
	err = s.transaction(ctx, func(tx pgx.Tx) error {
		if err := s.join(ctx, tx, m, seen, draining); err != nil {
			return err
		}
		v, err = view(ctx, tx)
		return err
	})
	if errors.Is(err, ErrSuperseded) {
		return v, fmt.Errorf("postgres: %w", err)
	}
	if err != nil {
		return v, s.explain(ctx, err)
	}
	return v, nil
}

// join writes the node's row.
func (s *Store) join(ctx context.Context, tx pgx.Tx, m Member, seen uint64, draining bool) error {
	var epoch uint64
	var member bool
	var serves []string
	name := escape(s.node)
	err := tx.QueryRow(ctx, "select epoch, member, serves from cluster_nodes where name = $1", name).Scan(&epoch, &member, &serves)
	known := err == nil
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if known && epoch > m.Epoch {
		return fmt.Errorf("%w: it has epoch %d, this one %d", ErrSuperseded, epoch, m.Epoch)
	}
	texts := addrPorts(m.Serves)
	if !known || !same(serves, texts) {
		if err := serve(ctx, tx, m.Serves); err != nil {
			return err
		}
	}
	if known && member {
		tag, err := tx.Exec(ctx, `update cluster_nodes set epoch = $2, address = $3, seen = greatest(seen, $4), beat = beat + 1,
			draining = $5, version = $6, lease = $7, serves = $8, renewed_at = clock_timestamp() where name = $1 and epoch <= $2 and member`,
			name, int64(m.Epoch), m.At, int64(seen), draining, m.Version, m.Lease, texts)
		if err == nil && tag.RowsAffected() == 0 {
			err = errors.New("this node's row changed meanwhile") // put out, or superseded; the next renewal tells
		}
		return err
	}
	if err := lockCluster(ctx, tx); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `with c as (update cluster set members = members + 1 returning members)
		insert into cluster_nodes (name, epoch, address, member, joined, seen, beat, draining, version, lease, serves)
		select $1, $2, $3, true, c.members, $4, 1, $5, $6, $7, $8 from c
		on conflict (name) do update set epoch = excluded.epoch, address = excluded.address, member = true, joined = excluded.joined,
			seen = greatest(cluster_nodes.seen, excluded.seen), beat = cluster_nodes.beat + 1, draining = excluded.draining,
			version = excluded.version, lease = excluded.lease, serves = excluded.serves, renewed_at = clock_timestamp()`,
		name, int64(m.Epoch), m.At, int64(seen), draining, m.Version, m.Lease, texts)
	return err
}

// lockCluster is the first lock of whatever changes who is a member or who
// owns what; then come the nodes' rows, by name, and then the addresses'. Who keeps to
// that order never waits in a circle.
func lockCluster(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "select from cluster for update")
	return err
}

func same(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func addrPorts(list []netip.AddrPort) []string {
	out := make([]string, 0, len(list))
	for _, a := range list {
		out = append(out, a.String())
	}
	return out
}

// serve makes addresses known.
func serve(ctx context.Context, tx pgx.Tx, list []netip.AddrPort) error {
	var k tunnelKeys
	for _, a := range list {
		k.add(sessiondb.TunnelKey{Local: a})
	}
	_, err := tx.Exec(ctx, `insert into service_addresses (address, port) select * from unnest($1::inet[], $2::int[]) on conflict do nothing`,
		k.address, k.port)
	return err
}

// view reads the cluster's state. The lock on the addresses waits for claims
// whose outcome somebody may not know.
func view(ctx context.Context, tx pgx.Tx) (v cluster.View, err error) {
	rows, err := tx.Query(ctx, "select address, port, coalesce(owner, ''), epoch, lingers from service_addresses order by address, port for share")
	if err != nil {
		return v, err
	}
	v.Addresses, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (a cluster.Address, err error) {
		var host netip.Addr
		var port uint16
		err = row.Scan(&host, &port, &a.Owner, &a.Epoch, &a.Lingers)
		a.Local, a.Owner = netip.AddrPortFrom(host, port), unescape(a.Owner)
		return a, err
	})
	if err != nil {
		return v, err
	}
	// After the lock, so that nothing here is older than what it has waited for.
	if err := tx.QueryRow(ctx, "select members, claims from cluster").Scan(&v.Members, &v.Claims); err != nil {
		return v, err
	}
	if rows, err = tx.Query(ctx, "select name, epoch, address, member, joined, seen, beat, lease, draining, serves from cluster_nodes order by name"); err != nil {
		return v, err
	}
	v.Nodes, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (n cluster.Node, err error) {
		var serves []string
		err = row.Scan(&n.Name, &n.Epoch, &n.At, &n.Member, &n.Joined, &n.Seen, &n.Beat, &n.Lease, &n.Draining, &serves)
		n.Name = unescape(n.Name)
		for _, text := range serves {
			if a, err := netip.ParseAddrPort(text); err == nil {
				n.Serves = append(n.Serves, a)
			}
		}
		return n, err
	})
	return v, err
}

// ownSQL gives an address to a node, with all that is on it.
const ownSQL = `
with taken as (
	update service_addresses set owner = $1, epoch = epoch + 1, lingers = $6, since = now() where address = $2 and port = $3 returning 1),
	t as (update tunnels set node = $1 where local_address = $2 and local_port = $3),
	s as (update sessions set node = $1 where local_address = $2 and local_port = $3),
	e as (insert into events (at, node, kind, local, detail) values (now(), $1, $4, $2, $5))
update cluster set claims = claims + 1 where exists (select from taken)`

// ownTime is how long that may take: with 200,000 sessions on an address it is longer than any other statement. The caller's ctx may be shorter.
const ownTime = 30 * time.Second

// own gives an address to a node, kind and detail being those of the event.
func own(ctx context.Context, tx pgx.Tx, node string, local netip.AddrPort, kind, detail string, lingers time.Duration) error {
	if _, err := tx.Exec(ctx, fmt.Sprint("set local statement_timeout = ", ownTime.Milliseconds())); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, ownSQL, escape(node), local.Addr(), int32(local.Port()), kind, detail, lingers)
	return err
}

// Claim takes an address with its tunnels and sessions, and where it is taken
// from another node, provided that this one has not renewed its lease since.
// Won and Lost are certain; with Unknown the error says why it is not known,
// and a later Renew settles it.
func (s *Store) Claim(ctx context.Context, epoch uint64, c cluster.Claim) (cluster.Result, error) {
	result := cluster.Lost
	began, err := s.attempt(ctx, func(tx pgx.Tx) error {
		ok, err := s.mayClaim(ctx, tx, epoch, c)
		if err != nil || !ok {
			return err
		}
		detail := "it was nobody's"
		if c.From != "" {
			detail = "from " + escape(c.From) + ", which is silent"
		}
		result = cluster.Won
		return own(ctx, tx, s.node, c.Local, "address-claimed", detail, 0)
	})
	if err == nil {
		return result, nil
	}
	if !began {
		return cluster.Lost, err
	}
	return cluster.Unknown, err
}

// mayClaim locks the rows that a claim is about and looks whether they are as it says.
func (s *Store) mayClaim(ctx context.Context, tx pgx.Tx, epoch uint64, c cluster.Claim) (bool, error) {
	if err := lockCluster(ctx, tx); err != nil {
		return false, err
	}
	var ok bool
	_, err := tx.Exec(ctx, "select from cluster_nodes where name in ($1, $2) order by name for update", escape(s.node), escape(c.From))
	if err != nil {
		return false, err
	}
	err = tx.QueryRow(ctx, `select coalesce(owner, '') = $3 and epoch = $4 from service_addresses where address = $1 and port = $2 for update`,
		c.Local.Addr(), int32(c.Local.Port()), escape(c.From), int64(c.Epoch)).Scan(&ok)
	if err != nil || !ok {
		return false, err
	}
	err = tx.QueryRow(ctx, `select me.member and me.epoch = $2 and ($3 = '' or exists (
			select from cluster_nodes other where other.name = $3 and other.beat = $4 and me.joined <= other.seen))
		from cluster_nodes me where me.name = $1`, escape(s.node), int64(epoch), escape(c.From), int64(c.Beat)).Scan(&ok)
	return ok, err
}

// Transfer gives an address of this node's to another node, with the last
// word on what is on it: changes are applied first. It may be repeated until
// its answer comes. a.Lingers is how long this node may go on for it. The error is ErrNotOwner when the address is neither this node's
// in that epoch, nor has been transferred already.
func (s *Store) Transfer(ctx context.Context, a cluster.Address, to string, changes []sessiondb.Change) error {
	if err := sessiondb.Validate(changes); err != nil {
		return err
	}
	statements := planOf(changes).statements()
	_, err := s.attempt(ctx, func(tx pgx.Tx) error {
		if err := lockCluster(ctx, tx); err != nil {
			return err
		}
		var owner string
		var epoch uint64
		err := tx.QueryRow(ctx, "select coalesce(owner, ''), epoch from service_addresses where address = $1 and port = $2 for update",
			a.Local.Addr(), int32(a.Local.Port())).Scan(&owner, &epoch)
		switch {
		case err != nil:
			return err
		case unescape(owner) == to && epoch == a.Epoch+1:
			return nil // the answer to an earlier attempt was lost
		case unescape(owner) != s.node || epoch != a.Epoch:
			return fmt.Errorf("%w: %v is %s's", ErrNotOwner, a.Local, owner)
		}
		if err := s.runAll(ctx, tx, statements, nil); err != nil {
			return err
		}
		return own(ctx, tx, to, a.Local, "address-moved", "from "+escape(s.node)+" by an operator", a.Lingers)
	})
	return err
}

// Expel puts a silent node out of the cluster, provided that it has not
// renewed its lease and owns nothing.
func (s *Store) Expel(ctx context.Context, e cluster.Expel) error {
	_, err := s.attempt(ctx, func(tx pgx.Tx) error {
		if err := lockCluster(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
with gone as (
	update cluster_nodes n set member = false where n.name = $1 and n.beat = $2 and n.member
		and not exists (select from service_addresses a where a.owner = n.name) returning 1)
update cluster set members = members + 1 where exists (select from gone)`, escape(e.Node), int64(e.Beat))
		return err
	})
	return err
}

// Leave takes a node out of the cluster that ends in good order and owns
// nothing, so that the others need not wait for its lease to lapse.
func (s *Store) Leave(ctx context.Context) error {
	_, err := s.attempt(ctx, func(tx pgx.Tx) error {
		if err := lockCluster(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
with gone as (
	update cluster_nodes n set member = false where n.name = $1 and n.member
		and not exists (select from service_addresses a where a.owner = n.name) returning 1)
update cluster set members = members + 1 where exists (select from gone)`, escape(s.node))
		return err
	})
	return err
}

// attempt is a transaction; began tells whether it may have been made when
// there is an error.
func (s *Store) attempt(ctx context.Context, f func(pgx.Tx) error) (began bool, err error) {
	if err := s.usable(); err != nil {
		return false, err
	}
	ready := false
	err = pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{BeginQuery: s.begin}, func(tx pgx.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		ready = true
		return nil
	})
	if err == nil {
		return true, nil
	}
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		ready = false // the server itself says that it was not made
	}
	if errors.Is(err, ErrNotOwner) {
		return false, fmt.Errorf("postgres: %w", err)
	}
	return ready, s.explain(ctx, err)
}

// CertainlyNot tells whether an error of Transfer says that the address was
// not moved: PostgreSQL refused, or could not be asked.
func CertainlyNot(err error) bool {
	var pgErr *pgconn.PgError
	var connect *pgconn.ConnectError
	return errors.Is(err, ErrNotOwner) || errors.As(err, &pgErr) || errors.As(err, &connect) || pgconn.SafeToRetry(err)
}

// Counts are what the database has on each service address, and how long ago
// each node has renewed its lease.
type Counts struct {
	Tunnels, Sessions map[netip.AddrPort]int
	Renewed           map[string]time.Duration
}

// Counts counts, for operators.
func (s *Store) Counts(ctx context.Context) (c Counts, err error) {
	c = Counts{map[netip.AddrPort]int{}, map[netip.AddrPort]int{}, map[string]time.Duration{}}
	for table, counts := range map[string]map[netip.AddrPort]int{"tunnels": c.Tunnels, "sessions": c.Sessions} {
		rows, err := s.pool.Query(ctx, "select local_address, local_port, count(*) from "+table+" group by 1, 2")
		if err != nil {
			return c, s.explain(ctx, err)
		}
		var host netip.Addr
		var port uint16
		var n int
		if _, err := pgx.ForEachRow(rows, []any{&host, &port, &n}, func() error {
			counts[netip.AddrPortFrom(host, port)] = n
			return nil
		}); err != nil {
			return c, s.explain(ctx, err)
		}
	}
	rows, err := s.pool.Query(ctx, "select name, clock_timestamp() - renewed_at from cluster_nodes")
	if err != nil {
		return c, s.explain(ctx, err)
	}
	var name string
	var ago time.Duration
	if _, err := pgx.ForEachRow(rows, []any{&name, &ago}, func() error {
		c.Renewed[unescape(name)] = max(ago, 0)
		return nil
	}); err != nil {
		return c, s.explain(ctx, err)
	}
	return c, nil
}

// TakeEntries gives keep the accounting records of nodes that were put out of
// the cluster and own nothing, up to n of them, and drops them here when keep has
// them. It says how many they were. Two nodes never get the same ones, unless
// one dies in between: then they are sent twice.
func (s *Store) TakeEntries(ctx context.Context, n int, keep func([]sessiondb.Entry) error) (taken int, err error) {
	_, err = s.attempt(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
select o.seq, o.node, o.acct_session_id, o.payload from accounting_outbox o
where o.node in (select c.name from cluster_nodes c where c.name <> $1 and not c.member
	and not exists (select from service_addresses a where a.owner = c.name))
order by o.node, o.seq limit $2 for update of o skip locked`, escape(s.node), n)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e sessiondb.Entry, err error) {
			err = row.Scan(&e.Seq, &e.Node, &e.Session, &e.Payload)
			unescapeAll(&e.Node, &e.Session)
			return e, err
		})
		if err != nil || len(list) == 0 {
			return err
		}
		if err := keep(list); err != nil {
			return err
		}
		taken = len(list)
		var nodes []string
		var seqs []int64
		for i := range list {
			nodes, seqs = append(nodes, escape(list[i].Node)), append(seqs, int64(list[i].Seq))
		}
		_, err = tx.Exec(ctx, "delete from accounting_outbox o using unnest($1::text[], $2::bigint[]) as x(node, seq) where o.node = x.node and o.seq = x.seq", nodes, seqs)
		return err
	})
	return taken, err
}
