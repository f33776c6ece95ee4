package lns

import (
	"context"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/lac/subscriber"
	"culvert/lns/link"
	"culvert/proto/l2tp"
)

// In its CDN, the LAC is told why PPP ended (RFC 3145).
func TestPPPDisconnectIsTold(t *testing.T) {
	for _, c := range []struct {
		name string
		auth func(aaa.Request) (*aaa.Grant, error)
		end  func(*rig, *rigLAC, *rigCall)
		want string
	}{
		{"subscriber", nil, func(r *rig, _ *rigLAC, c *rigCall) {
			var fx subscriber.Effects
			c.client.Close(r.clock.now, &fx)
			c.effects(&fx)
		}, `normal disconnection (protocol c021), at its peer "user-request"`},
		{"session timeout", func(aaa.Request) (*aaa.Grant, error) { return &aaa.Grant{SessionTimeout: time.Minute}, nil },
			nil, `normal disconnection (protocol c021), at the sender "session-timeout"`},
		{"silent", nil, func(r *rig, _ *rigLAC, _ *rigCall) {
			r.lose = func(toLNS bool, b []byte) bool { return toLNS && b[0]&0x80 == 0 }
		}, `LCP echo timeout (protocol c021) "echo-timeout"`},
		{"operator", nil, func(r *rig, _ *rigLAC, _ *rigCall) {
			r.srv.inline = r.onShards
			if _, err := r.srv.Disconnect(Selector{User: "alice"}, aaa.CauseAdminReset, ""); err != nil {
				r.t.Error(err)
			}
		}, `administrative disconnect "admin-reset"`},
		{"rejected", func(aaa.Request) (*aaa.Grant, error) { return nil, &aaa.RejectError{} },
			nil, `authentication failed (protocol c223), at its peer "auth-rejected"`},
		{"no server", func(aaa.Request) (*aaa.Grant, error) { return nil, aaa.ErrUnavailable },
			nil, `no information "auth-unavailable"`},
		{"LCP unanswered", nil, func(r *rig, l *rigLAC, c *rigCall) {
			r.lose = func(toLNS bool, b []byte) bool { return b[0]&0x80 == 0 }
			c.lcpRequest()
			r.lose = nil
			c.data([]byte{0xff, 3, 0xc0, 0x21, 1, 9, 0, 4}) // begins anew, then says nothing more
			l.flush()
			r.lose = func(toLNS bool, b []byte) bool { return b[0]&0x80 == 0 }
		}, `LCP timeout (protocol c021) "negotiation-failed"`},
		{"nothing of LCP", nil, nil, `no LCP packets (protocol c021) "negotiation-failed"`},
		{"before PPP", nil, func(r *rig, l *rigLAC, _ *rigCall) {}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			r.aaa.decide = c.auth
			l := r.lac(1, "tunnel secret")
			r.until(5*time.Second, "tunnel up", func() bool { return l.up })
			if c.want == "" {
				// The ICCN never comes.
				r.lose = func(toLNS bool, b []byte) bool {
					_, body, _ := l2tp.ParseHeader(b)
					return toLNS && len(body) > 7 && body[7] == byte(l2tp.MessageICCN)
				}
			}
			if c.name == "nothing of LCP" {
				r.lose = func(toLNS bool, b []byte) bool { return toLNS && b[0]&0x80 == 0 }
			}
			call := l.dial("alice", nil)
			if c.end != nil && c.want != "" {
				r.until(5*time.Second, "session up", func() bool { return call.up })
				c.end(r, l, call)
			}
			if c.want == "" {
				r.run(31 * time.Second)
				if call.cdn != nil && call.ppp != nil {
					t.Errorf("the LAC was told %v of PPP", call.ppp)
				}
				if n := r.stats().Downs[CauseSetupTimeout.String()]; n != 1 {
					t.Errorf("causes %v", r.stats().Downs)
				}
				return
			}
			r.until(10*time.Minute, "the call has ended", func() bool { return call.cdn != nil })
			if call.ppp == nil || call.ppp.String() != c.want {
				t.Errorf("the LAC was told %v, want %s", call.ppp, c.want)
			}
		})
	}
}

// Every reason for which a negotiation fails has its code.
func TestPPPReasonsAreComplete(t *testing.T) {
	for r, cause := range linkCauses {
		if _, ok := pppReasons[r]; cause == CauseNegotiationFailed && !ok {
			t.Errorf("nothing is told of %v", r)
		}
	}
	for cause, d := range pppCauses {
		if d.Code > l2tp.DisconnectNoAddress {
			t.Errorf("%v: code %d is none of RFC 3145", cause, d.Code)
		}
	}
	for m, want := range map[link.Method]uint16{
		link.MethodNone: 0, link.MethodPAP: 0xc023, link.MethodCHAP: 0xc223, link.MethodMSCHAPv2: 0xc223, link.MethodEAP: 0xc227,
	} {
		if got := authProtocol(m); got != want {
			t.Errorf("%v is %04x, want %04x", m, got, want)
		}
	}
}

// What a LAC tells of PPP in its CDN is in the session's event and log.
func TestPPPDisconnectOfTheLAC(t *testing.T) {
	r, l, c := oneUp(t, nil)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	events := r.srv.Watch(ctx)
	var fx l2tp.CallEffects
	c.call.Close(l2tp.Result{Code: l2tp.CDNLostCarrier}, &l2tp.PPPDisconnect{
		Code: l2tp.DisconnectEncryption, Direction: l2tp.DirectionLocal, Message: []byte("no \x1b[31mcrypto"),
	}, &fx)
	l.t.Send(r.clock.now, fx.Send, c.call.PeerID(), &l.fx)
	r.run(time.Second)
	e := <-events
	want := `loss of carrier; PPP: encryption refused, at the sender "no \x1b[31mcrypto"`
	if e.Kind != EventSessionDown || e.Cause != "lac-carrier-lost" || e.Detail != want {
		t.Errorf("%s, %s: %s", e.Kind, e.Cause, e.Detail)
	}
}
