package lns

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"culvert/proto/l2tp"
)

// LACs hide what they like, and set and clear M bits as they like.
func TestQuirk08HiddenAVPs(t *testing.T) {
	flip := func(b []byte) []byte {
		b = slices.Clone(b)
		eachAVP(b, func(a []byte) { a[0] ^= 0x80 })
		return b
	}
	for name, c := range map[string]struct {
		hide   bool
		mangle func([]byte) []byte
	}{
		"hidden": {true, nil}, "M bits the other way round": {false, flip}, "both": {true, flip},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			w := watchWire(r)
			r.mangle = c.mangle
			cfg := lacConfig()
			cfg.Hide = c.hide
			l := r.lacWith("198.51.100.1:1701", cfg)
			r.until(5*time.Second, "tunnel up", func() bool { return l.up })
			l.upCall(r, "alice", func(m *l2tp.Message) { m.CallingNumber = []byte("0800123") })
			if got := r.aaa.reqs[0].Identity.CallingStation; got != "0800123" {
				t.Errorf("AAA was told the calling number %q", got)
			}
			for _, m := range w.toLNS {
				if m.m.Type == l2tp.MessageICRQ && bytes.Contains(m.raw, []byte("0800123")) == c.hide {
					t.Errorf("on the wire the number can be read: %v", !c.hide)
				}
			}
		})
	}
	// A wrong length is a fault all the same, of the session alone.
	r, l, w := tunnelUp(t, nil)
	r.mangle = appendAVPs(l2tp.MessageICRQ, avp(true, 0, l2tp.AVPBearerType.Attribute(), 1))
	c := l.dial("alice", nil)
	r.until(5*time.Second, "ended", func() bool { return len(w.told(l2tp.MessageCDN)) > 0 })
	if l.down != nil || c.up {
		t.Errorf("tunnel %+v, session up %v", l.down, c.up)
	}
}

// vendors are those whose AVPs LACs are known to send.
var vendors = []uint16{3561, 9, 529, 2352}

// What a LAC says about itself in AVPs of its vendor is skipped; one that must be
// understood ends what RFC 2661 section 4.1 says, unless the profile knows better.
func TestQuirk09VendorAVPs(t *testing.T) {
	for _, vendor := range vendors {
		for _, c := range []struct {
			in                l2tp.MessageType
			mandatory, accept bool
			tunnel, session   bool // whether it comes up
		}{
			{l2tp.MessageSCCRQ, false, false, true, true},
			{l2tp.MessageICRQ, false, false, true, true},
			{l2tp.MessageICCN, false, false, true, true},
			{l2tp.MessageSCCRQ, true, false, false, false},
			{l2tp.MessageICRQ, true, false, true, false},
			{l2tp.MessageICCN, true, false, true, false},
			{l2tp.MessageSCCCN, false, false, true, true},
			{l2tp.MessageSCCCN, true, false, false, false},
			{l2tp.MessageSCCCN, true, true, true, true},
			{l2tp.MessageSCCRQ, true, true, true, true},
			{l2tp.MessageICRQ, true, true, true, true},
			{l2tp.MessageICCN, true, true, true, true},
		} {
			r := newRig(t, func(cfg *Config) { cfg.LACs[0].AcceptUnknownMandatory = c.accept })
			w := watchWire(r)
			r.mangle = appendAVPs(c.in, slices.Concat(avp(c.mandatory, vendor, 200, 1, 2, 3), avp(c.mandatory, vendor, 201)))
			l := r.lac(1, "tunnel secret")
			r.until(10*time.Second, "decided", func() bool { return l.up || l.down != nil })
			r.run(time.Second) // the LAC counts its tunnel as up before its SCCCN is judged
			if l.up = l.up && l.down == nil; l.up != c.tunnel {
				t.Errorf("vendor %d in %v: tunnel up %v, want %v", vendor, c.in, l.up, c.tunnel)
			}
			if !c.tunnel {
				if stop := w.told(l2tp.MessageStopCCN); len(stop) == 0 || stop[0].Result.Error != l2tp.ErrorUnknownAVP {
					t.Errorf("vendor %d in %v: the LAC was told %v", vendor, c.in, stop)
				}
				continue
			}
			call := l.dial("alice", nil)
			r.until(10*time.Second, "decided", func() bool { return call.up || call.cdn != nil })
			if call.up != c.session || l.down != nil {
				t.Errorf("vendor %d in %v: session up %v, want %v; tunnel %+v", vendor, c.in, call.up, c.session, l.down)
			}
			switch {
			case c.session && r.aaa.reqs[0].Identity.CallingStation != "0123":
				t.Errorf("vendor %d in %v: a known AVP got lost", vendor, c.in)
			case !c.session && (call.cdn.Code != l2tp.ResultGeneralError || call.cdn.Error != l2tp.ErrorUnknownAVP):
				t.Errorf("vendor %d in %v: the LAC was told %v", vendor, c.in, call.cdn)
			}
		}
	}
}
