package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"culvert/ops/lab/proc"
)

// tableQueries are what the database has of a node.
var tableQueries = map[string]string{
	"session": `select x from (select format('%s %s %s', acct_session_id, user_name, host(address)) from sessions where node = $1) as q(x) order by x collate "C"`,
	"tunnel":  `select x from (select format(case family(local_address) when 6 then '[%s]:%s/%s %s' else '%s:%s/%s %s' end, host(local_address), local_port, tunnel_id, peer_name) from tunnels where node = $1) as q(x) order by x collate "C"`,
}

// memory is what a node itself says of its sessions or tunnels, in the words of tableQueries.
func (n *node) memory(what string) (list []string) {
	n.l.t.Helper()
	args := []string{"-o", "json", what, "list"}
	if what == "session" {
		args = append(args, "--state", "up")
	}
	out, err := n.ctl(args...)
	must(n.l.t, err)
	var found []struct {
		ID                          any
		User, Address, Local, State string
		PeerName                    string `json:"peer_name"`
	}
	must(n.l.t, json.Unmarshal([]byte(out), &found))
	for _, x := range found {
		if strings.HasSuffix(x.State, "_CLOSING") {
			continue // it is gone, but for what the LAC may repeat: no other node needs it
		}
		if what == "session" {
			list = append(list, fmt.Sprintf("%v %s %s", x.ID, x.User, x.Address))
		} else {
			list = append(list, fmt.Sprintf("%s/%v %s", x.Local, x.ID, x.PeerName))
		}
	}
	slices.Sort(list)
	return list
}

// tables checks that the database has what the nodes have in memory.
func (l *lab) tables(nodes ...string) {
	defer l.stage("tables")()
	l.t.Helper()
	err := proc.Await(patience, 250*time.Millisecond, nil, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		c, err := pgx.Connect(ctx, l.dbURL)
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		for _, n := range nodes {
			for what, query := range tableQueries {
				rows, err := c.Query(ctx, query, n)
				if err != nil {
					return err
				}
				got, err := pgx.CollectRows(rows, pgx.RowTo[string])
				if err != nil {
					return err
				}
				if want := l.nodes[n].memory(what); !slices.Equal(got, want) {
					return fmt.Errorf("the database has %d %ss of %s, its memory %d, or not the same: %.200q, %.200q", len(got), what, n, len(want), got, want)
				}
			}
		}
		return nil
	})
	if err != nil {
		l.t.Error(err)
	}
}
