package lns

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"culvert/lns/trace"
)

// A LAC that cannot set up its SA shows up nowhere in L2TP: there is no tunnel yet. So what the key
// exchange says of it is remembered by itself, for an operator who asks why a LAC does not come, and
// for the timeline of the tunnel that comes in the end.

const (
	// maxTroubles bounds what is remembered, of all LACs together; what was not seen for longest goes.
	maxTroubles = 512
	// troubleMatters is for how long a failure belongs to the tunnel that comes after it.
	troubleMatters = 10 * time.Minute
	// maxTold bounds the failures that one tunnel's timeline begins with.
	maxTold = 4
	// tracePause is between two failures that tunnels hear of: to find a LAC's tunnels takes a walk through
	// all of them, and strangers can fail as often as they like.
	tracePause = time.Second
	// logBurst is how many failures are logged at once, and logEvery how often one more: of a flood of half-open
	// IKE, whose sources may all be forged, every packet is a failure. What is not logged is counted.
	logBurst = 100
	logEvery = 100 * time.Millisecond
)

// IKETrouble is a LAC's attempts to set up an SA that have failed for one reason.
type IKETrouble struct {
	// IKEFailure is the last of them.
	IKEFailure
	// First is when the first of them failed, Count how many there were.
	First time.Time
	Count int
}

// same says whether two failures are one trouble: the port of the next attempt may be another one.
func (a *IKETrouble) same(f *IKEFailure) bool {
	return a.Remote.Addr() == f.Remote.Addr() && a.Profile == f.Profile && a.Identity == f.Identity && a.Reason == f.Reason && a.Detail == f.Detail
}

// ikeTroubles remembers failures, the latest last. Any goroutine may use it.
type ikeTroubles struct {
	mu     sync.Mutex
	list   []IKETrouble
	traced time.Time // when tunnels heard of one
	// free is from when on a failure is logged, if it lies no more than the burst ahead of the clock; untold
	// counts those that were not.
	free   time.Time
	untold int
}

// logs says whether a failure of now is logged, and how many were not since the last that was.
func (l *ikeTroubles) logs(now time.Time) (yes bool, untold int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free.Before(now) {
		l.free = now
	}
	if l.free.Sub(now) >= logBurst*logEvery {
		l.untold++
		return false, 0
	}
	l.free = l.free.Add(logEvery)
	untold, l.untold = l.untold, 0
	return true, untold
}

// add takes a failure, and says whether tunnels should hear of it.
func (l *ikeTroubles) add(f IKEFailure) (tell bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := IKETrouble{IKEFailure: f, First: f.At, Count: 1}
	i := slices.IndexFunc(l.list, func(t IKETrouble) bool { return t.same(&f) })
	switch {
	case i >= 0:
		x.First, x.Count = l.list[i].First, l.list[i].Count+1
		l.list = slices.Delete(l.list, i, i+1)
	case len(l.list) >= maxTroubles:
		l.list = slices.Delete(l.list, 0, 1)
	}
	l.list = append(l.list, x)
	if !f.Remote.Addr().IsValid() || f.At.Sub(l.traced) < tracePause {
		return false
	}
	l.traced = f.At
	return true
}

// of gives the latest failures of an address since a time, the oldest first.
func (l *ikeTroubles) of(peer netip.Addr, since time.Time) []IKETrouble {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []IKETrouble
	for i := range l.list {
		if x := &l.list[i]; x.Remote.Addr().Unmap() == peer.Unmap() && !x.At.Before(since) {
			list = append(list, *x)
		}
	}
	return list[max(0, len(list)-maxTold):]
}

// IKETroubles gives the LACs' attempts to set up an SA that have failed, those that failed last first. It
// remembers the last 512 of different address, identity or reason, since the start. Any
// goroutine may call it.
func (s *Server) IKETroubles() []IKETrouble {
	s.troubles.mu.Lock()
	defer s.troubles.mu.Unlock()
	list := slices.Clone(s.troubles.list)
	slices.Reverse(list)
	return list
}

// String tells of it in the words of a timeline.
func (a *IKETrouble) String() string {
	times := ""
	if a.Count > 1 {
		times = fmt.Sprintf(" %d times", a.Count)
	}
	s := fmt.Sprintf("IKE had failed%s, last at %s (%s)", times, a.At.UTC().Format("15:04:05Z"), a.Reason)
	if a.Detail != "" {
		s += ": " + a.Detail
	}
	return s
}

// noteTroubles begins a tunnel's timeline with what its LAC had to try before.
func (sh *shard) noteTroubles(t *tunnel, peer netip.Addr) {
	if sh.srv.cfg.IPsec == nil {
		return
	}
	for _, x := range sh.srv.troubles.of(peer, sh.srv.clock.Wall().Add(-troubleMatters)) {
		sh.tunnelNote(t, trace.SourceIKE, x.String())
	}
}

// IKEFailed implements SAHandler. Tunnels that the LAC has already hear of it too: their next keys may
// be what failed.
func (w saWatch) IKEFailed(f IKEFailure) {
	tell := w.srv.troubles.add(f)
	if yes, untold := w.srv.troubles.logs(f.At); yes {
		keys := []any{"lac", f.Remote, "profile", f.Profile, "identity", f.Identity, "reason", string(f.Reason), "detail", f.Detail}
		if untold > 0 {
			keys = append(keys, "not_logged_before", untold)
		}
		w.srv.log.Warn("a LAC could not set up its SA", keys...)
	}
	if tell {
		w.srv.TracePeer(f.Remote.Addr(), trace.SourceIKE, fmt.Sprintf("IKE failed (%s): %s", f.Reason, f.Detail))
	}
}
