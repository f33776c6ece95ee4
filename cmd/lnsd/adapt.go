package main

import (
	"culvert/aaa"
	"culvert/aaa/radius"
	"culvert/lns"
	"culvert/ops"
)

// disconnecter carries out Disconnect-Requests.
type disconnecter struct{ server *lns.Server }

// Disconnect ends the sessions that a request means.
func (d disconnecter) Disconnect(m radius.Match) (int, error) {
	sel := lns.Selector{ID: m.AcctSessionID, User: m.User, Address: m.Address}
	return d.server.Disconnect(sel, aaa.CauseNASRequest, "Disconnect-Request")
}

// sources lets the metrics see what the parts count.
func (d *daemon) sources() ops.Sources {
	s := ops.Sources{Plane: d.plane.Stats, Pools: d.poolStats, RADIUS: d.radiusStats, Outbox: d.outboxStats}
	if d.ipsec != nil {
		s.IPsec = func() ops.IPsecStats { return ops.IPsecStats(d.ipsec.Stats()) }
		s.SAUsage, s.Warnings = d.ipsec.Usage, d.ipsec.Warnings
		s.SAs, s.IKETroubles = d.ipsec.SAs, d.server.IKETroubles
		s.RekeySA, s.EndSA = d.ipsec.Rekey, d.ipsec.Terminate
	}
	if d.writer != nil {
		s.Writer = d.writer.Stats
	}
	if d.set.cluster != nil {
		warnings := s.Warnings
		s.NotReady = d.clusterStopped
		s.Warnings = func() []string {
			list := d.clusterWarnings()
			if warnings != nil {
				list = append(warnings(), list...)
			}
			return list
		}
		s.Cluster = d.clusterStats
	}
	if d.dynauth != nil {
		s.DynAuth = func() ops.DynAuthStats { return ops.DynAuthStats(d.dynauth.Stats()) }
	}
	return s
}

func (d *daemon) poolStats() []ops.PoolStats {
	var list []ops.PoolStats
	for _, u := range d.pools.Usage() {
		list = append(list, ops.PoolStats(u))
	}
	return list
}

func (d *daemon) radiusStats() []ops.RADIUSServerStats {
	var list []ops.RADIUSServerStats
	for _, r := range d.radius.Stats() {
		list = append(list, ops.RADIUSServerStats{
			Server: r.Name, Use: string(r.Role), Alive: r.Alive, InFlight: r.InFlight, Queued: r.Queued,
			Accepts: r.Accepts, Rejects: r.Rejects, Challenges: r.Challenges, Responses: r.Responses,
			Timeouts: r.Timeouts, Overflows: r.Overflows, Expired: r.Expired, Retransmits: r.Retransmits, Deaths: r.Deaths,
			BadAuthenticators: r.BadAuthenticators, Unsigned: r.Unsigned, Late: r.Late, Malformed: r.Malformed,
			LatencyBounds: radius.LatencyBounds[:], Latency: r.Latency[:], LatencySum: r.LatencySum,
		})
	}
	return list
}

func (d *daemon) outboxStats() ops.OutboxStats { return ops.OutboxStats(d.outbox.Stats()) }
