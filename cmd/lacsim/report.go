package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"culvert/lac"
)

// report is the outcome of a run.
type report struct {
	OK bool `json:"ok"`
	// Problems say why not.
	Problems []string `json:"problems"`
	counters
	// Seconds is the whole run; DialSeconds the part until the last session came up.
	Seconds     float64 `json:"seconds"`
	DialSeconds float64 `json:"dial_seconds"`
	// CallsPerSecond are the sessions that came up over DialSeconds.
	CallsPerSecond float64 `json:"calls_per_second"`
	Peak           int64   `json:"peak_sessions"`
	Setup          times   `json:"setup"`        // ICRQ to IPCP up
	TunnelSetup    times   `json:"tunnel_setup"` // SCCRQ to SCCCN
	Latency        times   `json:"latency"`
	Lost           uint64  `json:"packets_lost"`
	// CPUSeconds is lacsim's own, and MaxRSS its memory in octets.
	CPUSeconds float64 `json:"cpu_seconds"`
	CPUPerCall float64 `json:"cpu_us_per_call"`
	MaxRSS     int64   `json:"max_rss"`
	// proxied: there were proxy AVPs
	proxied bool
}

func usage() unix.Rusage {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return u
}

func cpu(u unix.Rusage) time.Duration {
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// report sums up once the workers are done.
func (c *controller) report(before unix.Rusage) *report {
	now, after := c.clock(), usage()
	r := &report{Seconds: now.Seconds(), Peak: c.peak, MaxRSS: after.Maxrss << 10, proxied: c.plan.opt.Proxy != "none"}
	var setup, open, latency histogram
	for _, w := range c.workers {
		r.counters.add(&w.count)
		setup.merge(&w.setup)
		open.merge(&w.openTime)
		latency.merge(&w.latency)
	}
	r.Setup, r.TunnelSetup, r.Latency = setup.times(), open.times(), latency.times()
	r.Lost = r.Packets.lost()
	r.Peak = max(r.Peak, min(int64(r.Sessions.Up), int64(r.Sessions.Wanted)))
	if r.Sessions.Up > 0 {
		r.DialSeconds = c.upAt.Seconds()
		r.CallsPerSecond = float64(r.Sessions.Up) / max(r.DialSeconds, 1e-3)
		r.CPUPerCall = float64((cpu(after) - cpu(before)).Microseconds()) / float64(r.Sessions.Up)
	}
	r.CPUSeconds = (cpu(after) - cpu(before)).Seconds()
	r.judge(&c.plan.opt, c.plan.traffic.on)
	return r
}

// judge lists what was asked for and did not happen.
func (r *report) judge(o *runCmd, traffic bool) {
	r.Problems = []string{}
	s, t, p := &r.Sessions, &r.Tunnels, &r.Packets
	problem := func(wrong bool, format string, args ...any) {
		if wrong {
			r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
		}
	}
	problem(!o.Redial && s.Dialled < s.Wanted, "%d of %d sessions were not dialled", s.Wanted-min(s.Dialled, s.Wanted), s.Wanted)
	problem(s.Failed > 0, "%d calls failed", s.Failed)
	problem(!o.Redial && s.Abandoned > 0, "%d calls were given up before they were up", s.Abandoned)
	problem(!o.AllowEnded && s.ByLNS > 0, "%d sessions were ended by the LNS", s.ByLNS)
	problem(s.Unclean > 0, "%d Terminate-Requests were not answered", s.Unclean)
	problem(t.Failed > 0 && !(o.AllowEnded && t.Failed == t.Opened-t.Clean-t.Unclean && s.Failed == 0), "%d tunnels failed", t.Failed)
	problem(t.Unclean > 0, "%d tunnels did not end cleanly", t.Unclean)
	problem(r.Lost > 0, "%d of %d packets were lost", r.Lost, p.Sent)
	problem(p.Duplicate+p.Corrupt+p.Misrouted > 0, "%d packets came twice, %d changed, %d on the wrong session", p.Duplicate, p.Corrupt, p.Misrouted)
	problem(traffic && p.Sent == 0, "no packet was sent")
	r.OK = len(r.Problems) == 0
}

// print writes the summary for people.
func (r *report) print(w io.Writer) {
	s, t := &r.Sessions, &r.Tunnels
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("tunnels", "%d opened, %d up, %d failed, %d ended cleanly, %d not", t.Opened, t.Up, t.Failed, t.Clean, t.Unclean)
	line("sessions", "%d dialled, %d up (at most %d at once), %d failed, %d hung up, %d ended by the LNS, %d given up",
		s.Dialled, s.Up, r.Peak, s.Failed, s.Ended, s.ByLNS, s.Abandoned)
	line("rate", "%.0f calls/s: %d in %.2f s", r.CallsPerSecond, s.Up, r.DialSeconds)
	line("set-up", "%s (ICRQ to IPCP up)", r.Setup)
	line("tunnel", "%s (SCCRQ to up)", r.TunnelSetup)
	if p := &r.Packets; p.Sent > 0 {
		line("packets", "%d sent, %d answered, %d lost (%.3f %%), %d twice, %d changed, %d misrouted",
			p.Sent, p.Answered, r.Lost, 100*float64(r.Lost)/float64(p.Sent), p.Duplicate, p.Corrupt, p.Misrouted)
		line("latency", "%s", r.Latency)
	}
	if f := r.Failovers; f != (lac.FailoverStats{}) {
		line("failover", "%d tunnels recovered after a failure of these LACs, %d by their LNS, %d not; %d calls cleared", f.Recovered, f.Remote, f.Failed, f.Cleared)
	}
	if l := &r.Lines; *l != (lineCounters{}) {
		line("lines", "%d speeds (CSUN) and %d errors (WEN) told; %d requests for speeds (CSURQ) and %d SLIs came", l.Speeds, l.Errors, l.SpeedRequests, l.LinkInfos)
	}
	if r.proxied {
		line("proxy", "the LNS negotiated LCP anew in %d calls, and authentication in %d", r.Proxied.LCP, r.Proxied.Auth)
	}
	x := &r.Wire
	line("wire", "%d datagrams in, %d out, %d retransmissions, %d malformed, %d dropped, %d refused by the kernel",
		x.Received, x.Sent, x.Retransmissions, x.Malformed, x.Dropped, x.SendDropped)
	line("lacsim", "%.2f s, %.2f s CPU, %.1f us CPU per call, %d MiB", r.Seconds, r.CPUSeconds, r.CPUPerCall, r.MaxRSS>>20)
	for _, c := range []struct {
		name string
		m    causes
	}{{"failed", r.Failures}, {"ended", r.EndedByLNS}, {"tunnel", r.TunnelFailures}} {
		for _, cause := range c.m.sorted() {
			line(c.name, "%d: %s", c.m[cause], cause)
		}
	}
	verdict := "ok"
	if !r.OK {
		verdict = "FAILED: " + strings.Join(r.Problems, "; ")
	}
	line("result", "%s", verdict)
}

// String is the times on one line.
func (t times) String() string {
	return fmt.Sprintf("p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, max %.1f ms", t.P50, t.P90, t.P99, t.Max)
}

// sorted are the causes, the most frequent first.
func (c causes) sorted() []string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int {
		if c[a] != c[b] {
			return int(int64(c[b]) - int64(c[a]))
		}
		return strings.Compare(a, b)
	})
	return keys
}
