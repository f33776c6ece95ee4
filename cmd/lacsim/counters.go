package main

import (
	"maps"

	"culvert/lac"
)

// counters are what a worker counts. The worker alone writes its own; the
// others are copies.
type counters struct {
	Tunnels  tunnelCounters  `json:"tunnels"`
	Sessions sessionCounters `json:"sessions"`
	Packets  packetCounters  `json:"packets"`
	Wire     wireCounters    `json:"wire"`
	Lines    lineCounters    `json:"lines"`
	Proxied  proxyCounters   `json:"proxied"`
	// Failures are calls that did not come up, EndedByLNS sessions that the LNS ended once they were up, and
	// TunnelFailures tunnels that did not open, or ended unasked, or unclean, by cause.
	Failovers      lac.FailoverStats `json:"failovers"`
	Failures       causes            `json:"failures"`
	EndedByLNS     causes            `json:"ended_by_lns"`
	TunnelFailures causes            `json:"tunnel_failures"`
}

type tunnelCounters struct {
	Opened  uint64 `json:"opened"`  // SCCRQ sent
	Up      uint64 `json:"up"`      // came up
	Now     int64  `json:"now"`     // are up
	Opening int64  `json:"opening"` // wait for the LNS
	Failed  uint64 `json:"failed"`  // did not come up, or were ended by the LNS or by silence
	Clean   uint64 `json:"clean"`   // ended by StopCCN and its acknowledgement
	Unclean uint64 `json:"unclean"` // ended by us, but not acknowledged
}

type sessionCounters struct {
	Wanted    uint64 `json:"wanted"`       // sessions of the run
	Dialled   uint64 `json:"dialled"`      // ICRQs sent
	Up        uint64 `json:"up"`           // came up
	Now       int64  `json:"now"`          // are up
	SettingUp int64  `json:"setting_up"`   // between ICRQ and IPCP
	Failed    uint64 `json:"failed"`       // dialled, or not dialled for want of a tunnel, and not up
	Ended     uint64 `json:"ended"`        // hung up by us
	ByLNS     uint64 `json:"ended_by_lns"` // ended by the LNS after they were up
	Unclean   uint64 `json:"unclean"`      // hung up by us, and the LNS did not answer the Terminate-Request
	Abandoned uint64 `json:"abandoned"`    // hung up by us before they were up
	Pending   int64  `json:"pending"`      // still to be dialled, set up, or answered
}

type packetCounters struct {
	Sent      uint64 `json:"sent"`
	Answered  uint64 `json:"answered"`
	Duplicate uint64 `json:"duplicate"` // answered more than once
	Corrupt   uint64 `json:"corrupt"`   // came back changed
	Misrouted uint64 `json:"misrouted"` // came on another session than they should
	Other     uint64 `json:"other"`     // IPv4 packets that no session asked for
}

type wireCounters struct {
	Received        uint64 `json:"received"`
	Sent            uint64 `json:"sent"`
	SendDropped     uint64 `json:"send_dropped"`
	Dropped         uint64 `json:"dropped"` // received, and of no use
	Malformed       uint64 `json:"malformed"`
	Retransmissions uint64 `json:"retransmissions"`
}

func (p packetCounters) lost() uint64 { return p.Sent - min(p.Answered, p.Sent) }

// causes counts by cause. It holds a bounded number of them: texts come from the peer.
type causes map[string]uint64

const maxCauses = 64

func (c *causes) add(cause string, n uint64) {
	if *c == nil {
		*c = causes{}
	}
	if _, known := (*c)[cause]; !known && len(*c) >= maxCauses {
		cause = "other causes"
	}
	(*c)[cause] += n
}

// clone copies c, to be read while its owner goes on.
func (c counters) clone() counters {
	c.Failures, c.EndedByLNS, c.TunnelFailures = maps.Clone(c.Failures), maps.Clone(c.EndedByLNS), maps.Clone(c.TunnelFailures)
	return c
}

// add adds what another worker counted.
func (c *counters) add(o *counters) {
	t, u := &c.Tunnels, &o.Tunnels
	t.Opened, t.Up, t.Now, t.Opening = t.Opened+u.Opened, t.Up+u.Up, t.Now+u.Now, t.Opening+u.Opening
	t.Failed, t.Clean, t.Unclean = t.Failed+u.Failed, t.Clean+u.Clean, t.Unclean+u.Unclean
	s, v := &c.Sessions, &o.Sessions
	s.Wanted, s.Dialled, s.Up, s.Now = s.Wanted+v.Wanted, s.Dialled+v.Dialled, s.Up+v.Up, s.Now+v.Now
	s.SettingUp, s.Failed, s.Ended, s.ByLNS = s.SettingUp+v.SettingUp, s.Failed+v.Failed, s.Ended+v.Ended, s.ByLNS+v.ByLNS
	s.Unclean, s.Abandoned, s.Pending = s.Unclean+v.Unclean, s.Abandoned+v.Abandoned, s.Pending+v.Pending
	p, q := &c.Packets, &o.Packets
	p.Sent, p.Answered, p.Duplicate = p.Sent+q.Sent, p.Answered+q.Answered, p.Duplicate+q.Duplicate
	p.Corrupt, p.Misrouted, p.Other = p.Corrupt+q.Corrupt, p.Misrouted+q.Misrouted, p.Other+q.Other
	w, x := &c.Wire, &o.Wire
	w.Received, w.Sent, w.SendDropped = w.Received+x.Received, w.Sent+x.Sent, w.SendDropped+x.SendDropped
	w.Dropped, w.Malformed, w.Retransmissions = w.Dropped+x.Dropped, w.Malformed+x.Malformed, w.Retransmissions+x.Retransmissions
	f, g := &c.Failovers, &o.Failovers
	f.Recovered, f.Failed, f.Remote, f.Cleared = f.Recovered+g.Recovered, f.Failed+g.Failed, f.Remote+g.Remote, f.Cleared+g.Cleared
	c.Lines.Speeds, c.Lines.Errors = c.Lines.Speeds+o.Lines.Speeds, c.Lines.Errors+o.Lines.Errors
	c.Lines.SpeedRequests, c.Lines.LinkInfos = c.Lines.SpeedRequests+o.Lines.SpeedRequests, c.Lines.LinkInfos+o.Lines.LinkInfos
	c.Proxied.LCP, c.Proxied.Auth = c.Proxied.LCP+o.Proxied.LCP, c.Proxied.Auth+o.Proxied.Auth
	for _, m := range []struct {
		to   *causes
		from causes
	}{{&c.Failures, o.Failures}, {&c.EndedByLNS, o.EndedByLNS}, {&c.TunnelFailures, o.TunnelFailures}} {
		for cause, n := range m.from {
			m.to.add(cause, n)
		}
	}
}
