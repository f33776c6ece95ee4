package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Network is a part of an address pool.
type Network struct {
	Pool   string
	Prefix netip.Prefix
}

// SetPools says which subscribers' addresses this node hands out, in place of
// what it said before. The error names the other node when that one hands
// out some of them.
func (s *Store) SetPools(ctx context.Context, list []Network) error {
	var pools []string
	var prefixes []netip.Prefix
	for _, n := range list {
		pools, prefixes = append(pools, escape(n.Pool)), append(prefixes, n.Prefix.Masked())
	}
	_, err := s.attempt(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "delete from pool_ranges where node = $1", escape(s.node)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "insert into pool_ranges (network, pool, node) select unnest($1::cidr[]), unnest($2::text[]), $3", prefixes, pools, escape(s.node))
		return err
	})
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "23P01" { // exclusion_violation
		return s.overlap(ctx, prefixes, err)
	}
	return err
}

// overlap says whose ranges are in the way.
func (s *Store) overlap(ctx context.Context, prefixes []netip.Prefix, cause error) error {
	var network netip.Prefix
	var pool, node string
	err := s.pool.QueryRow(ctx, "select network, pool, node from pool_ranges where node <> $1 and network && any($2::cidr[]) order by network limit 1",
		escape(s.node), prefixes).Scan(&network, &pool, &node)
	if err != nil {
		return cause
	}
	return fmt.Errorf("postgres: pool addresses %v are handed out by node %s (its pool %s) as well: give every node ranges of its own", network, unescape(node), unescape(pool))
}

// AddressesElsewhere are the addresses of this node's pools that sessions of
// other nodes have, since their service address has moved there.
func (s *Store) AddressesElsewhere(ctx context.Context) ([]netip.Addr, error) {
	rows, err := s.pool.Query(ctx, `
select distinct s.address from sessions s join pool_ranges p on s.address <<= p.network where p.node = $1 and s.node <> $1`, escape(s.node))
	if err != nil {
		return nil, s.explain(ctx, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[netip.Addr])
	if err != nil {
		return nil, s.explain(ctx, err)
	}
	return list, nil
}

// Event is a row of table events.
type Event struct {
	At                        time.Time
	Kind, User, Cause, Detail string
	// Local is not valid for what is about no tunnel.
	Local           netip.AddrPort
	Tunnel, Session uint16
}

// RecordEvents adds events of this node.
func (s *Store) RecordEvents(ctx context.Context, list []Event) error {
	if err := s.usable(); err != nil {
		return err
	}
	rows := make([][]any, 0, len(list))
	for i := range list {
		e := &list[i]
		row := []any{e.At, escape(s.node), escape(e.Kind), address(e.Local.Addr()), nil, nil, escape(e.User), escape(e.Cause), escape(e.Detail)}
		if e.Tunnel != 0 {
			row[4] = int32(e.Tunnel)
		}
		if e.Session != 0 {
			row[5] = int32(e.Session)
		}
		rows = append(rows, row)
	}
	_, err := s.pool.CopyFrom(ctx, pgx.Identifier{"events"},
		[]string{"at", "node", "kind", "local", "tunnel_id", "session_id", "user_name", "cause", "detail"}, pgx.CopyFromRows(rows))
	if err != nil {
		return s.explain(ctx, err)
	}
	return nil
}
