package lns

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/proto/l2tp"
)

// badInput is one thing that goes wrong, and all that has to follow from it.
type badInput struct {
	name string
	// do makes it happen, on lac, which has a tunnel that is up.
	do func(b *badRig)
	// log is a part of the line an operator finds; counter the name of what counts it.
	log     string
	counter func(Stats) uint64
	// answer checks what the LAC or the subscriber was told; nil where the RFC asks for silence.
	answer func(b *badRig)
}

// badRig is a rig with a victim, alice, on a LAC of its own, and a LAC that misbehaves.
type badRig struct {
	*rig
	lac  *rigLAC
	call *rigCall // the misbehaving LAC's, where it has one
	sent []l2tp.Message
	log  *bytes.Buffer
}

func dropped(reason string) func(Stats) uint64 {
	return func(s Stats) uint64 { return s.Dropped[reason] }
}
func down(cause Cause) func(Stats) uint64 {
	return func(s Stats) uint64 { return s.Downs[cause.String()] }
}

// inject sends a control message with raw AVPs, as the tunnel's next.
func (b *badRig) inject(tunnel, session, ns uint16, avps []byte) {
	d := l2tp.ControlHeader(tunnel, session, ns, b.lac.t.Nr()).Append(nil)
	d = append(d, avps...)
	l2tp.PutLength(d)
	b.plane.Inject(0, b.lac.address, d)
}

// avp encodes one AVP.
func avp(mandatory bool, vendor, attribute uint16, value ...byte) []byte {
	flags := uint16(6 + len(value))
	if mandatory {
		flags |= 0x8000
	}
	b := binary.BigEndian.AppendUint16(nil, flags)
	b = binary.BigEndian.AppendUint16(b, vendor)
	return append(binary.BigEndian.AppendUint16(b, attribute), value...)
}

// told says whether the LNS has sent the LAC a message of the type with that result.
func (b *badRig) told(t l2tp.MessageType, code l2tp.ResultCode, errorCode l2tp.ErrorCode) {
	b.t.Helper()
	for _, m := range b.sent {
		if m.Type == t && m.Result.Code == code && m.Result.Error == errorCode {
			return
		}
	}
	b.t.Errorf("the LAC was not told %v %d/%d but %v", t, code, errorCode, b.sent)
}

func icrqAVPs(more ...[]byte) []byte {
	list := [][]byte{avp(true, 0, 0, 0, 10), avp(true, 0, 14, 0, 77), avp(true, 0, 15, 0, 0, 0, 77)}
	return slices.Concat(append(list, more...)...)
}

var badInputs = []badInput{
	{
		name: "wrong tunnel secret",
		do:   func(b *badRig) { b.lac = b.rig.lac(3, "wrong") },
		log:  "tunnel down", counter: func(s Stats) uint64 { return s.TunnelsFailed },
		answer: func(b *badRig) {
			if b.lac.down == nil {
				b.t.Error("the tunnel lives")
			}
		},
	},
	{
		name: "unknown LAC",
		do: func(b *badRig) {
			l := b.rig.lac(4, "tunnel secret")
			delete(b.lacs, l.address)
			l.address = netip.MustParseAddrPort("203.0.113.4:1701")
			b.lacs[l.address], b.lac = l, l
		},
		log: "unknown LAC; if it is a customer's, add a LAC profile", counter: dropped("unknown-lac"),
		answer: func(b *badRig) { b.told(l2tp.MessageStopCCN, l2tp.StopNotAuthorized, 0) },
	},
	{
		name: "malformed header",
		do: func(b *badRig) {
			b.plane.Inject(0, b.lac.address, []byte{0xc8, 2, 0xff, 0xff, 0, 1, 0, 0, 0, 0, 0, 0})
		},
		log: "malformed datagram", counter: dropped("malformed"),
	},
	{
		name: "malformed AVP in a session's message",
		do: func(b *badRig) {
			// An Assigned Session ID of one octet.
			b.inject(b.lac.t.PeerID(), 0, b.lac.t.Ns(), slices.Concat(avp(true, 0, 0, 0, 10), avp(true, 0, 14, 7), avp(true, 0, 15, 0, 0, 0, 1)))
		},
		log: "bad message", counter: dropped("bad-message"),
		answer: func(b *badRig) {
			if b.lac.down != nil {
				b.t.Errorf("a bad ICRQ ended the tunnel: %+v", b.lac.down)
			}
		},
	},
	{
		name: "unknown mandatory AVP in an ICRQ",
		do: func(b *badRig) {
			b.inject(b.lac.t.PeerID(), 0, b.lac.t.Ns(), icrqAVPs(avp(true, 9, 999, 1, 2, 3)))
		},
		log: "bad message", counter: dropped("bad-message"),
		answer: func(b *badRig) { b.told(l2tp.MessageCDN, l2tp.ResultGeneralError, l2tp.ErrorUnknownAVP) },
	},
	{
		name: "malformed PPP option",
		do: func(b *badRig) {
			b.call = b.lac.dial("mallory", nil)
			b.until(5*time.Second, "mallory up", func() bool { return b.call.up })
			// An MRU option that says it has 200 octets, in LCP and in IPCP.
			b.call.data([]byte{0xff, 3, 0xc0, 0x21, 1, 1, 0, 8, 1, 200, 5, 0})
			b.call.data([]byte{0xff, 3, 0x80, 0x21, 1, 1, 0, 8, 3, 200, 5, 0})
			b.call.data([]byte{0xff, 3, 0xc0})
		},
		counter: func(s Stats) uint64 { return s.SessionsUp - 1 },
		answer: func(b *badRig) {
			if b.session("mallory") == nil {
				b.t.Error("the subscriber's own session ended by a frame that is to be dropped")
			}
		},
	},
	{
		name: "rejected by RADIUS",
		do: func(b *badRig) {
			b.aaa.decide = func(aaa.Request) (*aaa.Grant, error) { return nil, &aaa.RejectError{Message: "no"} }
			b.call = b.lac.dial("mallory", nil)
		},
		log: "cause=auth-rejected", counter: down(CauseAuthRejected),
		answer: func(b *badRig) { b.told(l2tp.MessageCDN, l2tp.CDNAdministrative, 0) },
	},
	{
		name: "full pool",
		do:   func(b *badRig) { b.aaa.full = true; b.call = b.lac.dial("mallory", nil) },
		log:  "pool has no free address", counter: down(CauseNoAddress),
		answer: func(b *badRig) { b.told(l2tp.MessageCDN, l2tp.ResultGeneralError, l2tp.ErrorTryAnother) },
	},
	{
		name: "address already in use",
		do: func(b *badRig) {
			a := b.session("alice").address
			b.aaa.decide = func(aaa.Request) (*aaa.Grant, error) { return &aaa.Grant{Address: a}, nil }
			b.call = b.lac.dial("mallory", nil)
		},
		log: "is in use by alice", counter: down(CauseAddressInUse),
		answer: func(b *badRig) { b.told(l2tp.MessageCDN, l2tp.CDNAdministrative, 0) },
	},
	{
		name: "duplicate SCCRQ",
		do: func(b *badRig) {
			l := b.rig.lac(5, "tunnel secret")
			first := slices.Clone(l.fx.Packets[0])
			for range 3 {
				b.plane.Inject(0, l.address, first)
			}
			b.until(5*time.Second, "tunnel up", func() bool { return l.up })
			b.plane.Inject(0, l.address, first)
			b.lac = l
		},
		counter: func(s Stats) uint64 { return s.TunnelsUp - 2 },
		answer: func(b *badRig) {
			if n, _, _ := b.counts(); n != 3 {
				b.t.Errorf("%d tunnels, want 3", n)
			}
		},
	},
	{
		name: "duplicate ICRQ",
		do: func(b *badRig) {
			b.call = b.lac.dial("mallory", nil)
			b.until(5*time.Second, "mallory up", func() bool { return b.call.up })
			again := &l2tp.Message{Type: l2tp.MessageICRQ, AssignedSessionID: 1, CallSerial: 1}
			again.Set(l2tp.AVPAssignedSessionID, l2tp.AVPCallSerial)
			b.lac.t.Send(b.clock.now, again, 0, &b.lac.fx)
		},
		log: "the same call once more", counter: dropped("duplicate-icrq"),
		answer: func(b *badRig) {
			if b.session("mallory") == nil {
				b.t.Error("a duplicate ICRQ ended the call")
			}
		},
	},
	{
		name: "no such session, control",
		do: func(b *badRig) {
			iccn := &l2tp.Message{Type: l2tp.MessageICCN, TxSpeed: 1, FramingType: 1}
			iccn.Set(l2tp.AVPTxSpeed, l2tp.AVPFramingType)
			b.lac.t.Send(b.clock.now, iccn, 4711, &b.lac.fx)
		},
		log: "message for no session", counter: dropped("no-session"),
	},
	{
		name: "no such session, data",
		do: func(b *badRig) {
			id := b.lac.t.PeerID()
			b.plane.Inject(0, b.lac.address, []byte{0, 2, byte(id >> 8), byte(id), 0x12, 0x34, 0xff, 3, 0xc0, 0x21, 9, 1, 0, 4})
		},
		log: "data for no session", counter: dropped("no-session"),
	},
	{
		name: "no such tunnel",
		do:   func(b *badRig) { b.inject(0x7777, 0, 0, avp(true, 0, 0, 0, 6)) },
		log:  "control message for no tunnel", counter: dropped("no-tunnel"),
	},
	{
		name: "another LAC's tunnel",
		do: func(b *badRig) {
			b.inject(b.lacs[netip.MustParseAddrPort("198.51.100.1:1701")].t.PeerID(), 0, 3, avp(true, 0, 0, 0, 6))
		},
		log: "did not come from the tunnel's LAC", counter: dropped("wrong-source"),
	},
}

func TestBadInput(t *testing.T) {
	for _, c := range badInputs {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			r := newRig(t, func(cfg *Config) {
				cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			})
			victim := r.lac(1, "tunnel secret")
			b := &badRig{rig: r, lac: r.lac(2, "tunnel secret"), log: &log}
			r.until(5*time.Second, "tunnels up", func() bool { return victim.up && b.lac.up })
			alice := victim.dial("alice", nil)
			r.until(5*time.Second, "alice up", func() bool { return alice.up })
			r.lose = func(toLNS bool, d []byte) bool {
				h, payload, err := l2tp.ParseHeader(d)
				if !toLNS && err == nil && h.Control && len(payload) > 0 {
					var m l2tp.Message
					_ = l2tp.ParseMessage(payload, []byte("tunnel secret"), &m)
					b.sent = append(b.sent, m.Clone())
				}
				return false
			}
			before := c.counter(r.stats())
			log.Reset()
			c.do(b)
			r.run(3 * time.Second)
			if after := c.counter(r.stats()); after == before {
				t.Error("nothing was counted")
			}
			if !strings.Contains(log.String(), c.log) {
				t.Errorf("the log does not say %q:\n%s", c.log, log.String())
			}
			if c.answer != nil {
				c.answer(b)
			}
			// Nobody else has noticed.
			r.core = nil
			alice.ping(alice.client.Address(), 100)
			r.run(time.Second)
			if alice.closed || victim.down != nil || len(r.core) != 1 {
				t.Errorf("alice's session: closed %v, tunnel down %v, %d packets through", alice.closed, victim.down, len(r.core))
			}
		})
	}
}
