package postgres

import (
	"context"
	"iter"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"culvert/sessiondb"
)

// Tunnels implements sessiondb.Store.
func (s *Store) Tunnels(ctx context.Context) iter.Seq2[sessiondb.Tunnel, error] {
	return read(ctx, s, selectTunnels+"where node = $1"+orderTunnels, []any{escape(s.node)}, scanTunnel)
}

// TunnelsAt yields the tunnels of one local address, whosever they are.
func (s *Store) TunnelsAt(ctx context.Context, local netip.AddrPort) iter.Seq2[sessiondb.Tunnel, error] {
	return read(ctx, s, selectTunnels+"where local_address = $1 and local_port = $2"+orderTunnels,
		[]any{local.Addr(), int32(local.Port())}, scanTunnel)
}

const selectTunnels = `
select local_address, local_port, tunnel_id, node, peer_address, coalesce(peer_port, 0), peer_id, peer_name, profile,
	peer_window, ns, nr, started_at, state
from tunnels `

const orderTunnels = " order by local_address, local_port, tunnel_id"

func scanTunnel(rows pgx.Rows, t *sessiondb.Tunnel) error {
	var (
		local               netip.Addr
		peer                *netip.Addr
		localPort, peerPort uint16
		started             *time.Time
	)
	err := rows.Scan(&local, &localPort, &t.Key.ID, &t.Node, &peer, &peerPort, &t.PeerID, &t.PeerName, &t.Profile,
		&t.PeerWindow, &t.Ns, &t.Nr, &started, &t.State)
	t.Key.Local = netip.AddrPortFrom(local, localPort)
	t.Peer = addrPort(peer, peerPort)
	t.Since = utc(started)
	unescapeAll(&t.Node, &t.PeerName, &t.Profile)
	return err
}

// Sessions implements sessiondb.Store.
func (s *Store) Sessions(ctx context.Context) iter.Seq2[sessiondb.Session, error] {
	return read(ctx, s, selectSessions+"where node = $1"+orderSessions, []any{escape(s.node)}, scanSession)
}

// SessionsAt yields the sessions of one local address, whosever they are, with the latest of their counters.
func (s *Store) SessionsAt(ctx context.Context, local netip.AddrPort) iter.Seq2[sessiondb.Session, error] {
	return read(ctx, s, selectSessionsCounted+"where local_address = $1 and local_port = $2"+orderSessions,
		[]any{local.Addr(), int32(local.Port())}, scanSession)
}

const selectSessions = `
select local_address, local_port, tunnel_id, session_id, node, peer_id, acct_session_id, user_name, profile,
	lac_address, coalesce(lac_port, 0), calling_station, called_station, call_serial, address, routes, started_at, state,
	in_octets, out_octets, in_packets, out_packets, updated_at
from sessions `

// selectSessionsCounted is selectSessions with what Count has kept.
const selectSessionsCounted = `
select local_address, local_port, tunnel_id, session_id, s.node, peer_id, acct_session_id, user_name, profile,
	lac_address, coalesce(lac_port, 0), calling_station, called_station, call_serial, address, routes, started_at, state,
	greatest(s.in_octets, c.in_octets), greatest(s.out_octets, c.out_octets),
	greatest(s.in_packets, c.in_packets), greatest(s.out_packets, c.out_packets), updated_at
from sessions s left join session_counters c using (acct_session_id) `

const orderSessions = " order by local_address, local_port, tunnel_id, session_id"

func scanSession(rows pgx.Rows, v *sessiondb.Session) error {
	var (
		local              netip.Addr
		lac, addr          *netip.Addr
		localPort, lacPort uint16
		started, updated   *time.Time
	)
	err := rows.Scan(&local, &localPort, &v.Key.Tunnel.ID, &v.Key.ID, &v.Node, &v.PeerID, &v.AcctSessionID, &v.User, &v.Profile,
		&lac, &lacPort, &v.CallingStation, &v.CalledStation, &v.CallSerial, &addr, &v.Routes, &started, &v.State,
		&v.InOctets, &v.OutOctets, &v.InPackets, &v.OutPackets, &updated)
	v.Key.Tunnel.Local = netip.AddrPortFrom(local, localPort)
	v.LAC = addrPort(lac, lacPort)
	if addr != nil {
		v.Address = *addr
	}
	v.Since, v.Updated = utc(started), utc(updated)
	unescapeAll(&v.Node, &v.AcctSessionID, &v.User, &v.Profile, &v.CallingStation, &v.CalledStation)
	return err
}

// Entries implements sessiondb.Store.
func (s *Store) Entries(ctx context.Context) iter.Seq2[sessiondb.Entry, error] {
	return s.EntriesOf(ctx, s.node)
}

// EntriesOf yields the accounting records that another node has not brought to a server.
func (s *Store) EntriesOf(ctx context.Context, node string) iter.Seq2[sessiondb.Entry, error] {
	return read(ctx, s, "select seq, node, acct_session_id, payload from accounting_outbox where node = $1 order by seq",
		[]any{escape(node)}, func(rows pgx.Rows, e *sessiondb.Entry) error {
			err := rows.Scan(&e.Seq, &e.Node, &e.Session, &e.Payload)
			unescapeAll(&e.Node, &e.Session)
			return err
		})
}

// Objects implements sessiondb.Store.
func (s *Store) Objects(ctx context.Context, kind string) iter.Seq2[sessiondb.Object, error] {
	return read(ctx, s, "select kind, name, payload from objects where node = $1 and (kind = $2 or $2 = '') order by kind, name",
		[]any{escape(s.node), kind}, func(rows pgx.Rows, o *sessiondb.Object) error {
			return rows.Scan(&o.Kind, &o.Name, &o.Payload)
		})
}

// read yields the rows of one query, as they are when it begins.
func read[T any](ctx context.Context, s *Store, sql string, args []any, scan func(pgx.Rows, *T) error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		if err := s.usable(); err != nil {
			yield(none, err)
			return
		}
		rows, err := s.pool.Query(ctx, sql, args...)
		if err != nil {
			yield(none, s.explain(ctx, err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			var record T
			if err := scan(rows, &record); err != nil {
				yield(none, s.explain(ctx, err))
				return
			}
			if !yield(record, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(none, s.explain(ctx, err))
		}
	}
}

func addrPort(a *netip.Addr, port uint16) netip.AddrPort {
	if a == nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(*a, port)
}

func utc(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

func unescapeAll(texts ...*string) {
	for _, t := range texts {
		*t = unescape(*t)
	}
}
