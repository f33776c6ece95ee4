package postgres

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/jackc/pgx/v5"

	"culvert/sessiondb"
)

// fence takes out of a plan what is of addresses that another node owns, and
// reports it as refused. It holds the owned ones until the transaction ends:
// a claim waits for it, and what is written here is before the claim.
func (s *Store) fence(ctx context.Context, tx pgx.Tx, statements []statement, refused *sessiondb.ConflictError) ([]statement, error) {
	if !s.fenced {
		return statements, nil
	}
	rows, err := tx.Query(ctx, "select address, port from service_addresses where owner = $1 order by address, port for share", escape(s.node))
	if err != nil {
		return nil, err
	}
	owned := map[netip.AddrPort]bool{}
	var host netip.Addr
	var port uint16
	if _, err := pgx.ForEachRow(rows, []any{&host, &port}, func() error {
		owned[netip.AddrPortFrom(host, port)] = true
		return nil
	}); err != nil {
		return nil, err
	}
	ours := make([]statement, len(statements))
	for i, st := range statements {
		ours[i] = statement{st.run, nil}
		for _, r := range st.rows {
			local, has := localOf(r.change)
			if !has || owned[local] {
				ours[i].rows = append(ours[i].rows, r)
				continue
			}
			refused.Changes = append(refused.Changes, *r.change)
			refused.Errs = append(refused.Errs, fmt.Errorf("%w: %v", ErrNotOwner, local))
		}
	}
	return ours, nil
}

// localOf is the local address of what a change is about, if it has one.
func localOf(c *sessiondb.Change) (netip.AddrPort, bool) {
	switch c.Op {
	case sessiondb.PutTunnel, sessiondb.DropTunnel:
		return c.Tunnel.Key.Local, true
	case sessiondb.PutSession, sessiondb.DropSession:
		return c.Session.Key.Tunnel.Local, true
	}
	return netip.AddrPort{}, false
}
