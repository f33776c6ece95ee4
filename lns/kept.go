package lns

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"culvert/aaa"
	"culvert/lns/link"
	"culvert/proto/l2tp"
	"culvert/sessiondb"
)

// The versions of what State holds. A session's of version 1 was an accounting record and
// nothing more, which is enough to close the session but not to go on with it;
// tunnels had none then.
const (
	sessionStateClosable = 1
	sessionStateOldest   = 2
	sessionStateVersion  = 2 + nextVersion
	tunnelStateOldest    = 1
	tunnelStateVersion   = 1 + nextVersion
)

// errClosable says that a session's state is of a version that this
// program can only close.
var errClosable = errors.New("the session was kept by a version of lnsd that could not go on with sessions")

// keptSession is what State holds of a session that is up.
type keptSession struct {
	// usage is the accounting record to close the session with; identity,
	// class, routes and address are taken from it too.
	usage []byte
	link  link.Saved
	// Of the grant; 0 where it says nothing.
	session, idle, interim time.Duration
	// sequenced says that the LAC requires sequence numbers in data messages.
	sequenced bool
	// facts has a bit for each thing of callFacts that lasts.
	facts uint8
	clock keptClock
	// idleOctets is what had been counted when the idle timer was set.
	idleOctets uint64
	// said and renamed are as in terms.
	said    string
	renamed bool
}

// keptClock holds moments on the clock of the boot that they were kept in; at is when that was.
type keptClock struct {
	boot               uint64
	at, since          time.Duration
	nextInterim, check time.Duration // 0: none; check is the idle timer's
	// held is since when the session is held, 0 when it is not, or not known yet: see hold.go.
	held time.Duration
}

// The tags of a session's state.
const (
	tagUsage = iota + 1
	tagMethod
	tagLocal
	tagPeer
	tagDNS1
	tagDNS2
	tagNBNS1
	tagNBNS2
	tagMTU
	tagMagic
	tagPeerMRU
	tagACCM
	tagACFC
	tagPFC
	tagAuthID
	tagSessionTimeout
	tagIdleTimeout
	tagInterim
	tagSequenced
	tagBoot
	tagAt
	tagSince
	tagNextInterim
	tagIdleCheck
	tagIdleOctets
	tagCallFacts
	tagSaid
	tagHeld
)

// append encodes s in the newest version.
func (s *keptSession) append(b []byte) []byte {
	b = appendOctets(appendNumber(append(b, sessionStateVersion), tagNext, nextVersion), tagUsage, s.usage)
	l, n := &s.link, &s.link.Network
	b = appendNumber(b, tagMethod, uint64(l.Method))
	b = appendIP(appendIP(b, tagLocal, n.Local), tagPeer, n.Peer)
	b = appendIP(appendIP(b, tagDNS1, n.DNS[0]), tagDNS2, n.DNS[1])
	b = appendIP(appendIP(b, tagNBNS1, n.NBNS[0]), tagNBNS2, n.NBNS[1])
	b = appendNumber(b, tagMTU, uint64(n.MTU))
	b = appendNumber(b, tagMagic, uint64(l.Magic))
	b = appendNumber(b, tagPeerMRU, uint64(l.PeerMRU))
	b = appendNumber(b, tagACCM, uint64(l.PeerACCM))
	b = appendFlag(appendFlag(b, tagACFC, l.ACFC), tagPFC, l.PFC)
	b = appendNumber(b, tagAuthID, uint64(l.AuthID))
	b = appendTime(b, tagSessionTimeout, s.session)
	b = appendTime(b, tagIdleTimeout, s.idle)
	b = appendTime(b, tagInterim, s.interim)
	b = appendFlag(b, tagSequenced, s.sequenced)
	b = appendNumber(b, tagBoot, s.clock.boot)
	b = appendTime(appendTime(b, tagAt, s.clock.at), tagSince, s.clock.since)
	b = appendTime(appendTime(b, tagNextInterim, s.clock.nextInterim), tagIdleCheck, s.clock.check)
	b = appendNumber(appendNumber(b, tagIdleOctets, s.idleOctets), tagCallFacts, uint64(s.facts))
	b = appendTime(b, tagHeld, s.clock.held)
	if s.renamed {
		// Also when it is empty: that is not the same as not renamed.
		b = append(binary.AppendUvarint(append(b, tagSaid<<1|1), uint64(len(s.said))), s.said...)
	}
	return b
}

// parseKeptSession reads what append has written, now or in an earlier version. The
// error is errClosable, a *NewerStateError or a sessiondb.ErrCorrupt. s.usage aliases b.
func parseKeptSession(b []byte) (s keptSession, err error) {
	if len(b) > 0 && b[0] == sessionStateClosable {
		s.usage = b // which has that version itself
		return s, errClosable
	}
	f := fieldsOf(b, sessionStateOldest, sessionStateVersion)
	for f.next() {
		switch {
		case f.tag == tagUsage:
			s.usage = f.octets()
		case f.tag <= tagAuthID:
			s.linkField(&f)
		default:
			s.sessionField(&f)
		}
	}
	return s, f.err
}

func (s *keptSession) linkField(f *fields) {
	l, n := &s.link, &s.link.Network
	switch f.tag {
	case tagMethod:
		l.Method = link.Method(f.number(math.MaxUint8))
	case tagLocal:
		n.Local = f.ip()
	case tagPeer:
		n.Peer = f.ip()
	case tagDNS1, tagDNS2:
		n.DNS[f.tag-tagDNS1] = f.ip()
	case tagNBNS1, tagNBNS2:
		n.NBNS[f.tag-tagNBNS1] = f.ip()
	case tagMTU:
		n.MTU = uint16(f.number(math.MaxUint16))
	case tagMagic:
		l.Magic = uint32(f.number(math.MaxUint32))
	case tagPeerMRU:
		l.PeerMRU = uint16(f.number(math.MaxUint16))
	case tagACCM:
		l.PeerACCM = uint32(f.number(math.MaxUint32))
	case tagACFC:
		l.ACFC = f.flag()
	case tagPFC:
		l.PFC = f.flag()
	case tagAuthID:
		l.AuthID = uint8(f.number(math.MaxUint8))
	}
}

func (s *keptSession) sessionField(f *fields) {
	switch f.tag {
	case tagSessionTimeout:
		s.session = f.time()
	case tagIdleTimeout:
		s.idle = f.time()
	case tagInterim:
		s.interim = f.time()
	case tagSequenced:
		s.sequenced = f.flag()
	case tagBoot:
		s.clock.boot = f.number(math.MaxUint64)
	case tagAt:
		s.clock.at = f.time()
	case tagSince:
		s.clock.since = f.time()
	case tagNextInterim:
		s.clock.nextInterim = f.time()
	case tagIdleCheck:
		s.clock.check = f.time()
	case tagIdleOctets:
		s.idleOctets = f.number(math.MaxUint64)
	case tagCallFacts:
		s.facts = uint8(f.number(math.MaxUint8))
	case tagHeld:
		s.clock.held = f.time()
	case tagSaid:
		s.said, s.renamed = string(f.octets()), true
	}
}

// terms are those of the session, the accounting record's included.
func (s *keptSession) terms(u *aaa.Usage) *terms {
	said := u.Identity.User
	if s.renamed {
		said = s.said
	}
	g := aaa.Grant{Routes: u.Routes, Class: u.Class, SessionTimeout: s.session, IdleTimeout: s.idle, Interim: s.interim}
	return termsOf(&g, u.Identity.User, said)
}

// The tags of a tunnel's state.
const (
	tagUna = iota + 1
	tagVendor
	tagSA
	tagFailover
	tagRecoveryTime
	tagBehind
	tagLast
	tagFresh
	tagTunnelHeld
	tagTunnelBoot
	tagTunnelAt
	tagTunnelHeldAt
)

// The bits of tagFailover.
const (
	keptControl = 1 << iota
	keptData
)

// keptTunnel is what State holds of a tunnel.
type keptTunnel struct {
	// una is the lowest number that the LAC had not acknowledged.
	una    uint16
	vendor string
	// sa is the SA that the tunnel ran in, nil for one in clear.
	sa *SA
	// failover is what was negotiated (RFC 4951). behind says that the numbers are older than what
	// the LAC has seen, last that nothing came after them: the node has given the tunnel away.
	failover     l2tp.Failover
	behind, last bool
	// fresh is the lowest session id that was never given; 0 where a version did not keep it.
	fresh uint16
	// held is since when the tunnel is held, by the wall clock, in ns; 0 when it is not. clock says the same of a clock that does
	// not jump, and nothing else; its held is 0 where a version before has kept the tunnel.
	held  int64
	clock keptClock
}

func (t keptTunnel) append(b []byte) []byte {
	b = appendNumber(append(b, tunnelStateVersion), tagNext, nextVersion)
	b = appendOctets(appendNumber(b, tagUna, uint64(t.una)), tagVendor, t.vendor)
	if f := t.failover; f.Offered() {
		var bits uint64
		if f.Control {
			bits |= keptControl
		}
		if f.Data {
			bits |= keptData
		}
		b = appendTime(appendNumber(b, tagFailover, bits), tagRecoveryTime, f.RecoveryTime)
	}
	b = appendFlag(appendFlag(b, tagBehind, t.behind), tagLast, t.last)
	b = appendNumber(appendNumber(b, tagFresh, uint64(t.fresh)), tagTunnelHeld, uint64(t.held))
	if c := &t.clock; c.held != 0 {
		b = appendTime(appendTime(appendNumber(b, tagTunnelBoot, c.boot), tagTunnelAt, c.at), tagTunnelHeldAt, c.held)
	}
	if t.sa == nil {
		return b
	}
	sa, _ := json.Marshal(t.sa) // of numbers, texts and addresses: never fails
	return appendOctets(b, tagSA, sa)
}

// parseKeptTunnel reads what append has written. Its errors are those of fieldsOf.
func parseKeptTunnel(b []byte) (t keptTunnel, err error) {
	f := fieldsOf(b, tunnelStateOldest, tunnelStateVersion)
	for f.next() {
		switch f.tag {
		case tagUna:
			t.una = uint16(f.number(math.MaxUint16))
		case tagVendor:
			t.vendor = string(f.octets())
		case tagFailover:
			bits := f.number(math.MaxUint8)
			t.failover.Control, t.failover.Data = bits&keptControl != 0, bits&keptData != 0
		case tagRecoveryTime:
			t.failover.RecoveryTime = f.time()
		case tagBehind:
			t.behind = f.flag()
		case tagLast:
			t.last = f.flag()
		case tagFresh:
			t.fresh = uint16(f.number(math.MaxUint16))
		case tagTunnelHeld:
			t.held = int64(f.number(math.MaxInt64))
		case tagTunnelBoot:
			t.clock.boot = f.number(math.MaxUint64)
		case tagTunnelAt:
			t.clock.at = f.time()
		case tagTunnelHeldAt:
			t.clock.held = f.time()
		case tagSA:
			t.sa = new(SA)
			if json.Unmarshal(f.octets(), t.sa) != nil {
				f.fail("is not the SA it should be")
			}
		}
	}
	return t, f.err
}

// unreadable says which record cannot be read, and what to do.
func unreadable(what string, key fmt.Stringer, err error) error {
	var newer *NewerStateError
	if errors.As(err, &newer) {
		return fmt.Errorf("%s %v: %w", what, key, err)
	}
	if !errors.Is(err, sessiondb.ErrCorrupt) {
		err = fmt.Errorf("%w: %w", sessiondb.ErrCorrupt, err)
	}
	return fmt.Errorf("%s %v: %w; nothing was changed: keep a copy of the journal for its makers, and move its folder away to begin without these sessions", what, key, err)
}
