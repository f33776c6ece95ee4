package faults

import (
	"errors"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"culvert/ops/lab/proc"
)

// outage is what one death meant to subscribers.
type outage struct{ first, all time.Duration }

// kill ends lnsd by a signal and waits until every session is served again: until no
// more packets are unanswered than some time later.
func (l *lab) kill(g syscall.Signal) (o outage) {
	l.t.Helper()
	pid, err := l.child()
	must(l.t, err)
	before, err := l.ask()
	must(l.t, err)
	if g == syscall.SIGUSR2 {
		pid = l.lnsd.PID() // the supervisor, which starts the program anew
	}
	must(l.t, syscall.Kill(pid, g&0xff))
	began := time.Now()
	if g == killTwice {
		l.killAgain(pid)
	}
	time.Sleep(5 * time.Millisecond)
	dead, err := l.ask() // what was on its way when it died is counted here, but for some
	must(l.t, err)
	waiting := before.Packets.Sent - before.Packets.Answered
	type sample struct {
		at      time.Duration
		waiting int64
	}
	var seen []sample
	least := int64(1 << 62)
	for o.first == 0 || time.Since(began) < o.first+3*time.Second {
		c, err := l.ask()
		must(l.t, err)
		at := time.Since(began)
		if o.first == 0 && c.Packets.Answered > dead.Packets.Answered+waiting {
			o.first = at
		}
		if o.first > 0 {
			n := c.Packets.Sent - c.Packets.Answered
			seen, least = append(seen, sample{at, n}), min(least, n)
		}
		if at > patience {
			l.t.Fatalf("%v after the kill: %+v, before it %+v\n%s", at, c, before, l.lnsd.Tail(20))
		}
	}
	// What had waited is answered when no more packets are on their way than later.
	i := slices.IndexFunc(seen, func(s sample) bool { return s.waiting <= least+before.Sessions.Now/100 })
	o.all = seen[i].at
	return o
}

// killTwice is SIGKILL, and once more for the next process while it recovers.
const killTwice = syscall.SIGKILL | 0x100

// killAgain kills the successor of a process at a random moment of its recovery.
func (l *lab) killAgain(dead int) {
	l.t.Helper()
	must(l.t, proc.Await(patience, time.Millisecond, l.lnsd, func() error {
		pid, err := l.child()
		if err == nil && pid == dead {
			err = errors.New("the old process is there still")
		}
		if err == nil {
			time.Sleep(time.Duration(rand.IntN(int(150 * time.Millisecond))))
			err = syscall.Kill(pid, syscall.SIGKILL)
		}
		return err
	}))
}

// pick gives the median and the worst.
func pick(list []outage, of func(outage) time.Duration) (median, worst time.Duration) {
	var d []time.Duration
	for _, o := range list {
		d = append(d, of(o).Round(time.Millisecond))
	}
	slices.Sort(d)
	return d[len(d)/2], d[len(d)-1]
}

func how(g syscall.Signal) string {
	if g == killTwice {
		return "killed, and again while it recovered"
	}
	return g.String()
}
