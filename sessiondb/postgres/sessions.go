package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Node is the argument $1 in every statement; rows are of the store's node
// whatever the record says.

const upsertSessionsSQL = `
insert into sessions (node, local_address, local_port, tunnel_id, session_id, peer_id, acct_session_id, user_name, profile,
	lac_address, lac_port, calling_station, called_station, call_serial, address, routes, started_at, state,
	in_octets, out_octets, in_packets, out_packets, updated_at)
select $1::text, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o::cidr[], p, q, r, s, t, u, v
from unnest($2::inet[], $3::int[], $4::int[], $5::int[], $6::int[], $7::text[], $8::text[], $9::text[],
	$10::inet[], $11::int[], $12::text[], $13::text[], $14::bigint[], $15::inet[], $16::text[], $17::timestamptz[], $18::bytea[],
	$19::bigint[], $20::bigint[], $21::bigint[], $22::bigint[], $23::timestamptz[])
	as x(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v)
on conflict (local_address, local_port, tunnel_id, session_id) do update set
	node = excluded.node, peer_id = excluded.peer_id, acct_session_id = excluded.acct_session_id,
	user_name = excluded.user_name, profile = excluded.profile,
	lac_address = excluded.lac_address, lac_port = excluded.lac_port,
	calling_station = excluded.calling_station, called_station = excluded.called_station, call_serial = excluded.call_serial,
	address = excluded.address, routes = excluded.routes, started_at = excluded.started_at, state = excluded.state,
	in_octets = excluded.in_octets, out_octets = excluded.out_octets,
	in_packets = excluded.in_packets, out_packets = excluded.out_packets, updated_at = excluded.updated_at`

func upsertSessions(ctx context.Context, tx pgx.Tx, node string, rows []row) error {
	var c sessionColumns
	for _, r := range rows {
		c.add(r.change.Session)
	}
	_, err := tx.Exec(ctx, upsertSessionsSQL, c.args(node)...)
	return err
}

// historyColumns are those that session_history has in common with sessions.
const historyColumns = `node, acct_session_id, local_address, local_port, tunnel_id, session_id, user_name, profile,
	lac_address, lac_port, calling_station, called_station, call_serial, address, routes, started_at`

// deleteSessionsSQL looks each session up by its key. That the node is compared as an expression keeps the planner from reading all of the
// node's for every batch, by the index on it, and comparing each with each, as it does while the tables' statistics are
// younger than their rows. (What countSQL does would miss a session that another transaction has just changed.)
const deleteSessionsSQL = `
with gone as (
	delete from sessions s
	using unnest($2::inet[], $3::int[], $4::int[], $5::int[], $6::bool[], $7::text[],
		$8::timestamptz[], $9::text[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[])
		as x(a, b, c, d, keep, unless, ended, why, in_o, out_o, in_p, out_p)
	where s.local_address = x.a and s.local_port = x.b and s.tunnel_id = x.c and s.session_id = x.d and s.node || '' = $1
	returning s.*, x.*)
insert into session_history (` + historyColumns + `, ended_at, cause, in_octets, out_octets, in_packets, out_packets)
select ` + historyColumns + `, coalesce(ended, now()), why,
	coalesce(in_o, in_octets), coalesce(out_o, out_octets), coalesce(in_p, in_packets), coalesce(out_p, out_packets)
from gone where keep and acct_session_id is distinct from unless
on conflict do nothing`

// deleteSessions moves the node's sessions to the history.
func deleteSessions(ctx context.Context, tx pgx.Tx, node string, rows []row) error {
	_, err := tx.Exec(ctx, deleteSessionsSQL, deleteSessionsArgs(node, rows)...)
	return err
}

func deleteSessionsArgs(node string, rows []row) []any {
	var (
		keys   tunnelKeys
		ids    []int32
		keep   []bool
		unless []*string
		e      ends
	)
	for _, r := range rows {
		keys.add(r.change.Session.Key.Tunnel)
		ids = append(ids, int32(r.change.Session.Key.ID))
		keep = append(keep, r.keep)
		unless = append(unless, optional(escape(r.unless)))
		e.add(r.end)
	}
	return []any{escape(node), keys.address, keys.port, keys.id, ids, keep, unless,
		e.at, e.cause, e.inOctets, e.outOctets, e.inPackets, e.outPackets}
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

const insertPastSQL = `
insert into session_history (node, local_address, local_port, tunnel_id, session_id, acct_session_id, user_name, profile,
	lac_address, lac_port, calling_station, called_station, call_serial, address, routes, started_at,
	in_octets, out_octets, in_packets, out_packets, ended_at, cause)
select $1::text, a, b, c, d, f, g, h, i, j, k, l, m, n, o::cidr[], p,
	coalesce(w, r), coalesce(x, s), coalesce(y, t), coalesce(z, u), coalesce(ended, v, now()), why
from unnest($2::inet[], $3::int[], $4::int[], $5::int[], $6::int[], $7::text[], $8::text[], $9::text[],
	$10::inet[], $11::int[], $12::text[], $13::text[], $14::bigint[], $15::inet[], $16::text[], $17::timestamptz[], $18::bytea[],
	$19::bigint[], $20::bigint[], $21::bigint[], $22::bigint[], $23::timestamptz[],
	$24::timestamptz[], $25::text[], $26::bigint[], $27::bigint[], $28::bigint[], $29::bigint[])
	as q(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, state, r, s, t, u, v, ended, why, w, x, y, z)
on conflict do nothing`

// insertPast adds sessions to the history that were never in table sessions.
func insertPast(ctx context.Context, tx pgx.Tx, node string, rows []row) error {
	var c sessionColumns
	var e ends
	for _, r := range rows {
		c.add(r.change.Session)
		c.state[len(c.state)-1] = nil // not kept
		e.add(r.end)
	}
	args := append(c.args(node), e.at, e.cause, e.inOctets, e.outOctets, e.inPackets, e.outPackets)
	_, err := tx.Exec(ctx, insertPastSQL, args...)
	return err
}
