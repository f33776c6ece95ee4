package postgres

import (
	"culvert/sessiondb"
)

// row is what one change does to one row.
type row struct {
	// change is the one to report when PostgreSQL refuses the row.
	change *sessiondb.Change
	// end is the session's end, for its history.
	end *sessiondb.End
	// keep says that the deleted session goes to the history, unless its
	// Acct-Session-Id is unless: then it is the one that this batch puts
	// there after the end of another, and the batch has been applied before.
	keep   bool
	unless string
}

// plan is a batch of changes, reduced to what each key needs: first deletes,
// then puts, at most one of each, so that the order of the keys is of no
// importance. A session that begins and ends in the batch is only history.
type plan struct {
	dropTunnels, dropEntries, dropObjects []row
	dropSessions, pastSessions            []row
	putTunnels, putEntries, putObjects    []row
	putSessions                           []row
}

type objectKey struct{ kind, name string }

// planOf reduces valid changes.
func planOf(changes []sessiondb.Change) *plan {
	var (
		p        plan
		tunnels  = make(map[sessiondb.TunnelKey]*sessiondb.Change)
		entries  = make(map[uint64]*sessiondb.Change)
		objects  = make(map[objectKey]*sessiondb.Change)
		sessions = make(map[sessiondb.SessionKey]*sessionPlan)
	)
	for i := range changes {
		c := &changes[i]
		switch c.Op {
		case sessiondb.PutTunnel, sessiondb.DropTunnel:
			tunnels[c.Tunnel.Key] = c
		case sessiondb.PutEntry, sessiondb.DropEntry:
			entries[c.Entry.Seq] = c
		case sessiondb.PutObject, sessiondb.DropObject:
			objects[objectKey{c.Object.Kind, c.Object.Name}] = c
		case sessiondb.PutSession, sessiondb.DropSession:
			s := sessions[c.Session.Key]
			if s == nil {
				s = new(sessionPlan)
				sessions[c.Session.Key] = s
			}
			p.pastSessions = s.take(c, p.pastSessions)
		}
	}
	p.last(changes, tunnels, entries, objects, sessions)
	return &p
}

// sessionPlan is what has become of one session's key so far.
type sessionPlan struct {
	// drop is what deletes the row that the table may have; put what the
	// key has now; both may be nil.
	drop, put *sessiondb.Change
	// keep says that the row that the table may have goes to the history.
	keep bool
}

// take adds a change, and to past the session that it ends when the batch
// itself has put it there.
func (s *sessionPlan) take(c *sessiondb.Change, past []row) []row {
	switch {
	case c.Op == sessiondb.PutSession:
		s.put = c
	case s.put != nil:
		past = append(past, row{change: s.put, end: c.End})
		if s.drop == nil {
			s.drop = c
		}
		s.put = nil
	case s.drop == nil:
		s.drop, s.keep = c, true
	}
	return past
}

// last puts the last change of every key into the plan, in the order of the changes.
func (p *plan) last(changes []sessiondb.Change, tunnels map[sessiondb.TunnelKey]*sessiondb.Change, entries map[uint64]*sessiondb.Change,
	objects map[objectKey]*sessiondb.Change, sessions map[sessiondb.SessionKey]*sessionPlan) {
	for i := range changes {
		c := &changes[i]
		switch {
		case c.Op == sessiondb.PutTunnel && tunnels[c.Tunnel.Key] == c:
			p.putTunnels = append(p.putTunnels, row{change: c})
		case c.Op == sessiondb.DropTunnel && tunnels[c.Tunnel.Key] == c:
			p.dropTunnels = append(p.dropTunnels, row{change: c})
		case c.Op == sessiondb.PutEntry && entries[c.Entry.Seq] == c:
			p.putEntries = append(p.putEntries, row{change: c})
		case c.Op == sessiondb.DropEntry && entries[c.Entry.Seq] == c:
			p.dropEntries = append(p.dropEntries, row{change: c})
		case c.Op == sessiondb.PutObject && objects[objectKey{c.Object.Kind, c.Object.Name}] == c:
			p.putObjects = append(p.putObjects, row{change: c})
		case c.Op == sessiondb.DropObject && objects[objectKey{c.Object.Kind, c.Object.Name}] == c:
			p.dropObjects = append(p.dropObjects, row{change: c})
		case c.Op == sessiondb.PutSession && sessions[c.Session.Key].put == c:
			p.putSessions = append(p.putSessions, row{change: c})
		case c.Op == sessiondb.DropSession && sessions[c.Session.Key].drop == c:
			p.dropSessions = append(p.dropSessions, dropRow(c, sessions[c.Session.Key]))
		}
	}
}

func dropRow(c *sessiondb.Change, s *sessionPlan) row {
	r := row{change: c, end: c.End, keep: s.keep}
	if s.put != nil {
		r.unless = s.put.Session.AcctSessionID
	}
	return r
}
