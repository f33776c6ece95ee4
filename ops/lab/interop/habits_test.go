package interop

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// More of lns/QUIRKS.md that needs something done while the call is being set up, or while it is up.

// habits are these cases by their names in the table.
func (l *lab) habits() []struct {
	name string
	test func(*row)
} {
	return []struct {
		name string
		test func(*row)
	}{
		{"quirk-01-draining", l.draining},
		{"quirk-02-retransmitted-sccrq", l.slowAnswer},
		{"quirk-04-hello-every-second", l.hellos},
		{"quirk-21-disordered", l.disordered},
	}
}

// draining: a LAC that is refused is told to try another LNS, and what is up goes on.
func (l *lab) draining(x *row) {
	stays, late := lineOf("stays", "chap"), lineOf("late", "chap")
	lac := l.lacFor(x, secured("draining", "userspace", stays, late))
	c := l.up(x, lac, stays)
	x.check("ping", func() error { return c.ping(coreAddr) })
	l.started(x, c)
	x.check("up", func() error {
		_, err := l.lnsd.ctl("drain")
		return err
	})
	// xl2tpd opens a tunnel for each of its lines.
	x.check("up", func() error { return lac.refused(late, "/log", "draining") })
	x.check("ping", func() error { return c.ping(coreAddr) })
	x.check("up", func() error {
		_, err := l.lnsd.ctl("undrain")
		return err
	})
	again := l.up(x, lac, late)
	x.check("ping", func() error { return again.ping(coreAddr) })
	x.check("end", func() error { return errors.Join(again.hangUp(), c.hangUp()) })
	l.started(x, again)
	l.ended(x, again, byUser)
	l.ended(x, c, byUser)
}

// slowAnswer: while lnsd stands still, the LAC says its SCCRQ again; one tunnel comes of it.
func (l *lab) slowAnswer(x *row) {
	ln := lineOf("slow-answer", "chap")
	lac := l.lacFor(x, secured("slow-answer", "userspace", ln))
	pid, err := l.lnsd.child()
	must(x.t, err)
	must(x.t, syscall.Kill(pid, syscall.SIGSTOP))
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	var twice errgroup.Group
	twice.Go(func() error {
		err := await(patience, nil, came())
		return errors.Join(err, syscall.Kill(pid, syscall.SIGCONT))
	})
	defer func() { _ = twice.Wait() }() // where the call does not come up
	c := l.up(x, lac, ln)
	x.check("up", twice.Wait)
	x.check("up", func() error { return l.checkTunnels("slow-answer", 1) })
	x.check("ping", func() error { return c.ping(coreAddr) })
	l.started(x, c)
	x.check("end", c.hangUp)
	l.ended(x, c, byUser)
	x.check("end", func() error {
		return l.wantTrace(ln, "recv SCCRQ", "send SCCRP", "recv SCCRQ", "recv SCCCN", "recv ICRQ")
	})
}

// came gives a check that more than one datagram has come to wait at port 1701 since.
func came() func() error {
	var first uint64
	return func() error {
		n, err := waiting()
		if err != nil {
			return err
		}
		if first == 0 {
			first = n
		}
		if n <= first {
			return fmt.Errorf("of %d octets that wait at port 1701, %d came first", n, first)
		}
		return nil
	}
}

// waiting is what waits in the buffers of port 1701's sockets, in octets of memory.
func waiting() (n uint64, err error) {
	b, err := os.ReadFile("/proc/net/udp")
	for row := range strings.Lines(string(b)) {
		f := strings.Fields(row)
		if len(f) < 5 || !strings.HasSuffix(f[1], ":06A5") {
			continue
		}
		_, received, _ := strings.Cut(f[4], ":")
		octets, err := strconv.ParseUint(received, 16, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/net/udp: %w", err)
		}
		n += octets
	}
	return n, err
}

// hellos: xl2tpd answers a HELLO each second, and hides nothing of its own for it.
func (l *lab) hellos(x *row) {
	ln := lineOf("hellos", "chap")
	cfg := secured("hellos", "kernel", ln)
	cfg.addr = strangeAddr
	lac := l.lacFor(x, cfg)
	c := l.up(x, lac, ln)
	time.Sleep(3200 * time.Millisecond)
	x.check("ping", func() error { return c.ping(coreAddr) })
	l.started(x, c)
	x.check("end", c.hangUp)
	l.ended(x, c, byUser)
	x.check("end", func() error {
		told, err := l.traceOf(ln.user)
		if err != nil {
			return err
		}
		if !strings.Contains(told, "send HELLO") {
			return fmt.Errorf("no HELLO was sent:\n%s", told)
		}
		return nil
	})
}

// disorder delays the control messages that leave the guest by different times, and has some of them come twice. It
// leaves the data alone: what comes twice of PPP begins a negotiation again, as RFC 1661 has it. The
// T bit is the first of the UDP payload.
const disorder = "tc qdisc add dev vec0 root handle 1: prio && " +
	"tc qdisc add dev vec0 parent 1:3 handle 30: netem delay 40ms 35ms duplicate 40% && " +
	"tc filter add dev vec0 parent 1: protocol ip u32 match ip protocol 17 0xff match u8 0x80 0x80 at 28 flowid 1:3"

// disordered: the LAC's control messages come late, in another order, and twice.
func (l *lab) disordered(x *row) {
	ln := lineOf("disordered", "chap")
	lac := l.lacFor(x, secured("disordered", "userspace", ln))
	_, err := l.guest.Run(patience, disorder)
	must(x.t, err)
	defer func() {
		_, err := l.guest.Run(patience, "tc qdisc del dev vec0 root")
		must(x.t, err)
	}()
	c := l.up(x, lac, ln)
	x.check("up", func() error { return l.checkTunnels("disordered", 1) })
	x.check("ping", func() error { return c.ping(coreAddr) })
	l.started(x, c)
	x.check("end", c.hangUp)
	l.ended(x, c, byUser)
	x.check("end", func() error {
		out, err := l.guest.Run(patience, "tc -s qdisc show dev vec0")
		if _, after, _ := strings.Cut(out, "netem"); err == nil && strings.Contains(after[:strings.Index(after, "pkt")], "Sent 0 bytes") {
			err = fmt.Errorf("no message went the disordered way: %s", out)
		}
		return err
	})
}
