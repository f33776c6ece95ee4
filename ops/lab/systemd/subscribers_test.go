package systemd

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// How many subscribers lacsim has, and how many packets each sends in a second.
const (
	lacs, each, rate = 2, 10, 2
	// sessions is with the one of xl2tpd and pppd.
	sessions = lacs*each + 1
	// kills are how many processes TestService kills.
	kills = 4
)

// dial brings lacsim's subscribers up, who ping from then on, and a call of xl2tpd and pppd with a ping through it.
func (l *lab) dial() error {
	l.run(`cd %[1]s && mkfifo in && (setsid sleep 10000 >in &)
setsid ip netns exec lac %[2]s/lacsim run --lns %[3]s --source %[4]s --lacs %[5]d --sessions %[6]d --hello 10s --traffic ping --packets 0 --packet-rate %[7]d --wait 60s \
	--stay --stdin -q --json report.json <in >lacsim.log 2>&1 &`, dir, l.bin, lnsAddr, lacAddr, lacs, each, rate)
	for name, text := range map[string]string{
		dir + "/xl2tpd.conf": fmt.Sprintf("[global]\nlisten-addr = %s\nauth file = /dev/null\n\n[lac isp]\nlns = %s\nhostname = xl2tpd\nlength bit = yes\npppoptfile = %s/options\n", pppAddr, lnsAddr, dir),
		dir + "/options":     "noauth\nuser pppd\npassword secret\nnoipdefault\nipcp-accept-local\nipcp-accept-remote\nnodefaultroute\nrefuse-eap\nlogfile " + dir + "/pppd.log\ndebug\n",
		"/etc/ppp/options":   "", "/etc/ppp/pap-secrets": "", "/etc/ppp/chap-secrets": "",
		"/etc/ppp/ip-up":   "#!/bin/sh\n/usr/sbin/ip route add " + coreAddr + "/32 dev $1\necho \"up $PPPD_PID $4\" >>" + dir + "/ppp\n",
		"/etc/ppp/ip-down": "#!/bin/sh\necho \"down $PPPD_PID\" >>" + dir + "/ppp\n",
	} {
		if err := l.Put(name, text, 0o755); err != nil {
			return err
		}
	}
	l.run("cd %s && (setsid ip netns exec lac xl2tpd -D -c xl2tpd.conf -p xl2tpd.pid -C control </dev/null >xl2tpd.log 2>&1 &) ; for i in $(seq 50); do [ -p control ] && break; sleep 0.1; done; echo 'c isp' >control", dir)
	if _, err := l.Wait(60*time.Second, dir+"/ppp", "up"); err != nil {
		return err
	}
	l.run("cd %s && (setsid ip netns exec lac busybox ping -i 0.5 %s >ping.log 2>&1 & echo $! >ping.pid)", dir, coreAddr)
	return l.until(60*time.Second, func() error {
		list, err := l.sessions()
		if err == nil && len(list) != sessions {
			err = fmt.Errorf("%d sessions are up, want %d", len(list), sessions)
		}
		return err
	})
}

// counters are lacsim's.
type counters struct {
	Sessions struct{ Now, Up, Failed, Ended int }
	Tunnels  struct{ Now, Failed int }
	Packets  struct{ Sent, Answered, Duplicate int }
	Lost     int `json:"packets_lost"`
}

// ask has lacsim tell its counters.
func (l *lab) ask() (c counters, err error) {
	before, err := l.Get(dir + "/lacsim.log")
	if err != nil {
		return c, err
	}
	if _, err := l.Run(10*time.Second, "echo status >"+dir+"/in"); err != nil {
		return c, err
	}
	err = l.until(20*time.Second, func() error {
		after, err := l.Get(dir + "/lacsim.log")
		if err != nil {
			return err
		}
		return json.Unmarshal([]byte(after[len(before):]), &c)
	})
	return c, err
}

// answered waits until every packet of lacsim's has been answered but those that were lost before; after a kill, and
// but for what the process that died may have had in its hands: one packet of each session.
func (l *lab) answered(killed bool) (c counters, err error) {
	least := math.MaxInt
	err = l.until(45*time.Second, func() error {
		if c, err = l.ask(); err != nil {
			return err
		}
		least = min(least, c.Packets.Sent-c.Packets.Answered)
		if least > l.lost {
			err = fmt.Errorf("packets have no answer, besides %d of before: %+v", l.lost, c)
		}
		return err
	})
	if err != nil && killed && least-l.lost <= lacs*each {
		l.lost, err = least, nil
	}
	return c, err
}

// begin counts the packets that were lost before anything was done: a guest may take longer to forward for a session that has just come
// up than lacsim waits for it.
func (l *lab) begin() error {
	time.Sleep(3 * time.Second)
	l.lost = math.MaxInt
	for range 10 { // some may be on their way, but not at each of so many moments
		c, err := l.ask()
		if err != nil {
			return err
		}
		l.lost = min(l.lost, c.Packets.Sent-c.Packets.Answered)
	}
	return nil
}

var errNoticed = errors.New("pppd has noticed")

// noticed tells what pppd and its ping have noticed since they came up. The ping is ended by it.
func (l *lab) noticed() error {
	if text, err := l.Get(dir + "/ppp"); err != nil || strings.Count(text, "\n") != 1 {
		return fmt.Errorf("%w: its links went %q (%v)", errNoticed, text, err)
	}
	log, err := l.Get(dir + "/pppd.log")
	if err != nil {
		return err
	}
	for _, word := range []string{"TermReq", "TermAck", "Modem hangup"} {
		if strings.Contains(log, word) {
			return fmt.Errorf("%w: its log has %s", errNoticed, word)
		}
	}
	if n := strings.Count(log, "IPCP ConfAck"); n != 2 { // one each way
		return fmt.Errorf("%w: its log has %d IPCP Configure-Acks", errNoticed, n)
	}
	text := l.run("cd %s && kill -INT $(cat ping.pid); sleep 0.3; tail -n 3 ping.log", dir)
	var sent, got int
	at := strings.Index(text, "ping statistics")
	if at < 0 {
		return fmt.Errorf("ping says %q", text)
	}
	_, line, _ := strings.Cut(text[at:], "\n")
	if _, err := fmt.Sscanf(line, "%d packets transmitted, %d packets received", &sent, &got); err != nil {
		return fmt.Errorf("ping says %q: %w", text, err)
	}
	l.t.Logf("ping through pppd: %d packets sent, %d answered", sent, got)
	// The last may be on its way, and each process that was killed may have had one in its hands.
	if sent-got > 1+kills {
		return fmt.Errorf("ping lost %d of %d packets", sent-got, sent)
	}
	return nil
}
