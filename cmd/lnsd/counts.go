package main

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"culvert/lns/dataplane"
	"culvert/sessiondb"
	"culvert/sessiondb/postgres"
)

// countBatch is how many sessions' counters are written in one transaction.
const countBatch = 1000

// countTimeout bounds one telling, which a busy database may take longer for than the interval.
const countTimeout = 20 * time.Second

// sweepEvery is how often counters of sessions that are no more are dropped.
const sweepEvery = 5 * time.Minute

// keepCounts tells the database now and then what sessions have counted, so that a node that takes
// them over goes on from there. It has a connection of its own: neither leases nor the
// write-behind wait for it, and when the database is away the next time will do.
func (d *daemon) keepCounts(ctx context.Context, interval time.Duration) {
	plane, ok := d.plane.(dataplane.Mover)
	if !ok {
		return
	}
	c := counting{local: d.plane.Listeners(), told: map[dataplane.Key]dataplane.Counters{}}
	var store *postgres.Store
	defer func() {
		if store != nil {
			go store.Close() // may wait for a dead server
		}
	}()
	swept := time.Now()
	d.every(ctx, interval, func(context.Context) {
		ctx, cancel := context.WithTimeout(ctx, countTimeout)
		defer cancel()
		if store == nil {
			if store = d.openForEvents(ctx); store == nil {
				return
			}
		}
		list := c.news(plane, d.server.HandingOver)
		for len(list) > 0 {
			n := min(len(list), countBatch)
			if err := store.Count(ctx, c.rows(list[:n])); err != nil {
				d.log.Debug("database: sessions' counters are left out", "err", err)
				return
			}
			c.keep(list[:n])
			list = list[n:]
		}
		if time.Since(swept) > sweepEvery {
			swept = time.Now()
			if err := store.SweepCounters(ctx); err != nil {
				d.log.Debug("database: old counters stay for now", "err", err)
			}
		}
	})
}

// counting remembers what was told of which session.
type counting struct {
	local []netip.AddrPort
	told  map[dataplane.Key]dataplane.Counters
}

// news are the counters that have changed since they were told. Those of an address that is being handed over are left
// out, from before the last word on its sessions on: what is counted after that word is told to the
// other node, which would count it twice if it had it from the database as well.
func (c *counting) news(plane dataplane.Mover, handingOver func(listener uint16) bool) (list []dataplane.Counted) {
	here := make(map[dataplane.Key]bool, len(c.told))
	plane.Counts(func(x dataplane.Counted) {
		here[x.Key] = true
		if x.Counters != c.told[x.Key] {
			list = append(list, x)
		}
	})
	for k := range c.told {
		if !here[k] {
			delete(c.told, k)
		}
	}
	// Asked when all is read, so that nothing was read after a word that this does not see.
	going := make([]bool, len(c.local))
	for i := range going {
		going[i] = handingOver(uint16(i))
	}
	return slices.DeleteFunc(list, func(x dataplane.Counted) bool { return going[x.Listener] })
}

// keep notes what was told.
func (c *counting) keep(list []dataplane.Counted) {
	for _, x := range list {
		c.told[x.Key] = x.Counters
	}
}

func (c *counting) rows(list []dataplane.Counted) []postgres.Counted {
	rows := make([]postgres.Counted, len(list))
	for i, x := range list {
		rows[i] = postgres.Counted{
			Key:      sessiondb.SessionKey{Tunnel: sessiondb.TunnelKey{Local: c.local[x.Listener], ID: x.Tunnel}, ID: x.Session},
			InOctets: x.InOctets, OutOctets: x.OutOctets, InPackets: x.InPackets, OutPackets: x.OutPackets,
		}
	}
	return rows
}
