package lns

import (
	"errors"
	"fmt"
	"time"

	"culvert/lns/trace"
	"culvert/proto/l2tp"
)

// A node that has failed goes on with its tunnels by itself, or another does for it (recover.go). Where it
// has the numbers of a control channel exactly, as its own journal has them, the LAC notices nothing: silent failover. Where the
// LAC may have seen newer ones, RFC 4951 has both agree on numbers anew and compare their sessions; that needs a LAC that offers it.

// The values of LACProfile.Failover.
const (
	// FailoverAuto is by RFC 4951 where the LAC offers it and the numbers may have drifted, else silent.
	FailoverAuto = "auto"
	// FailoverAlways is by RFC 4951 wherever the LAC offers it.
	FailoverAlways = "always"
	// FailoverNever is always silent: failover is not negotiated.
	FailoverNever = "never"
)

// maxRecoveryTime bounds what a LAC is asked to wait.
const maxRecoveryTime = 10 * time.Minute

// checkFailover says what is wrong with a profile's failover.
func (p *LACProfile) checkFailover() error {
	var errs []error
	switch p.Failover {
	case "", FailoverAuto, FailoverAlways, FailoverNever:
	default:
		errs = append(errs, fmt.Errorf("failover: %q is not one of %s, %s, %s", p.Failover, FailoverAuto, FailoverAlways, FailoverNever))
	}
	if p.RecoveryTime < 0 || p.RecoveryTime > maxRecoveryTime {
		errs = append(errs, fmt.Errorf("recovery_time: %v is not between 0 and %v", p.RecoveryTime, maxRecoveryTime))
	}
	return errors.Join(errs...)
}

// failover is what its tunnels offer.
func (p *LACProfile) failover() l2tp.Failover {
	if p.Failover == FailoverNever {
		return l2tp.Failover{}
	}
	return l2tp.Failover{Control: true, Data: true, RecoveryTime: p.RecoveryTime}
}

// failoverKind is how a tunnel has been through a failure.
type failoverKind uint8

const (
	failoverSilent    failoverKind = iota // the LAC was told nothing
	failoverRecovered                     // by RFC 4951
	failoverFailed                        // the recovery failed
	failoverPeer                          // the LAC had failed, and has recovered the tunnel
	failoverKinds
)

var failoverNames = [failoverKinds]string{"silent", "recovered", "failed", "peer"}

// String is the kind's name in logs and metric labels.
func (k failoverKind) String() string { return failoverNames[k] }

// failover is a tunnel's latest failure. Few tunnels have one.
type failover struct {
	kind failoverKind
	at   time.Time // when it was over; zero while it is not
	// until is when to give up, 0 before the first try; next the next try.
	until, next time.Duration
	// recoveries are the recovery tunnels that are being set up, of either end, the oldest first.
	recoveries []*tunnel
	// asked are the sessions that the LAC was asked for and has not answered for; before is how many
	// they were, cleared how many of them it did not know.
	asked           map[uint16]struct{}
	before, cleared int
}

// FailoverInfo is what an operator may see of a tunnel's latest failure.
type FailoverInfo struct {
	// Kind is silent, recovered (RFC 4951), peer (the LAC had failed, and recovered the tunnel), or
	// recovering while that is not over.
	Kind string
	// At is when it was over.
	At time.Time
	// Asked sessions have been compared with the LAC, Cleared were not known to it, and
	// for Unsure its answer has not come yet.
	Asked, Cleared, Unsure int
}

func (f *failover) info() *FailoverInfo {
	switch {
	case f == nil || f.at.IsZero() && !f.recovering():
		return nil
	case f.recovering():
		return &FailoverInfo{Kind: "recovering"}
	}
	return &FailoverInfo{Kind: f.kind.String(), At: f.at, Asked: f.before, Cleared: f.cleared, Unsure: len(f.asked)}
}

// recovering says that the tunnel waits for its recovery.
func (f *failover) recovering() bool { return f != nil && f.kind == failoverRecovered && f.at.IsZero() }

// due is when the next recovery tunnel is to be opened.
func (f *failover) due() time.Duration {
	if !f.recovering() {
		return never
	}
	return f.next
}

// unsure says that the LAC was asked for a session and has not answered.
func (f *failover) unsure(id uint16) bool {
	if f == nil {
		return false
	}
	_, ok := f.asked[id]
	return ok
}

// failure is where the tunnel's failure is kept.
func (t *tunnel) failure() *failover {
	if t.fail == nil {
		t.fail = &failover{next: never}
	}
	return t.fail
}

// recoverable says that a tunnel is to be recovered by RFC 4951. A profile that only stands in does
// not have the secret that the recovery tunnel needs.
func (t *revivedTunnel) recoverable() bool {
	p := t.facts.profile
	return t.saved.Failover.Control && !p.stoodIn && (p.Failover == FailoverAlways || t.drifted && p.Failover != FailoverNever)
}

// failedOver decides how a tunnel of an earlier life, or of another node, goes on.
func (sh *shard) failedOver(v *revivedTunnel, probe time.Duration) {
	t := v.tunnel
	f := t.failure()
	if !v.recoverable() {
		f.kind, f.at = failoverSilent, sh.srv.clock.Wall()
		sh.stats.failovers[failoverSilent]++
		return
	}
	f.kind, f.next = failoverRecovered, probe
	t.t.Hold()
	sh.tunnelNote(t, trace.SourceLNS, "waits for its recovery by RFC 4951: the LAC may have seen newer sequence numbers")
}
