package radius

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"

	"culvert/aaa"
)

// maxServers is how many servers a group may have: exchange.tried has that
// many bits.
const maxServers = 64

// group is the servers of one role, the best priority first.
type group struct {
	// Immutable.
	mode    Mode
	servers []*server
	turn    atomic.Uint32 // rotates among equals
}

func newGroup(cfg Group, role Role, nasID string, nasAddr netip.Addr, log *slog.Logger) (*group, error) {
	g := &group{mode: orDefault(cfg.Mode, Order)}
	for _, sc := range cfg.Servers {
		s, err := newServer(sc.withDefaults(), role, nasID, nasAddr, log)
		if err != nil {
			g.close()
			return nil, err
		}
		s.elsewhere = g.dispatch
		g.servers = append(g.servers, s)
	}
	slices.SortStableFunc(g.servers, func(a, b *server) int { return a.cfg.Priority - b.cfg.Priority })
	for i, s := range g.servers {
		s.index = i
	}
	return g, nil
}

// dispatch gives an exchange to the best server that has not had it yet, or
// fails it.
func (g *group) dispatch(x *exchange) {
	for {
		i := g.choose(x)
		if i < 0 {
			x.fail(unavailable(orDefault(x.last, errNoServer)))
			return
		}
		x.tried |= 1 << i
		err := g.servers[i].offer(x)
		if err == nil {
			return
		}
		x.last = err
		if x.trial {
			g.servers[i].cancelTrial()
		}
	}
}

var errNoServer = errors.New("every server is dead")

// choose gives the index of the server to ask next, -1 when none is left. A
// dead server is chosen, for a trial, where it would be if it were alive.
func (g *group) choose(x *exchange) int {
	skip := x.tried
	for {
		i := g.best(skip)
		x.trial = false
		if i < 0 || g.servers[i].alive.Load() {
			return i
		}
		if x.trial = g.servers[i].tryTrial(); x.trial {
			return i
		}
		skip |= 1 << i
	}
}

// best gives the index of the best server that is not to be skipped.
func (g *group) best(skip uint64) int {
	best, turn := -1, 0
	if g.mode == Balance {
		turn = int(g.turn.Add(1) & 0xffff)
	}
	for n := range g.servers {
		i := (n + turn) % len(g.servers)
		if skip&(1<<i) == 0 && (best < 0 || g.better(g.servers[i], g.servers[best])) {
			best = i
		}
	}
	return best
}

// better says whether to prefer a to b, which came before it.
func (g *group) better(a, b *server) bool {
	if g.mode == Order || a.cfg.Priority != b.cfg.Priority {
		return a.cfg.Priority < b.cfg.Priority
	}
	// Compare the shares of the load that each would have.
	return (a.load.Load()+1)*int64(b.cfg.Weight) < (b.load.Load()+1)*int64(a.cfg.Weight)
}

func (g *group) close() {
	for _, s := range g.servers {
		s.close()
	}
}

func (g *group) authorize(req *aaa.Request, done func(*aaa.Grant, error)) {
	others, err := g.affinity(req)
	if err != nil {
		done(nil, unavailable(err))
		return
	}
	g.dispatch(&exchange{req: req, doneAuth: done, timer: -1, tried: others})
}

func (g *group) account(u *aaa.Usage, done func(error)) {
	g.dispatch(&exchange{usage: u, doneAcct: done, timer: -1})
}
