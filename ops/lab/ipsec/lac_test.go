package ipsec

import (
	"fmt"
	"strings"
	"time"
)

// lac is an xl2tpd with its pppd behind a strongSwan, in a namespace.
type lac struct {
	l    *lab
	ns   string
	swan *charon
	port int
}

// startLAC starts a LAC's strongSwan and xl2tpd.
func (l *lab) startLAC(ns string, port int) (*lac, error) {
	swan, err := l.startCharon(ns, "retransmit_tries = 5\n retransmit_timeout = 1.0\n retransmit_base = 1.4\n delete_rekeyed_delay = 5")
	if err != nil {
		return nil, err
	}
	x := &lac{l: l, ns: ns, swan: swan, port: port}
	conf := fmt.Sprintf("[global]\nport = %d\nauth file = /dev/null\n\n[lac isp]\nlns = %s\nhostname = %s\nlength bit = yes\npppoptfile = %s/%s/options\n",
		port, lnsAddr, ns, dir, ns)
	options := fmt.Sprintf("noauth\nuser %s\npassword %s\nnoipdefault\nipcp-accept-local\nipcp-accept-remote\nnodefaultroute\n"+
		"refuse-eap\nrefuse-pap\nrefuse-mschap\nrefuse-mschap-v2\nipparam %s\nlogfile %s/%s/pppd.log\ndebug\nmaxfail 1\n", ns, password, ns, dir, ns)
	for name, text := range map[string]string{
		dir + "/" + ns + "/xl2tpd.conf": conf, dir + "/" + ns + "/options": options,
		"/etc/ppp/options": "", "/etc/ppp/pap-secrets": "", "/etc/ppp/chap-secrets": "",
		// Arguments: device tty speed local remote ipparam. A file appears whole, by rename.
		"/etc/ppp/ip-up": "#!/bin/sh\n/usr/sbin/ip route add " + coreAddr + "/32 dev $1\necho \"$PPPD_PID $1 $4\" > " + dir + "/$6/up.new && mv " + dir + "/$6/up.new " + dir + "/$6/up\n",
	} {
		if err := l.Put(name, text, 0o755); err != nil {
			return nil, err
		}
	}
	return x, x.startXL2TPD()
}

// startXL2TPD starts xl2tpd, for the first time or again.
func (x *lac) startXL2TPD() error {
	_, err := x.l.sh(x.ns, 15*time.Second, "cd %s/%s && rm -f control && (setsid xl2tpd -D -c xl2tpd.conf -p xl2tpd.pid -C control </dev/null >>xl2tpd.log 2>&1 &) ; for i in $(seq 300); do [ -p control ] && exit 0; sleep 0.1; done; exit 1", dir, x.ns)
	return err
}

// dial opens the tunnel and the call, and waits until pppd is up.
func (x *lac) dial() error {
	_, err := x.l.sh(x.ns, 80*time.Second, "cd %s/%s && rm -f up && echo 'c isp' > control && for i in $(seq 300); do [ -f up ] && exit 0; sleep 0.2; done; exit 1", dir, x.ns)
	if err != nil {
		ppp, _ := x.l.Get(dir + "/" + x.ns + "/pppd.log")
		log, _ := x.l.Get(dir + "/" + x.ns + "/xl2tpd.log")
		lns, _ := x.l.Get(lnsDir + "/lnsd.log")
		return fmt.Errorf("no session: %w\n--- xl2tpd\n%s\n--- pppd\n%s\n--- lnsd\n%s", err, lastLines(log, 12), lastLines(ppp, 12), lastLines(lns, 12))
	}
	return nil
}

// hangUp ends the call and its tunnel and waits until pppd has ended.
func (x *lac) hangUp() error {
	_, err := x.l.sh(x.ns, 30*time.Second, `cd %s/%s && [ -f up ] || exit 0; read pid rest < up; echo 'd isp' > control; rm -f up; for i in $(seq 100); do [ -d /proc/$pid ] || exit 0; sleep 0.1; done; kill -9 $pid`, dir, x.ns)
	return err
}

// reset makes an end of all that a LAC has, without a word to anybody.
func (x *lac) reset() error {
	_, err := x.l.sh(x.ns, 30*time.Second, `cd %s/%s && [ -f up ] && { read pid rest < up; kill -9 $pid; }; rm -f up; [ -f xl2tpd.pid ] && kill -9 $(cat xl2tpd.pid); sleep 0.3; ip xfrm state flush; ip xfrm policy flush; true`, dir, x.ns)
	if err != nil {
		return err
	}
	return x.startXL2TPD()
}

// ping sends packets of 1,300 octets through the session and wants all of them back.
func (x *lac) ping(n int) error {
	text, err := x.l.sh(x.ns, time.Duration(n)*time.Second+20*time.Second, "busybox ping -q -c %d -i 0.2 -W 10 -s 1272 %s", n, coreAddr)
	if err == nil && !strings.Contains(text, " 0% packet loss") {
		err = fmt.Errorf("%q", text)
	}
	return err
}

// transfer sends octets through TCP to the core, which sends them back, and compares.
func (x *lac) transfer(octets int) error {
	_, err := x.l.sh(x.ns, 90*time.Second, `cd %s/%s && head -c %d /dev/urandom > sent && busybox nc -w 60 %s 9001 < sent | head -c %d > back; cmp sent back`, dir, x.ns, octets, coreAddr, octets)
	return err
}

// tunnel finds the one tunnel of the LAC at the LNS.
func (x *lac) tunnel(address string) (tunnel, error) {
	list, err := x.l.tunnels()
	if err != nil {
		return tunnel{}, err
	}
	for _, t := range list {
		if strings.HasPrefix(t.Peer, address+":") {
			return t, nil
		}
	}
	return tunnel{}, fmt.Errorf("no tunnel of %s in %+v", address, list)
}
