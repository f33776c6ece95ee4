package postgres

import (
	"context"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"
)

const upsertTunnelsSQL = `
insert into tunnels (node, local_address, local_port, tunnel_id, peer_address, peer_port, peer_id, peer_name, profile,
	peer_window, ns, nr, started_at, state)
select $1::text, * from unnest($2::inet[], $3::int[], $4::int[], $5::inet[], $6::int[], $7::int[], $8::text[], $9::text[],
	$10::int[], $11::int[], $12::int[], $13::timestamptz[], $14::bytea[])
on conflict (local_address, local_port, tunnel_id) do update set
	node = excluded.node, peer_address = excluded.peer_address, peer_port = excluded.peer_port, peer_id = excluded.peer_id,
	peer_name = excluded.peer_name, profile = excluded.profile, peer_window = excluded.peer_window,
	ns = excluded.ns, nr = excluded.nr, started_at = excluded.started_at, state = excluded.state`

func upsertTunnels(ctx context.Context, tx pgx.Tx, node string, rows []row) error {
	var (
		keys                   tunnelKeys
		peer                   []*netip.Addr
		peerPort               []*int32
		peerID, window, ns, nr []int32
		name, profile          []string
		started                []*time.Time
		state                  [][]byte
	)
	for _, r := range rows {
		t := r.change.Tunnel
		keys.add(t.Key)
		peer, peerPort = append(peer, address(t.Peer.Addr())), append(peerPort, port(t.Peer))
		peerID, window = append(peerID, int32(t.PeerID)), append(window, int32(t.PeerWindow))
		ns, nr = append(ns, int32(t.Ns)), append(nr, int32(t.Nr))
		name, profile = append(name, escape(t.PeerName)), append(profile, escape(t.Profile))
		started, state = append(started, instant(t.Since)), append(state, octets(t.State))
	}
	_, err := tx.Exec(ctx, upsertTunnelsSQL, escape(node), keys.address, keys.port, keys.id, peer, peerPort, peerID,
		name, profile, window, ns, nr, started, state)
	return err
}

// deleteTunnelsSQL is like deleteSessionsSQL.
const deleteTunnelsSQL = `
delete from tunnels t using unnest($2::inet[], $3::int[], $4::int[]) as x(a, b, c)
where t.local_address = x.a and t.local_port = x.b and t.tunnel_id = x.c and t.node || '' = $1`

func deleteTunnels(ctx context.Context, tx pgx.Tx, node string, rows []row) error {
	_, err := tx.Exec(ctx, deleteTunnelsSQL, deleteTunnelsArgs(node, rows)...)
	return err
}

func deleteTunnelsArgs(node string, rows []row) []any {
	var keys tunnelKeys
	for _, r := range rows {
		keys.add(r.change.Tunnel.Key)
	}
	return []any{escape(node), keys.address, keys.port, keys.id}
}

func upsertEntries(ctx context.Context, tx pgx.Tx, node string, rows []row) error {
	var (
		seq      []int64
		sessions []string
		payloads [][]byte
	)
	for _, r := range rows {
		e := r.change.Entry
		seq, sessions = append(seq, int64(e.Seq)), append(sessions, escape(e.Session))
		payloads = append(payloads, append([]byte{}, e.Payload...)) // never null
	}
	_, err := tx.Exec(ctx, `
insert into accounting_outbox (node, seq, acct_session_id, payload)
select $1::text, * from unnest($2::bigint[], $3::text[], $4::bytea[])
on conflict (node, seq) do update set acct_session_id = excluded.acct_session_id, payload = excluded.payload`,
		escape(node), seq, sessions, payloads)
	return err
}

func deleteEntries(ctx context.Context, tx pgx.Tx, node string, rows []row) error {
	var seq []int64
	for _, r := range rows {
		seq = append(seq, int64(r.change.Entry.Seq))
	}
	_, err := tx.Exec(ctx, "delete from accounting_outbox where node = $1 and seq = any($2::bigint[])", escape(node), seq)
	return err
}

func upsertObjects(ctx context.Context, tx pgx.Tx, node string, rows []row) error {
	var (
		kinds, names []string
		payloads     [][]byte
	)
	for _, r := range rows {
		o := r.change.Object
		kinds, names = append(kinds, o.Kind), append(names, o.Name)
		payloads = append(payloads, append([]byte{}, o.Payload...)) // never null
	}
	_, err := tx.Exec(ctx, `
insert into objects (node, kind, name, payload)
select $1::text, * from unnest($2::text[], $3::text[], $4::bytea[])
on conflict (node, kind, name) do update set payload = excluded.payload`, escape(node), kinds, names, payloads)
	return err
}

func deleteObjects(ctx context.Context, tx pgx.Tx, node string, rows []row) error {
	var kinds, names []string
	for _, r := range rows {
		kinds, names = append(kinds, r.change.Object.Kind), append(names, r.change.Object.Name)
	}
	_, err := tx.Exec(ctx, `
delete from objects o using unnest($2::text[], $3::text[]) as x(kind, name)
where o.node = $1 and o.kind = x.kind and o.name = x.name`, escape(node), kinds, names)
	return err
}
