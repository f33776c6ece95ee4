package ipsec

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"syscall"
	"time"

	"culvert/lns"
	"culvert/lns/ipsec/early"
	"culvert/lns/ipsec/vici"
)

// run serves charon whenever it is there.
func (m *Manager) run(ctx context.Context) {
	defer m.keepEarly(false)
	for {
		m.takeProfiles()
		err := m.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		m.setConnected(false, "")
		m.complain(err)
		pause := time.NewTimer(m.cfg.Retry)
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				pause.Stop()
				return
			case <-m.wake:
				m.takeProfiles() // the wall needs no charon
			case <-pause.C:
				waiting = false
			}
		}
	}
}

// takeProfiles makes the newest profiles those in force, as far as that goes without charon.
func (m *Manager) takeProfiles() {
	m.mu.Lock()
	changed, list := m.changed, m.profiles
	m.changed = false
	m.mu.Unlock()
	if changed {
		m.loading, m.wallSet = list, false
		m.ring = newKeyring(&m.cfg, m.loading, m.ownAddrs())
		m.keepEarly(slices.ContainsFunc(m.loading, takesIKEv1))
	}
	if !m.wallSet {
		m.raiseWall()
	}
}

// takesIKEv1 says whether LACs of a profile may use IKEv1, whose renewals of keys lose packets by themselves; see package early.
func takesIKEv1(p lns.LACProfile) bool {
	return p.IPsecMode() != lns.IPsecNever && p.IPsec.Version != 2
}

// keepEarly begins or ends to see to packets that come before their keys.
func (m *Manager) keepEarly(on bool) {
	if on == (m.early != nil) {
		return
	}
	if !on {
		if err := m.early.Close(); err != nil {
			m.cfg.Log.Warn("not closed cleanly", "part", "early ESP packets", "err", err)
		}
		m.early = nil
		return
	}
	keeper, err := m.kernel.Early(early.Config{To: m.cfg.called(), Log: m.cfg.Log, Given: &m.stats.early})
	if err != nil {
		m.cfg.Log.Warn("LACs with IKEv1 lose some packets whenever they renew keys: those that come before charon has installed them", "err", err)
		return
	}
	m.early = keeper
}

// used says whether any profile in force uses IPsec.
func (m *Manager) used() bool {
	return slices.ContainsFunc(m.loading, func(p lns.LACProfile) bool { return p.IPsecMode() != lns.IPsecNever })
}

// serve connects to charon, makes it equal to the profiles, and follows it until the connection ends.
func (m *Manager) serve(ctx context.Context) error {
	if !m.used() && m.cleaned {
		return nil // nobody wants it, and nothing of an earlier life is left there
	}
	cmd, err := vici.Dial(ctx, m.cfg.Socket)
	if err != nil {
		return err
	}
	defer cmd.Close()
	ev, err := vici.Dial(ctx, m.cfg.Socket)
	if err != nil {
		return err
	}
	defer ev.Close()
	s := &session{m: m, cmd: cmd}
	if err := s.greet(ctx); err != nil {
		return err
	}
	if err := ev.Register(ctx, "ike-updown", "ike-rekey", "ike-update", "child-updown", "child-rekey", "log"); err != nil {
		return err
	}
	events := make(chan arrived, 4096)
	readCtx, stop := context.WithCancel(ctx)
	defer stop()
	go read(readCtx, ev, events)
	if err := s.begin(ctx); err != nil {
		return err
	}
	return s.follow(ctx, events)
}

// arrived is one event, or the end of events.
type arrived struct {
	name string
	body vici.Section
	err  error
}

func read(ctx context.Context, c *vici.Conn, to chan<- arrived) {
	for {
		name, body, err := c.Next(ctx)
		select {
		case to <- arrived{name, body, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// complain says once that charon is away, why, and what to do.
func (m *Manager) complain(err error) {
	if err == nil || err.Error() == m.away || !m.used() {
		return
	}
	m.away = err.Error()
	mend := "start strongSwan (systemctl enable --now strongswan); what it needs stands in ops/strongswan"
	switch {
	case errors.Is(err, fs.ErrPermission):
		mend = "let lnsd open the socket: charon.plugins.vici.socket and the group of lnsd, see ops/strongswan"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
	default:
		mend = "see charon's log; the connection is tried again"
	}
	m.cfg.Log.Error("charon is away: LACs that need IPsec cannot set up SAs until it is back; SAs that there are live on, and so do LACs without IPsec",
		"socket", m.cfg.Socket, "err", err, "mend", mend)
}
