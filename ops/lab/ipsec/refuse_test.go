package ipsec

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"culvert/proto/l2tp"
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
	gone := l.pki.issue(t, "lac7.example.net", 24*time.Hour)
	must(t, l.Put(lnsDir+"/crl.pem", l.pki.revoked(t, gone), 0o600))
	must(t, l.stopLNSD("TERM"))
	must(t, l.startLNSD())
	x, err := l.startLAC("direct", 1701)
	must(t, err)
	must(t, x.swan.configure(
		conn{name: "good", version: 2, psk: sharedKey},
		conn{name: "expired", version: 2, who: l.pki.issue(t, "lac5.example.net", -time.Hour), id: "lac5.example.net"},
		conn{name: "revoked", version: 2, who: gone, id: "lac7.example.net"},
		conn{name: "foreign", version: 2, who: l.pki.issue(t, "stranger.example.org", 24*time.Hour), id: "stranger.example.org"},
	))
	must(t, x.swan.initiate("good"))
	must(t, x.dial())
	victim, err := x.tunnel(directAddr)
	must(t, err)
	other, err := l.startCharon("other", "retransmit_tries = 1\n retransmit_timeout = 1.0")
	must(t, err)
	r := &refusals{lab: l, x: x, other: other, victim: victim}
	r.session, err = l.sessionID()
	must(t, err)
	must(t, r.configure("another key"))
	for _, c := range r.cases() {
		t.Run(c.name, func(t *testing.T) { r.try(t, &c) })
	}
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
func (r *refusals) configure(key string) error {
	return r.other.configure(
		conn{name: "good", version: 2, psk: key, id: "other@lacs.example.net"},
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
	sccrq, stop := r.sccrq(), r.stopCCN()
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
			log: []string{"through another SA than its tunnel's", "other@lacs.example.net"}, counter: "bad_input", words: []string{`"wrong-sa"`}},
		{name: "data through another LAC's SA", do: r.through(func() error { return r.silent("other", otherAddr+":1701", r.data()) }),
			log: []string{"through another SA than its tunnel's", "other@lacs.example.net"}, counter: "bad_input", words: []string{`"wrong-sa"`}},
		{name: "another LAC's name through its own SA", do: r.through(r.nameOfAnother), log: []string{"tunnel", "other"}},
		{name: "replayed ESP", do: r.replay, counter: "XfrmInStateSeqError"},
		{name: "wrong key", do: r.keyed("no key at all", ike(r.other, "good")), log: []string{"could not set up its SA", "reason=authentication", otherAddr}, counter: "ipsec_ike_failures", words: []string{`"authentication"`}},
		{name: "expired certificate", do: ike(r.x.swan, "expired"), log: []string{"could not set up its SA", "expired"}, counter: "ipsec_ike_failures", words: []string{`"certificate-expired"`}},
		{name: "revoked certificate", do: ike(r.x.swan, "revoked"), log: []string{"could not set up its SA", "revoked"}, counter: "ipsec_ike_failures", words: []string{`"certificate-revoked"`}},
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
		w.check("logged", func() error { return r.logged(10*time.Second, mark, c.log...) })
	}
	if c.counter != "" {
		w.check("counted", func() error {
			return until(10*time.Second, func() error {
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
	text, err := r.sh("lns", 10*time.Second, "cat /proc/net/xfrm_stat")
	var n float64
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == c.counter {
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

// keyed does something while the other LAC has another key.
func (r *refusals) keyed(key string, do func() error) func() error {
	return func() error {
		if err := r.configure(key); err != nil {
			return err
		}
		err := do()
		return errors.Join(err, r.configure("another key"))
	}
}

// nameOfAnother opens a tunnel through the other LAC's SA under the first one's host name: it is
// answered, as the other LAC's.
func (r *refusals) nameOfAnother() error {
	text, err := r.help("other", 20*time.Second, "udp", fmt.Sprintf("-from %s:1701 -to %s:1701 %s", otherAddr, lnsAddr, r.sccrq()))
	if err != nil {
		return err
	}
	if b, err := hex.DecodeString(text); err != nil || len(b) < 20 || b[0]&0x80 == 0 {
		return fmt.Errorf("the LNS answered %q", text)
	}
	list, err := r.ctl("tunnel list -o json")
	if err != nil {
		return err
	}
	var all []tunnel
	if err := json.Unmarshal([]byte(list), &all); err != nil {
		return fmt.Errorf("%w in %q", err, list)
	}
	for _, t := range all {
		if strings.HasPrefix(t.Peer, otherAddr) && t.LAC == "other" {
			return nil
		}
	}
	return fmt.Errorf("the tunnel is not the other LAC's: %s", list)
}

// replay captures a packet of the LAC's SA and sends it once more.
func (r *refusals) replay() error {
	_, err := r.sh("wan", 30*time.Second, `cd /run/ipsec && rm -f replay.pcap && (setsid timeout 15 tcpdump -n -p -c 1 -i lns0 -w replay.pcap 'esp and src %s' >tcpdump-replay.log 2>&1 </dev/null &); for i in $(seq 50); do grep -q listening tcpdump-replay.log && exit 0; sleep 0.1; done; exit 1`, directAddr)
	if err != nil {
		return err
	}
	// More packets come after it, so that it is old.
	if _, _, err := r.lab.ping("direct", 30*time.Second, "-to %s -count 5 -every 20ms", coreAddr); err != nil {
		return err
	}
	if err := until(15*time.Second, func() error {
		_, err := r.sh("wan", 5*time.Second, "! pidof tcpdump && test -s /run/ipsec/replay.pcap")
		return err
	}); err != nil {
		return err
	}
	text, err := r.help("wan", 20*time.Second, "again", "/run/ipsec/replay.pcap")
	if err == nil && text != "protocol 50" {
		err = fmt.Errorf("what was sent again was of %s", text)
	}
	return err
}

// after takes the SA away from the LNS behind the other LAC's back, whose kernel goes on with it.
func (r *refusals) after() error {
	if err := r.other.initiate("good"); err != nil {
		return err
	}
	defer r.other.drop("good")
	if err := r.other.kill(); err != nil {
		return err
	}
	defer func() { _ = r.other.start() }()
	// It does not end well, as nobody answers it.
	_, _ = r.charon.swan(30*time.Second, "--terminate --ike culvert-other --force --timeout 5")
	if text, err := r.charon.swan(10*time.Second, "--list-sas"); err != nil || strings.Contains(text, "culvert-other") {
		return fmt.Errorf("the LNS still has the SA: %v: %s", err, text)
	}
	return r.silent("other", otherAddr+":1701", r.sccrq())
}

// late takes the kernel's policy for the LAC's answers away while lnsd still has the SA: what it sends
// must not leave in clear.
func (r *refusals) late() error {
	w, err := r.clearWire()
	if err != nil {
		return err
	}
	text, err := r.sh("lns", 20*time.Second, `ip xfrm policy list dir out | grep -A2 'src %s/32 dst %s/32' | grep -o 'mark 0x[0-9a-f]*' | head -1`, lnsAddr, directAddr)
	if err != nil || !strings.HasPrefix(text, "mark") {
		return fmt.Errorf("no policy of the LAC's: %q, %v", text, err)
	}
	save := fmt.Sprintf(`ip xfrm policy delete src %s/32 dst %s/32 proto udp sport 1701 dport 1701 dir out %s`, lnsAddr, directAddr, strings.TrimSpace(text))
	if _, err := r.sh("lns", 20*time.Second, "%s", save); err != nil {
		return err
	}
	p, _, err := r.lab.ping("direct", 30*time.Second, "-to %s -count 5 -every 50ms -wait 500ms", coreAddr)
	if err != nil {
		return err
	}
	if p.received != 0 {
		return fmt.Errorf("%w: %d answers arrived without a policy", errNot, p.received)
	}
	if n, err := w.count("late"); err != nil {
		return err
	} else if n != 0 {
		return fmt.Errorf("%w: %d packets of clear L2TP on the wire", errNot, n)
	}
	// With a new SA all is well again.
	if _, err := r.x.swan.swan(30*time.Second, "--rekey --child l2tp"); err != nil {
		return err
	}
	return until(20*time.Second, func() error {
		p, text, err := r.lab.ping("direct", 30*time.Second, "-to %s -count 3 -every 50ms", coreAddr)
		if err == nil && p.received != 3 {
			err = fmt.Errorf("after rekeying: %s", text)
		}
		return err
	})
}

// clearWire captures clear L2TP to a file of its own.
func (r *refusals) clearWire() (*wire, error) {
	_, err := r.sh("wan", 15*time.Second, `cd %s && (setsid tcpdump -n -p -U -i lns0 -w wire-late.pcap '%s' >tcpdump-late.log 2>&1 </dev/null &); for i in $(seq 50); do grep -q listening tcpdump-late.log && exit 0; sleep 0.1; done; exit 1`, dir, clearFilter)
	return &wire{r.lab}, err
}

// sccrq is a SCCRQ under the first LAC's name.
func (r *refusals) sccrq() string {
	m := &l2tp.Message{Type: l2tp.MessageSCCRQ, HostName: []byte("direct"), AssignedTunnelID: 77, FramingCap: 3, ProtocolVersion: 0x100}
	m.Set(l2tp.AVPProtocolVersion, l2tp.AVPHostName, l2tp.AVPFramingCap, l2tp.AVPAssignedTunnelID)
	return control(0, m)
}

// stopCCN is a StopCCN for the tunnel that is up.
func (r *refusals) stopCCN() string {
	m := &l2tp.Message{Type: l2tp.MessageStopCCN, AssignedTunnelID: 1, Result: l2tp.Result{Code: 1}}
	m.Set(l2tp.AVPAssignedTunnelID, l2tp.AVPResultCode)
	return control(uint16(r.victim.ID), m)
}

func control(tunnel uint16, m *l2tp.Message) string {
	b := m.Append(l2tp.ControlHeader(tunnel, 0, 0, 0).Append(nil))
	l2tp.PutLength(b)
	return hex.EncodeToString(b)
}

// data is an LCP Terminate-Request in the session that is up.
func (r *refusals) data() string {
	return fmt.Sprintf("0002%04x%04xff03c02105010004", r.victim.ID, r.session)
}

// sessionID finds the one session.
func (l *lab) sessionID() (int, error) {
	text, err := l.ctl("session list -o json")
	if err != nil {
		return 0, err
	}
	var list []struct {
		ID int `json:"session_id"`
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) != 1 || list[0].ID == 0 {
		return 0, fmt.Errorf("not one session: %v: %s", err, text)
	}
	return list[0].ID, nil
}
