package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"culvert/sessiondb"
)

// Counted is what a session has counted; the counters are those of sessiondb.Session.
type Counted struct {
	Key                                        sessiondb.SessionKey
	InOctets, OutOctets, InPackets, OutPackets uint64
}

// countSQL looks each session up by its key: left to itself, the planner joins, and reads all sessions of the node for every batch,
// or compares each with each while the tables' statistics are younger than their rows.
const countSQL = `
insert into session_counters (acct_session_id, node, in_octets, out_octets, in_packets, out_packets, counted_at)
select s.acct_session_id, $1, x.io, x.oo, x.ip, x.op, clock_timestamp()
from unnest($2::inet[], $3::int[], $4::int[], $5::int[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
		as x(a, b, c, d, io, oo, ip, op)
	cross join lateral (select acct_session_id, node from sessions
		where local_address = x.a and local_port = x.b and tunnel_id = x.c and session_id = x.d limit 1) s
where s.node = $1 and s.acct_session_id <> ''
order by s.acct_session_id
on conflict (acct_session_id) do update set node = excluded.node, in_octets = excluded.in_octets, out_octets = excluded.out_octets,
	in_packets = excluded.in_packets, out_packets = excluded.out_packets, counted_at = excluded.counted_at`

// Count keeps what sessions of this node have counted, for the node that takes them
// over, and for people. Sessions that the database does not have, or has as another node's, are left out.
func (s *Store) Count(ctx context.Context, list []Counted) error {
	if len(list) == 0 {
		return nil
	}
	var k tunnelKeys
	var ids []int32
	var columns [4][]int64
	for i := range list {
		c := &list[i]
		k.add(c.Key.Tunnel)
		ids = append(ids, int32(c.Key.ID))
		for j, v := range [...]uint64{c.InOctets, c.OutOctets, c.InPackets, c.OutPackets} {
			columns[j] = append(columns[j], count(v))
		}
	}
	err := s.transaction(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, countSQL, escape(s.node), k.address, k.port, k.id, ids, columns[0], columns[1], columns[2], columns[3])
		return err
	})
	if err != nil {
		return s.explain(ctx, err)
	}
	return nil
}

// SweepCounters drops the counters of sessions that are no more. Call it now and then.
func (s *Store) SweepCounters(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `delete from session_counters c where c.counted_at < now() - interval '1 minute'
		and not exists (select from sessions s where s.acct_session_id = c.acct_session_id and s.acct_session_id <> '')`)
	if err != nil {
		return fmt.Errorf("postgres: dropping old counters: %w", err)
	}
	return nil
}
