package lns

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"culvert/proto/l2tp"
)

// fakeIPsec is the key exchange of a rig: SAs come and go as the test says.
type fakeIPsec struct {
	sas        map[uint32]SA
	unmarked   bool // as on a kernel without SO_RCVMARK
	handler    SAHandler
	applied    []LACProfile
	conflict   error
	terminated []uint32
}

func (f *fakeIPsec) Notify(h SAHandler)                   { f.handler = h }
func (f *fakeIPsec) Apply(p []LACProfile)                 { f.applied = p }
func (f *fakeIPsec) Check(LACProfile, []LACProfile) error { return f.conflict }
func (f *fakeIPsec) Marks() bool                          { return !f.unmarked }
func (f *fakeIPsec) Terminate(m uint32, _ string)         { f.terminated = append(f.terminated, m) }

func (f *fakeIPsec) Lookup(mark uint32) (SA, bool) {
	sa, ok := f.sas[mark]
	return sa, ok && mark != 0
}

func (f *fakeIPsec) LookupPeer(a netip.Addr) (SA, bool) {
	for _, sa := range f.sas {
		if sa.Remote.Addr() == a && f.unmarked {
			sa.Mark = 0
			return sa, true
		}
	}
	return SA{}, false
}

func (f *fakeIPsec) Usage(context.Context, uint32) (SAUsage, error) { return SAUsage{}, ErrNoSA }

// up makes an SA of a LAC's, or tells of one that has changed.
func (f *fakeIPsec) up(sa SA) SA {
	if sa.ESP.Encryption == "" {
		sa.ESP = ESP{Encryption: "AES_GCM_16", KeyBits: 256}
	}
	if sa.Since.IsZero() {
		sa.Since = time.Unix(int64(len(f.sas)), 0)
	}
	f.sas[sa.Mark] = sa
	if f.unmarked {
		sa.Mark = 0
	}
	f.handler.SAUp(sa)
	return sa
}

func (f *fakeIPsec) gone(mark uint32, end SAEnd) {
	sa := f.sas[mark]
	delete(f.sas, mark)
	if f.unmarked {
		sa.Mark = 0
	}
	f.handler.SAGone(sa, end)
}

// ipsecRig is a rig with a key exchange, and what the LNS has logged.
type ipsecRig struct {
	*rig
	ike *fakeIPsec
	log *bytes.Buffer
}

// newIPsecRig has profiles a (198.51.100.0/28) and b (198.51.100.16/28), which require IPsec, either
// (.32/28), which prefers it, and clear (.48/28), which never uses it.
func newIPsecRig(t *testing.T, change func(*Config, *fakeIPsec)) *ipsecRig {
	t.Helper()
	x := &ipsecRig{ike: &fakeIPsec{sas: map[uint32]SA{}}, log: &bytes.Buffer{}}
	x.rig = newRig(t, func(c *Config) {
		c.IPsec, c.LACs = x.ike, nil
		c.Logger = slog.New(slog.NewTextHandler(x.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		for _, p := range []struct {
			name, prefix string
			mode         IPsecMode
		}{
			{"a", "198.51.100.0/28", IPsecRequired}, {"b", "198.51.100.16/28", IPsecRequired},
			{"either", "198.51.100.32/28", IPsecPreferred}, {"clear", "198.51.100.48/28", IPsecNever},
		} {
			c.LACs = append(c.LACs, testProfile(p.name, func(l *LACProfile) {
				l.Prefixes, l.Secret = []netip.Prefix{netip.MustParsePrefix(p.prefix)}, "tunnel secret"
				l.IPsec = ipsecProfile(p.mode)
			}))
		}
		if change != nil {
			change(c, x.ike)
		}
	})
	x.srv.inline = x.onShards
	x.secured = map[source]*rigLAC{}
	return x
}

func ipsecProfile(mode IPsecMode) *IPsecProfile {
	p := DefaultIPsecProfile()
	p.Mode, p.PSK = mode, "key"
	return &p
}

// lacIn has LAC n open a tunnel through the SA of a mark, or in clear.
func (x *ipsecRig) lacIn(n byte, mark uint32) *rigLAC {
	c := &l2tp.TunnelConfig{
		HostName: "lac", VendorName: "test", Secret: []byte("tunnel secret"), Rand: rand.NewChaCha8([32]byte{2}),
	}
	address := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, n}), 1701)
	// LACs behind one NAT know nothing of each other, and may choose the same id.
	l := newLAC(x.rig, address, uint16(n), c)
	x.through(l, mark)
	return l
}

// through has a LAC send through the SA of a mark from now on.
func (x *ipsecRig) through(l *rigLAC, mark uint32) {
	delete(x.secured, source{l.address, l.mark})
	if l.mark = mark; mark == 0 || x.ike.unmarked {
		l.mark = 0
		x.lacs[l.address] = l
		return
	}
	x.secured[source{l.address, mark}] = l
}

// sa makes the SA of LAC n, for a profile.
func (x *ipsecRig) sa(n byte, mark uint32, profile, identity string) SA {
	return x.ike.up(SA{
		Mark: mark, Profile: profile, Identity: identity,
		Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, n}), 4500),
	})
}

// secure has LAC n come through its SA, with one subscriber.
func (x *ipsecRig) secure(n byte, mark uint32, profile, user string) (*rigLAC, *rigCall) {
	x.t.Helper()
	x.sa(n, mark, profile, user+"'s LAC")
	l := x.lacIn(n, mark)
	x.until(5*time.Second, "tunnel up", func() bool { return l.up })
	return l, x.call(l, user)
}

func (x *ipsecRig) call(l *rigLAC, user string) *rigCall {
	x.t.Helper()
	c := l.dial(user, nil)
	x.until(5*time.Second, user+"'s session up", func() bool { return c.up && x.session(user) != nil && x.session(user).state == stateUp })
	return c
}

// flows says whether a packet each way arrives.
func (x *ipsecRig) flows(c *rigCall) bool {
	x.t.Helper()
	core, packets := len(x.core), len(c.packets)
	c.ping(c.client.Address(), 100)
	x.plane.InjectCore(ipPacket(netip.MustParseAddr("203.0.113.5"), c.client.Address(), 200))
	x.run(time.Second)
	return len(x.core) == core+1 && len(c.packets) == packets+1
}

// stopCCN is a StopCCN as a LAC's next message would be.
func stopCCN(l *rigLAC) []byte {
	m := &l2tp.Message{Type: l2tp.MessageStopCCN, AssignedTunnelID: l.t.LocalID(), Result: l2tp.Result{Code: 1}}
	m.Set(l2tp.AVPAssignedTunnelID, l2tp.AVPResultCode)
	b := m.Append(l2tp.ControlHeader(l.t.PeerID(), 0, l.t.Ns(), l.t.Nr()).Append(nil))
	l2tp.PutLength(b)
	return b
}

// packetOf is a subscriber's packet as its LAC would send it.
func packetOf(c *rigCall) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0, 2}, c.lac.t.PeerID())
	b = binary.BigEndian.AppendUint16(b, c.call.PeerID())
	b = append(b, 0xff, 3, 0, 0x21)
	return append(b, ipPacket(c.client.Address(), netip.MustParseAddr("203.0.113.5"), 100)...)
}

// tunnelOf is what an operator sees of a LAC's tunnel.
func (x *ipsecRig) tunnelOf(l *rigLAC) TunnelInfo {
	x.t.Helper()
	for _, i := range x.srv.Tunnels() {
		if i.ID == l.t.PeerID() {
			return i
		}
	}
	x.t.Fatal("the LAC has no tunnel")
	return TunnelInfo{}
}
