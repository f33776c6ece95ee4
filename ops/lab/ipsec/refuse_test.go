package ipsec

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestRefused tries to bring in what must not come in, while a LAC's call is up, which must not notice.
func TestRefused(t *testing.T) {
	needs(t)
	l := newLab(t)
	t.Cleanup(func() {
		if err := l.report.writeTo(l.out, "refused"); err != nil {
			t.Error(err)
		}
	})
	asked, askedGone := l.pki.issue(t, "lac8.example.net", 24*time.Hour, responder), l.pki.issue(t, "lac9.example.net", 24*time.Hour, responder)
	gone := l.pki.issue(t, "lac7.example.net", 24*time.Hour)
	must(t, l.Put(lnsDir+"/crl.pem", l.pki.revoked(t, gone), 0o600))
	must(t, l.stopLNSD("TERM"))
	must(t, l.startLNSD())
	x, err := l.startLAC("direct", 1701)
	must(t, err)
	must(t, x.swan.configure(
		conn{name: "good", version: 2, psk: sharedKey, id: directAddr, own: true},
		conn{name: "expired", version: 2, who: l.pki.issue(t, "lac5.example.net", -time.Hour), id: "lac5.example.net"},
		conn{name: "revoked", version: 2, who: gone, id: "lac7.example.net"},
		conn{name: "asked", version: 2, who: asked, id: "lac8.example.net"},
		conn{name: "askedgone", version: 2, who: askedGone, id: "lac9.example.net"},
		conn{name: "borrowed", version: 2, psk: roadKey, id: roadID, own: true, port: "1702"},
		conn{name: "foreign", version: 2, who: l.pki.issue(t, "stranger.example.org", 24*time.Hour), id: "stranger.example.org"},
	))
	must(t, l.respond(t, askedGone))
	must(t, x.swan.initiate("good"))
	must(t, x.dial())
	victim, err := x.tunnel(directAddr)
	must(t, err)
	other, err := l.startCharon("other", "retransmit_tries = 1\n retransmit_timeout = 1.0")
	must(t, err)
	r := &refusals{lab: l, x: x, other: other, victim: victim}
	r.session, err = l.sessionID()
	must(t, err)
	must(t, r.configure("another key", 2))
	for _, c := range r.cases() {
		t.Run(c.name, func(t *testing.T) { r.try(t, &c) })
	}
}

// responder is the wholesaler's OCSP responder, as certificates name it.
const responder = "http://" + lnsAddr + ":8888"

// respond starts openssl's OCSP responder on the LNS's host.
func (l *lab) respond(t *testing.T, revoked ...identity) error {
	index, key := l.pki.index(t, revoked...)
	for name, text := range map[string]string{"index.txt": index, "ca.key": key} {
		if err := l.Put(dir+"/"+name, text, 0o600); err != nil {
			return err
		}
	}
	_, err := l.sh("lns", 20*time.Second, "cd %s && (setsid openssl ocsp -port 8888 -index index.txt -CA lns/ca.pem -rsigner lns/ca.pem -rkey ca.key -nmin 5 >ocsp.log 2>&1 </dev/null &); for i in $(seq 50); do grep -q waiting ocsp.log && exit 0; sleep 0.1; done; cat ocsp.log; exit 1", dir)
	return err
}

// refusals are the rows of TestRefused.
type refusals struct {
	*lab
	x     *lac
	other *charon
	// victim is the tunnel that is up, session the id of the call in it.
	victim  tunnel
	session int
}

// configure gives the other LAC a key, for a connection with it and one with the first LAC's certificate.
func (r *refusals) configure(key string, version int) error {
	return r.other.configure(
		conn{name: "good", version: version, psk: key, id: "other@north.example.net"},
		conn{name: "elsewhere", version: 2, who: r.pki.lac, id: "lac1.example.net"},
	)
}

// refusal is one thing to refuse, and what tells of it.
type refusal struct {
	name string
	do   func() error
	// log are words of a line of lnsd's; counter is one of the kernel's XFRM or, with words, a metric of lnsd's.
	log     []string
	counter string
	words   []string
}

func (r *refusals) cases() []refusal {
	sccrq, stop := sccrq(), r.stopCCN()
	clear := func(ns, from, what string) func() error {
		return func() error { return r.silent(ns, from, what) }
	}
	ike := func(c *charon, name string) func() error {
		return func() error {
			if err := c.initiate(name); err == nil {
				return fmt.Errorf("%w: the SA %s came up", errNot, name)
			}
			return nil
		}
	}
	return []refusal{
		{name: "clear SCCRQ at the kernel", do: clear("other", otherAddr+":1701", sccrq), counter: "XfrmInPolBlock"},
		{name: "clear SCCRQ of a protected LAC's address", do: clear("wan", directAddr+":1701", sccrq), counter: "XfrmInPolBlock"},
		{name: "forged StopCCN at the kernel", do: clear("wan", directAddr+":1701", stop), counter: "XfrmInPolBlock"},
		{name: "clear SCCRQ without the wall", do: r.unwalled(clear("other", otherAddr+":1701", sccrq)),
			log: []string{"dropped a SCCRQ in clear", "profile=other"}, counter: "bad_input", words: []string{`"clear"`}},
		{name: "forged StopCCN without the wall", do: r.unwalled(clear("wan", directAddr+":1701", stop)),
			log: []string{"in clear for a tunnel that is protected", "identity=" + directAddr}, counter: "bad_input", words: []string{`"clear"`}},
		{name: "forged StopCCN through another LAC's SA", do: r.through(func() error { return r.silent("other", otherAddr+":1701", stop) }),
			log: []string{"through another SA than its tunnel's", "other@north.example.net"}, counter: "bad_input", words: []string{`"wrong-sa"`}},
		{name: "data through another LAC's SA", do: r.through(func() error { return r.silent("other", otherAddr+":1701", r.data()) }),
			log: []string{"through another SA than its tunnel's", "other@north.example.net"}, counter: "bad_input", words: []string{`"wrong-sa"`}},
		{name: "another LAC's name through its own SA", do: r.through(r.nameOfAnother), log: []string{"tunnel", "other"}},
		{name: "replayed ESP", do: r.replay, counter: "XfrmInStateSeqError"},
		{name: "another profile's key, IKEv1", do: r.keyed(roadKey, 1, ike(r.other, "good")), log: []string{"could not set up its SA", "reason=authentication", otherAddr}, counter: "ipsec_ike_failures", words: []string{`"authentication"`}},
		{name: "another profile's key, IKEv2", do: r.keyed(roadKey, 2, ike(r.other, "good")), log: []string{"could not set up its SA", "reason=authentication", "profile=other", otherAddr}, counter: "ipsec_ike_failures", words: []string{`"authentication"`}},
		{name: "another profile's key, and an identity of that", do: r.borrowed, log: []string{"could not set up its SA", "reason=authentication", "profile=keyed", "it came in as a LAC of profile", roadID}, counter: "ipsec_ike_failures", words: []string{`"authentication"`}},
		{name: "wrong key", do: r.keyed("no key at all", 2, ike(r.other, "good")), log: []string{"could not set up its SA", "reason=authentication", otherAddr}, counter: "ipsec_ike_failures", words: []string{`"authentication"`}},
		{name: "expired certificate", do: ike(r.x.swan, "expired"), log: []string{"could not set up its SA", "expired"}, counter: "ipsec_ike_failures", words: []string{`"certificate-expired"`}},
		{name: "revoked certificate", do: ike(r.x.swan, "revoked"), log: []string{"could not set up its SA", "revoked"}, counter: "ipsec_ike_failures", words: []string{`"certificate-revoked"`}},
		{name: "certificate revoked at the OCSP responder", do: func() error {
			// One that the responder calls good comes in, so that it is the responder which decides.
			if err := r.x.swan.initiate("asked"); err != nil {
				return err
			}
			r.x.swan.drop("asked")
			return ike(r.x.swan, "askedgone")()
		}, log: []string{"could not set up its SA", "revoked", "lac9"}, counter: "ipsec_ike_failures", words: []string{`"certificate-revoked"`}},
		{name: "certificate of nobody's profile", do: ike(r.x.swan, "foreign"), log: []string{"could not set up its SA"}, counter: "ipsec_ike_failures"},
		{name: "right certificate at another LAC's profile", do: ike(r.other, "elsewhere"), log: []string{"could not set up its SA", otherAddr}, counter: "ipsec_ike_failures"},
		{name: "packets after the SA's end", do: r.after, counter: "XfrmInNoStates"},
		{name: "answers after the SA's end", do: r.late, counter: "XfrmOutPolBlock"},
	}
}

// try does one case: what must happen, and that the LAC in order notices nothing.
func (r *refusals) try(t *testing.T, c *refusal) {
	w := r.report.row(t)
	mark := r.mark()
	before, err := r.count(c)
	must(t, err)
	w.check("refused", c.do)
	if c.log != nil {
		w.check("logged", func() error { return r.logged(30*time.Second, mark, c.log...) })
	}
	if c.counter != "" {
		w.check("counted", func() error {
			return until(30*time.Second, func() error {
				after, err := r.count(c)
				if err == nil && after <= before {
					err = fmt.Errorf("%s %v is %v, as before", c.counter, c.words, after)
				}
				return err
			})
		})
	}
	w.check("others untouched", func() error {
		p, text, err := r.lab.ping("direct", 30*time.Second, "-to %s -count 5 -every 50ms", coreAddr)
		if err == nil && p.received != 5 {
			err = fmt.Errorf("the LAC whose SA is in order: %s", text)
		}
		return err
	})
}

// count reads the case's counter.
func (r *refusals) count(c *refusal) (float64, error) {
	if !strings.HasPrefix(c.counter, "Xfrm") {
		return r.metric(c.counter, c.words...)
	}
	return r.xfrmStat(c.counter)
}

// xfrmStat reads one of the counters of the LNS's kernel.
func (l *lab) xfrmStat(name string) (n float64, err error) {
	text, err := l.sh("lns", 10*time.Second, "cat /proc/net/xfrm_stat")
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			_, err = fmt.Sscan(f[1], &n)
		}
	}
	return n, err
}

// silent sends a datagram to the LNS and wants no answer.
func (r *refusals) silent(ns, from, payload string) error {
	text, err := r.help(ns, 20*time.Second, "udp", fmt.Sprintf("-from %s -to %s:1701 -wait 1500ms %s", from, lnsAddr, payload))
	if err == nil && text != "silence" {
		err = fmt.Errorf("%w: the LNS answered %s", errNot, text)
	}
	return err
}

// unwalled does something while the kernel's policies against clear L2TP are away.
func (r *refusals) unwalled(do func() error) func() error {
	return func() error {
		const policy = "dir in action block"
		if _, err := r.sh("lns", 20*time.Second, "ip xfrm policy deleteall %s", policy); err != nil {
			return err
		}
		err := do()
		_, back := r.sh("lns", 20*time.Second, "ip xfrm policy add src 0.0.0.0/0 dst %s/32 proto udp dport 1701 %s priority %d", lnsAddr, policy, wallPriority)
		return errors.Join(err, back)
	}
}

// wallPriority is that of lnsd's policies.
const wallPriority = 0x43554c56

// through does something while the other LAC has its SA.
func (r *refusals) through(do func() error) func() error {
	return func() error {
		if err := r.other.initiate("good"); err != nil {
			return err
		}
		defer r.other.drop("good")
		return do()
	}
}

// keyed does something while the other LAC has another key, for a version of IKE.
func (r *refusals) keyed(key string, version int, do func() error) func() error {
	return func() error {
		if err := r.configure(key, version); err != nil {
			return err
		}
		err := do()
		return errors.Join(err, r.configure("another key", 2))
	}
}

// roadID is an identity that the key of the voluntary clients is good for.
const roadID = "172.16.9.9"

// borrowed has somebody at the first LAC's address come in with the voluntary clients' key. charon lets it in, by the connection
// for the address; lnsd must end that, and take nothing that comes through it.
func (r *refusals) borrowed() error {
	_ = r.x.swan.initiate("borrowed") // that it is there for a moment is all that it may be
	defer r.x.swan.drop("borrowed")
	if err := r.silent("direct", directAddr+":1702", sccrq()); err != nil {
		return err
	}
	return until(20*time.Second, func() error {
		for _, c := range []*charon{r.charon, r.x.swan} {
			if text, err := c.swan(10*time.Second, "--list-sas"); err != nil || strings.Contains(text, roadID) {
				return fmt.Errorf("%w: the SA is there still: %v: %s", errNot, err, text)
			}
		}
		return nil
	})
}
