package ipsec

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"culvert/lns"
	"culvert/lns/ipsec/vici"
)

// The times of the manager.
const (
	callTime = 30 * time.Second // for one command
	listTime = 10 * time.Minute // for the list of all SAs: charon asks the kernel for each, and 20,000 take their time where it is busy
	// settleTime is how long the log usually lags behind the event of an SA's end; where it has said nothing of it
	// until then, it gets unsettledTime: charon hands lines over when a thread has time for it.
	settleTime    = 50 * time.Millisecond
	unsettledTime = 2 * time.Second
	// resyncEvery heals whatever an event that was lost has left wrong.
	resyncEvery = 10 * time.Minute
	// missPause is the least time between two lists that unknown marks have caused.
	missPause     = 2 * time.Second
	initiateEvery = 15 * time.Second
)

// Manager is the LNS's side of charon. It implements lns.IPsec. One goroutine of
// its own does everything; the methods leave word for it.
type Manager struct {
	cfg    Config
	tab    *table
	kernel kernel
	wake   chan struct{}
	stop   context.CancelFunc
	done   sync.WaitGroup
	stats  counters

	mu        sync.Mutex // of the words left for the goroutine
	handler   lns.SAHandler
	profiles  []lns.LACProfile
	changed   bool
	endings   []ending
	missed    bool
	connected bool
	version   string
	problems  map[string]string // profile: what charon or the kernel refused

	// Of the goroutine:
	began     time.Time
	wants     map[string]*wanted // by profile
	loaded    map[string]string  // what charon has, by name: the encoded message
	keys      map[string]string  // charon's names of private keys, by the keys of loaded
	loading   []lns.LACProfile   // the profiles in force
	ring      *keyring           // whose their keys are
	learned   []netip.Addr       // addresses of ours that SAs have told of
	doubtful  []uint32           // IKE SAs that are to end: another profile's key may have made them
	ikes      ikeLog
	gone      []departed
	childless []childless
	unsure    []unsure
	ours      map[uint32]ended // IKE SAs that we have ended, and why
	lastMiss  time.Time
	lastSync  time.Time
	lastAudit time.Time            // when charon was last asked whether it still has all
	tried     map[string]time.Time // when a profile's SA was last initiated
	away      string               // what was last said of a charon that is away
	wallSet   bool                 // the wall is as profiles want it
	warned    map[string]bool      // what was last said of keys that get into each other's way
	charonPID int                  // the process of the last connection, 0 where that is not known
	cleaned   bool                 // what an earlier life of lnsd has left in charon is gone
	early     io.Closer            // sees to packets before their keys; nil where no LAC uses IKEv1
}

// ending is an SA that has to end.
type ending struct {
	mark uint32
	why  string
}

// ended is why we have ended an SA.
type ended struct {
	cause lns.SACause
	why   string
}

// departed is a peer whose end is not told yet: not before due, and not after last.
type departed struct {
	p         *peer
	due, last time.Time
}

// New makes a manager; Start starts it.
func New(cfg Config) (*Manager, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Manager{
		cfg: cfg.withDefaults(), tab: newTable(), kernel: newKernel(), wake: make(chan struct{}, 1), began: time.Now(),
		problems: map[string]string{}, ours: map[uint32]ended{}, tried: map[string]time.Time{}, handler: nobody{},
		ring: &keyring{sole: true},
	}, nil
}

// nobody hears nothing.
type nobody struct{}

func (nobody) SAUp(lns.SA)              {}
func (nobody) SAGone(lns.SA, lns.SAEnd) {}
func (nobody) IKEFailed(lns.IKEFailure) {}

// Start begins to look for charon. The first Apply should come before it.
func (m *Manager) Start() {
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.done.Go(func() { m.run(ctx) })
}

// Close ends the goroutine. SAs, connections and the wall stay as they are: a
// node that restarts finds its LACs still protected.
func (m *Manager) Close() error {
	if m.stop != nil {
		m.stop()
	}
	m.done.Wait()
	return nil
}

// Notify implements lns.IPsec.
func (m *Manager) Notify(h lns.SAHandler) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.handler = h
}

// Apply implements lns.IPsec.
func (m *Manager) Apply(profiles []lns.LACProfile) {
	m.mu.Lock()
	m.profiles, m.changed = slices.Clone(profiles), true
	m.mu.Unlock()
	m.signal()
}

// Lookup implements lns.IPsec.
func (m *Manager) Lookup(mark uint32) (lns.SA, bool) {
	sa, ok := m.tab.lookup(mark)
	if !ok && m.tab.unknown(mark) {
		m.mu.Lock()
		m.missed = true
		m.mu.Unlock()
		m.signal()
	}
	return sa, ok
}

// LookupPeer implements lns.IPsec.
func (m *Manager) LookupPeer(a netip.Addr) (lns.SA, bool) { return m.tab.lookupPeer(a.Unmap()) }

// Marks implements lns.IPsec.
func (m *Manager) Marks() bool { return m.cfg.Marks }

// Terminate implements lns.IPsec.
func (m *Manager) Terminate(mark uint32, why string) {
	m.mu.Lock()
	m.endings = append(m.endings, ending{mark, why})
	m.mu.Unlock()
	m.signal()
}

// Usage implements lns.IPsec. It has a connection of its own, so that nobody waits for a slow charon.
func (m *Manager) Usage(ctx context.Context, mark uint32) (lns.SAUsage, error) {
	sa, ok := m.tab.lookup(mark)
	if !ok {
		return lns.SAUsage{}, fmt.Errorf("%w: mark %d", lns.ErrNoSA, mark)
	}
	c, err := vici.Dial(ctx, m.cfg.Socket)
	if err != nil {
		return lns.SAUsage{}, fmt.Errorf("charon: %w", err)
	}
	defer c.Close()
	var args vici.Section
	args.Set("ike-id", fmt.Sprint(sa.IKEID))
	found := false
	var use lns.SAUsage
	now := time.Now()
	err = c.Stream(ctx, "list-sas", args, "list-sa", func(s vici.Section) {
		eachChild(s, now, func(_ string, c *child) {
			if c.sa.Mark == mark && c.state != "REKEYED" && c.carries() {
				found, use = true, c.usage
			}
		})
	})
	if err == nil && !found {
		err = fmt.Errorf("%w: mark %d", lns.ErrNoSA, mark)
	}
	return use, err
}

func (m *Manager) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *Manager) setConnected(up bool, version string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.connected, m.version = up, version
}

func (m *Manager) hearer() lns.SAHandler {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.handler
}

// problem notes what is wrong with a profile's IPsec, or that nothing is any more.
func (m *Manager) problem(profile string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		delete(m.problems, profile)
		return
	}
	m.problems[profile] = err.Error()
}

// forgetProblems drops what was wrong with profiles that are no more.
func (m *Manager) forgetProblems(wants map[string]*wanted) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.problems {
		if wants[name] == nil {
			delete(m.problems, name)
		}
	}
}
