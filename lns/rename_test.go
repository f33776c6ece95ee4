package lns

import (
	"math/rand/v2"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/lac/subscriber"
)

// redialPPP begins the PPP of a call anew, as user, with the call still up.
func (r *rig) redialPPP(c *rigCall, user string) {
	var fx subscriber.Effects
	c.client.Start(r.clock.now, &subscriberConfig, user, "secret", rand.New(rand.NewPCG(9, 9)), &fx)
	c.up = false
	c.effects(&fx)
}

// TestRenamedSubscriberBeginsAnew: a subscriber whom AAA gave another name (the identity
// of EAP is often "anonymous") begins PPP anew under the name it has always given. Its session goes on,
// accounted under AAA's name throughout, also after a restart of the node; under a third name it ends.
func TestRenamedSubscriberBeginsAnew(t *testing.T) {
	r := newRig(t, nil)
	r.aaa.decide = func(q aaa.Request) (*aaa.Grant, error) {
		if q.Identity.User != "anonymous" {
			t.Errorf("AAA was asked for %q", q.Identity.User)
		}
		return &aaa.Grant{User: "alice@isp"}, nil
	}
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	c := l.dial("anonymous", nil)
	r.until(5*time.Second, "up", func() bool { return c.up })
	s := r.session("alice@isp")
	if s == nil || s.said() != "anonymous" {
		t.Fatalf("session %+v", s)
	}
	for _, restart := range []bool{false, true} {
		if restart {
			r.start(nil)
		}
		r.redialPPP(c, "anonymous")
		r.until(20*time.Second, "up again", func() bool { return c.up })
		r.run(11 * time.Minute) // an interim
		if s := r.session("alice@isp"); s == nil || s.state != stateUp {
			t.Fatalf("after a restart %v: session %+v", restart, s)
		}
	}
	r.redialPPP(c, "mallory")
	r.until(20*time.Second, "ended", func() bool { return r.session("alice@isp") == nil })
	for _, u := range r.aaa.usages {
		if u.Identity.User != "alice@isp" {
			t.Errorf("%v is accounted to %q", u.Kind, u.Identity.User)
		}
	}
	r.checkAccounting(1)
}

// TestRenamedOtherwise: AAA has another name for a subscriber who begins PPP anew, or none. The
// session keeps the name of its Start in all its records, and the subscriber may begin anew once more.
func TestRenamedOtherwise(t *testing.T) {
	names := []string{"alice@isp", "", "bob@isp", "", "alice@isp"}
	r := newRig(t, nil)
	n := 0
	r.aaa.decide = func(aaa.Request) (*aaa.Grant, error) {
		n++
		return &aaa.Grant{User: names[n-1]}, nil
	}
	l := r.lac(1, "tunnel secret")
	r.until(5*time.Second, "tunnel up", func() bool { return l.up })
	c := l.dial("anonymous", nil)
	for range names {
		r.until(20*time.Second, "up", func() bool { return c.up })
		r.run(11 * time.Minute) // an interim
		if s := r.session("alice@isp"); s == nil || s.state != stateUp || s.said() != "anonymous" {
			t.Fatalf("after %d grants: session %+v", n, s)
		}
		if n < len(names) {
			r.redialPPP(c, "anonymous")
		}
	}
	c.hangUp()
	r.run(time.Second)
	for _, u := range r.aaa.usages {
		if u.Identity.User != "alice@isp" {
			t.Errorf("%v is accounted to %q", u.Kind, u.Identity.User)
		}
	}
	for _, s := range r.journal.sessions {
		t.Errorf("left: %+v", s)
	}
	r.checkAccounting(1)
}
