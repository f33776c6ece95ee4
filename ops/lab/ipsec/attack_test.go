package ipsec

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"culvert/proto/l2tp"
)

// nameOfAnother opens a tunnel through the other LAC's SA under the first one's host name: it is
// answered, as the other LAC's.
func (r *refusals) nameOfAnother() error {
	text, err := r.help("other", 20*time.Second, "udp", fmt.Sprintf("-from %s:1701 -to %s:1701 %s", otherAddr, lnsAddr, sccrq()))
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
	_, err := r.sh("wan", 30*time.Second, `cd /run/ipsec && rm -f replay.pcap && (setsid timeout 15 tcpdump -n -p -c 1 -i lns0 -w replay.pcap 'esp and src %s' >tcpdump-replay.log 2>&1 </dev/null &); for i in $(seq 300); do grep -q listening tcpdump-replay.log && exit 0; sleep 0.1; done; exit 1`, directAddr)
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
	return r.silent("other", otherAddr+":1701", sccrq())
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
	_, err := r.sh("wan", 15*time.Second, `cd %s && (setsid tcpdump -n -p -U -i lns0 -w wire-late.pcap '%s' >tcpdump-late.log 2>&1 </dev/null &); for i in $(seq 300); do grep -q listening tcpdump-late.log && exit 0; sleep 0.1; done; exit 1`, dir, clearFilter)
	return &wire{r.lab}, err
}

// sccrq is a SCCRQ under the first LAC's name.
func sccrq() string {
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
