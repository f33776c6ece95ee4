package cluster

import (
	"net/netip"
	"time"
)

// Forever is the deadline of an owner from whom nobody could claim.
const Forever = time.Duration(1<<63 - 1)

// Machine is one node's part in the cluster. It is not safe for concurrent
// use. All times that it is given are of one clock that never jumps back and
// counts while the machine is suspended (CLOCK_BOOTTIME).
type Machine struct {
	cfg   Config
	began time.Duration
	// quiet is since when this node has been awake without a gap: it claims
	// nothing before it has listened for a while.
	quiet, ticked time.Duration
	// before are the epochs of what this node owned in an earlier life.
	before map[netip.AddrPort]uint64

	view   View
	viewed time.Duration // when the view was asked for; never
	known  bool          // there is a view
	saved  uint64        // the members of the view that is on disk

	renewing bool
	asked    time.Duration
	renewAt  time.Duration
	leased   time.Duration // the end of the lease

	peers map[string]*peer
	// mine are the addresses that this node owns as far as it knows.
	mine map[netip.AddrPort]*owned
	// leaving are those that it has given away, and until when it goes on for them.
	leaving map[netip.AddrPort]time.Duration
	// granted is what Grant has said; lingering what the database has said of others.
	granted, lingering map[netip.AddrPort]word
	// claiming are claims without a settled answer, by the owner they are
	// made against. A failed one is settled by a renewal that began later.
	claiming map[netip.AddrPort]pendingClaim
	// vacant is since when an address is known to be nobody's.
	vacant map[netip.AddrPort]time.Duration
	// changedAt is when this node knew of a transaction of its own that gave an address to somebody.
	changedAt map[netip.AddrPort]time.Duration
	// lapsed says that this node had to stop, and may go on only when it knows
	// that nobody has claimed meanwhile.
	lapsed   bool
	draining bool
	probeAt  time.Duration
}

// peer is what is known of another node at first hand.
type peer struct {
	// beat was first seen at beatAt.
	beat   uint64
	beatAt time.Duration
	epoch  uint64
	// answered is when it last answered a probe; ours until promised.
	answered, promised time.Duration
	heard              bool
	// stopped says that its last message said that it answers for nothing.
	stopped bool
	// gave is the end of the promise that it has from us.
	gave time.Duration
	// told is how many claims it knew of at its last answer, and its epoch then.
	told      uint64
	toldEpoch uint64
}

type owned struct {
	epoch uint64
	// moving is set while the address is being given away, lingers until when it is answered for then.
	moving  bool
	lingers time.Duration
	// from is when who has given it away has stopped for certain.
	from time.Duration
}

type pendingClaim struct {
	from   string
	failed bool
	at     time.Duration // when it failed
}

// New makes the machine of a node that starts now. saved is what an earlier
// life has kept, if anything.
func New(cfg Config, now time.Duration, saved *Saved) (*Machine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := &Machine{
		cfg: cfg.withDefaults(), began: now, quiet: now, ticked: now, renewAt: now, probeAt: now,
		before: map[netip.AddrPort]uint64{},
		peers:  map[string]*peer{}, mine: map[netip.AddrPort]*owned{}, leaving: map[netip.AddrPort]time.Duration{},
		claiming: map[netip.AddrPort]pendingClaim{}, vacant: map[netip.AddrPort]time.Duration{},
		changedAt: map[netip.AddrPort]time.Duration{}, granted: map[netip.AddrPort]word{}, lingering: map[netip.AddrPort]word{},
	}
	if saved != nil {
		// What the database said last. It is no lease, but with the promises of
		// all who could claim it is enough to go on; and it has to be found out
		// that none of them did while this node was away.
		m.view, m.known, m.saved, m.lapsed = saved.View, true, saved.Seen, true
		for _, n := range m.view.Nodes {
			m.peer(n.Name, now).epoch = n.Epoch
		}
		for _, a := range m.view.Addresses {
			if a.Owner == cfg.Node {
				m.before[a.Local] = a.Epoch
			}
		}
	}
	return m, nil
}

func (m *Machine) peer(name string, now time.Duration) *peer {
	p := m.peers[name]
	if p == nil {
		p = &peer{beatAt: now, answered: now}
		m.peers[name] = p
	}
	return p
}

// Deadline is when Tick wants to be called at the latest.
func (m *Machine) Deadline() time.Duration {
	at := m.probeAt
	if !m.renewing {
		at = min(at, m.renewAt)
	}
	return at
}

// Tick does what is due.
func (m *Machine) Tick(now time.Duration, fx *Effects) {
	if now-m.ticked > m.cfg.Promise()/2 {
		m.quiet = now // it slept, and may have missed what it would have heard
	}
	m.ticked = now
	if !m.renewing && now >= m.renewAt {
		m.renewing, m.asked = true, now
		fx.Renew = &Renewal{Seen: m.saved}
	}
	if now >= m.probeAt {
		m.probeAt = now + m.cfg.ProbeEvery()
		m.probe(now, fx)
	}
	m.judge(now, fx)
}

// Lease is how long a renewal holds.
func (m *Machine) Lease() time.Duration { return m.cfg.Lease }

// View is what the database said last, and when it was asked.
func (m *Machine) View() (v View, asked time.Duration) { return m.view, m.viewed }

// Answered says when a node last answered directly.
func (m *Machine) Answered(node string) (at time.Duration, ever bool) {
	p := m.peers[node]
	return valueOf(p).answered, valueOf(p).heard
}

func valueOf(p *peer) peer {
	if p == nil {
		return peer{}
	}
	return *p
}

func (fx *Effects) log(text string, args ...any) { fx.Log = append(fx.Log, Line{text, args}) }
