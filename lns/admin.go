package lns

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"sync/atomic"

	"culvert/aaa"
	"culvert/lns/link"
	"culvert/proto/l2tp"
	"culvert/sessiondb"
)

// ErrNoTunnel says that there is no such tunnel.
var ErrNoTunnel = errors.New("no such tunnel")

// ErrEmptySelector refuses to end every session for want of a condition.
var ErrEmptySelector = errors.New("the selector is empty and would end every session; name an id, user, address, LAC or tunnel")

// StopTunnel ends a tunnel, and so all its sessions, with a StopCCN; when the LAC has it,
// the tunnel's SA ends too, unless it has other tunnels.
func (s *Server) StopTunnel(local netip.AddrPort, id uint16, reason string) error {
	var found atomic.Bool
	s.each(func(sh *shard) {
		for _, t := range sh.tunnels {
			if t.facts.id == id && t.facts.local == local && !t.down && t.recovers == nil && !sh.isShut(t.facts.listener) {
				found.Store(true)
				t.endSA = true
				sh.tunnelStep(t, func(fx *l2tp.Effects) {
					t.t.Stop(sh.now, l2tp.Result{Code: l2tp.StopGeneral, Message: reason}, fx)
				})
			}
		}
	})
	if !found.Load() {
		return fmt.Errorf("%w: %d on %v", ErrNoTunnel, id, local)
	}
	return nil
}

// Disconnect ends the sessions that sel selects and says how many. With
// CauseNASRequest for a Disconnect-Request of RADIUS, the cause is
// radius-disconnect, else admin-reset. An empty selector is refused with ErrEmptySelector.
func (s *Server) Disconnect(sel Selector, cause aaa.TerminateCause, detail string) (int, error) {
	if sel == (Selector{}) {
		return 0, ErrEmptySelector
	}
	why := CauseAdminReset
	if cause == aaa.CauseNASRequest {
		why = CauseRADIUSDisconnect
	}
	var n atomic.Int64
	s.each(func(sh *shard) {
		var list []*session
		for _, x := range sh.sessions {
			if x.state != stateClosing && !sh.isShut(x.key.Listener) && sh.selects(sel, x) {
				list = append(list, x)
			}
		}
		slices.SortFunc(list, func(a, b *session) int { return cmp.Compare(a.owner, b.owner) })
		for _, x := range list {
			sh.end(x, why, detail)
		}
		n.Add(int64(len(list)))
	})
	return int(n.Load()), nil
}

// Drain refuses new tunnels and calls while on, so that LACs go to another
// LNS; what is established stays.
func (s *Server) Drain(on bool) {
	if s.draining.Swap(on) != on {
		s.log.Info("drain", "on", on)
	}
}

// objectLAC is the kind of provisioned LAC profiles in the journal.
const objectLAC = "lac"

// PutLAC adds a LAC profile or replaces the one of its name, for new tunnels. It is
// kept in the journal and found again at the next start, where it replaces
// one of the same name in the configuration.
func (s *Server) PutLAC(p LACProfile) error {
	if err := s.canProtect(&p); err != nil {
		return err
	}
	q, err := newProfile(p, s.cfg.Node, s.cfg.Rand)
	if err != nil {
		return err
	}
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := s.keep(sessiondb.PutObject, p.Name, b); err != nil {
		return err
	}
	s.profiles.put(q)
	s.applyIPsec()
	return nil
}

// DeleteLAC forgets a LAC profile. Its SAs end, and their tunnels; its tunnels in clear live
// on. New ones are refused.
func (s *Server) DeleteLAC(name string) error {
	if err := s.profiles.remove(name); err != nil {
		return err
	}
	s.applyIPsec()
	return s.keep(sessiondb.DropObject, name, nil)
}

// LACs lists the profiles in force, by name.
func (s *Server) LACs() []LACProfile {
	var list []LACProfile
	for _, p := range *s.profiles.cur.Load() {
		list = append(list, p.LACProfile)
	}
	return list
}

// sendQueue bounds a tunnel's queue of control messages so that every session
// of a full tunnel can be ended at once.
const sendQueue = 1 << 17

// newProfile checks a profile and makes what is made of it once.
func newProfile(p LACProfile, node string, random io.Reader) (*profile, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	methods, err := authMethods(p.Auth)
	if err != nil {
		return nil, err
	}
	proxy, err := proxyPolicy(p.Proxy)
	if err != nil {
		return nil, err
	}
	name := p.LocalName
	if name == "" {
		name = node
	}
	q := &profile{
		LACProfile: p,
		link: link.Config{
			MRU: p.MRU, Auth: methods, Name: name, EchoInterval: p.EchoInterval, EchoFailures: p.EchoFailures,
			Proxy: proxy,
		},
		tunnel: l2tp.TunnelConfig{
			HostName: name, VendorName: "Culvert", Secret: []byte(p.Secret), Hide: p.HideAVPs,
			AcceptUnknownMandatory: p.AcceptUnknownMandatory, Failover: p.failover(),
			FramingCap: l2tp.FramingSync | l2tp.FramingAsync, BearerCap: l2tp.BearerDigital | l2tp.BearerAnalog,
			Control: l2tp.ControlConfig{Window: p.Window, Hello: p.Hello, SendQueue: sendQueue}, Rand: random,
		},
	}
	if p.LinePattern != "" {
		q.line = regexp.MustCompile(p.LinePattern) // Validate has tried it
	}
	return q, q.link.Validate()
}
