package ipsec

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// reachConfig has a LAC that the LNS calls, one of IPv6, one whose certificates name where their revocation
// list is, one whose ESP we force into UDP, one that never uses IPsec, and clients of any address, who may flood it.
const reachConfig = `node: lns1
shutdown: drop
l2tp:
  listen: ["10.1.0.1:1701", "[2001:db8:1::1]:1701"]
  shards: 2
subscriber:
  local_address: 100.64.0.1
lacs:
  - name: called
    prefixes: [10.3.1.1/32]
    hello: 10s
    ipsec: {psk: "%[1]s", initiate: true, dpd_delay: 4s, dpd_timeout: 12s}
  - name: six
    prefixes: ["2001:db8:3::/64"]
    hello: 10s
    ipsec: {psk: "%[1]s", dpd_delay: 10s}
  - name: fetched
    prefixes: [10.3.2.1/32]
    ipsec:
      certificate: %[2]s/lns.pem
      key: %[2]s/lns.key
      ca: %[2]s/ca.pem
      local_id: lns.example.net
      remote_ids: ["*.example.net"]
      revocation: ifuri
  - name: prefers
    prefixes: [10.2.0.1/32]
    hello: 10s
    ipsec: {mode: preferred, psk: "%[1]s", remote_ids: ["*@lacs.example.net"]}
  - name: forced
    prefixes: [10.3.4.1/32]
    hello: 10s
    ipsec: {psk: "%[1]s", force_nat_t: true, dpd_delay: 10s, dpd_timeout: 30s}
  - name: never
    prefixes: [10.3.4.2/32]
    hello: 10s
    ipsec: {mode: never, psk: "%[5]s", ike: ikev2}
  - name: anybody
    ipsec: {psk: "%[3]s"}
radius:
  lab: {password: %[4]s}
pools:
  - {name: main, ranges: [100.64.0.0/18], exclude: [100.64.0.0-100.64.0.1]}
journal: {dir: %[2]s/journal}
ipsec: {socket: %[2]s/vici}
api: {socket: %[2]s/lnsd.sock, http: "127.0.0.1:9107"}
log: {level: debug}
`

const (
	lnsSix = "2001:db8:1::1"
	lacSix = "2001:db8:3::1"
	// strangerSix is another address of lacSix's network, and of its LAC profile.
	strangerSix = "2001:db8:3::2"
	// forcedAddr and neverAddr are further addresses of direct, each of a LAC profile of its own.
	forcedAddr, neverAddr = "10.3.4.1", "10.3.4.2"
	// neverKey is left in the profile of neverAddr, and no other has it.
	neverKey = "a key out of use"
	// crlServer is where the CA's revocation list is had, nowhere a server that there is not.
	crlServer, nowhere = "http://" + lnsAddr + ":8889", "http://" + lnsAddr + ":8890"
)

// TestReach is about ways in that the other tests do not take: the LNS calls, the LAC comes over IPv6, its certificate's
// list is fetched, its profile forces ESP into UDP or has no IPsec at all, strangers flood key exchange; and about the way out that a removed LAC takes.
func TestReach(t *testing.T) {
	needs(t)
	l := boot(t, "ipv6", "esp6")
	l.profiles = 7
	t.Cleanup(func() {
		if err := l.report.writeTo(l.out, "reach"); err != nil {
			t.Error(err)
		}
	})
	must(t, l.six())
	must(t, l.putLNS())
	must(t, l.Put(lnsDir+"/lnsd.yaml", fmt.Sprintf(reachConfig, sharedKey, lnsDir, roadKey, password, neverKey), 0o600))
	t.Run("lnsd without charon", l.withoutCharon)
	if l.charon == nil { // only other rows were asked for
		must(t, l.startIKE())
		must(t, l.startLNSD())
	}
	x, err := l.startLAC("direct", 1701)
	must(t, err)
	other, err := l.startCharon("other", "retransmit_tries = 2\n retransmit_timeout = 2.0")
	must(t, err)
	for _, c := range []struct {
		name string
		test func(*testing.T, *lac, *charon)
	}{
		{"ESP in UDP is forced", l.forced}, {"ESP in UDP is forced, IKEv1", l.forcedInOld}, {"never uses IPsec", l.never},
		{"called by us, IKEv2", l.called}, {"called by us, IKEv1", l.calledInOld}, {"IPv6", l.overSix},
		{"preferred, in clear and not", l.preferred},
		{"revocation list that the certificate names", l.fetched}, {"LAC removed", l.removed},
		{"flood from many addresses", l.floodOfMany}, {"flood from one address", l.floodOfOne}, {"flood of IKEv1", l.floodOfOld},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, x, other) })
	}
}

// six gives the LNS and a LAC addresses of IPv6, with the way between.
func (l *lab) six() error {
	_, err := l.Run(30*time.Second, `set -e
for n in lns direct wan; do ip netns exec $n sh -c 'echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad; for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do echo 0 > $f; done'; done
ip netns exec wan sh -c 'echo 1 > /proc/sys/net/ipv6/conf/all/forwarding'
ip -n lns addr add `+lnsSix+`/64 dev wan0 nodad; ip -n wan addr add 2001:db8:1::fe/64 dev lns0 nodad
ip -n direct addr add `+lacSix+`/64 dev wan0 nodad; ip -n direct addr add `+strangerSix+`/64 dev wan0 nodad; ip -n wan addr add 2001:db8:3::fe/64 dev direct0 nodad
ip -n lns -6 route add default via 2001:db8:1::fe; ip -n direct -6 route add default via 2001:db8:3::fe`)
	return err
}

// overSix has a LAC come over IPv6, with a session that stays, and tries to come in beside it in clear.
func (l *lab) overSix(t *testing.T, x *lac, _ *charon) {
	r := l.report.row(t)
	c := conn{name: "six", version: 2, psk: sharedKey, lns: lnsSix, more: "local_addrs = " + lacSix}
	r.check("SA", func() error {
		if err := x.swan.configure(c); err != nil {
			return err
		}
		return x.swan.initiate(c.name)
	})
	must(t, l.captureSix())
	r.check("session and pings", func() error {
		text, err := l.sh("direct", 90*time.Second, `cd %s/direct && rm -f ready.six && (setsid %s/lacsim run --lns [%s]:1701 --source [%s]:1701 --password %s --stay --traffic ping --packets 20 --packet-rate 10 --size 1300 --target %s --wait 10s --hello 5s --ready-file ready.six -q >lacsim.log 2>&1 </dev/null &); for i in $(seq 300); do [ -s ready.six ] && break; sleep 0.2; done; cat ready.six || { tail -5 lacsim.log; exit 1; }`,
			dir, l.bin, lnsSix, lacSix, password, coreAddr)
		if err != nil {
			return fmt.Errorf("%w: %s", err, text)
		}
		return l.sixPings(text)
	})
	r.check("protected", func() error {
		list, err := l.tunnels()
		if err == nil && (len(list) != 1 || list[0].LAC != "six" || list[0].IPsec == nil || list[0].IPsec.Identity != lacSix) {
			err = fmt.Errorf("tunnels are %+v", list)
		}
		return err
	})
	r.check("clear SCCRQ refused", func() error {
		before, err := l.xfrmStat("XfrmInPolBlock")
		if err != nil {
			return err
		}
		text, err := l.help("direct", 20*time.Second, "udp", fmt.Sprintf("-from [%s]:1701 -to [%s]:1701 -wait 1500ms %s", strangerSix, lnsSix, sccrq()))
		if err != nil || text != "silence" {
			return fmt.Errorf("%w: answered with %q (%v)", errNot, text, err)
		}
		after, err := l.xfrmStat("XfrmInPolBlock")
		if err == nil && after <= before {
			err = fmt.Errorf("XfrmInPolBlock is %v, as before", after)
		}
		return err
	})
	r.check("no clear L2TP of the LAC's", func() error {
		for _, c := range []struct {
			file string
			none bool
		}{{"six-clear", true}, {"six-esp", false}} {
			n, err := (&wire{l}).count(c.file)
			if err != nil || (n == 0) != c.none {
				return fmt.Errorf("%s has %d packets: %v", c.file, n, err)
			}
		}
		return nil
	})
}

// captureSix captures what the LAC sends and gets over IPv6.
func (l *lab) captureSix() error {
	_, err := l.sh("wan", 15*time.Second, `cd %s && for f in "clear:udp port 1701 and host %s" "esp:ip6 proto 50 and host %s"; do setsid tcpdump -n -p -U -i lns0 -w wire-six-${f%%%%:*}.pcap "${f#*:}" >tcpdump-six-${f%%%%:*}.log 2>&1 </dev/null & done; for i in $(seq 300); do grep -q listening tcpdump-six-esp.log && grep -q listening tcpdump-six-clear.log && exit 0; sleep 0.1; done; exit 1`, dir, lacSix, lacSix)
	return err
}

// withoutCharon starts lnsd alone: it says what is missing, serves a LAC that needs no IPsec, and loads everything as soon as
// charon is there.
func (l *lab) withoutCharon(t *testing.T) {
	r := l.report.row(t)
	r.check("lnsd started", l.spawnLNSD)
	r.check("it says what is missing", func() error {
		return l.logged(60*time.Second, 0, "charon is away", "LACs that need IPsec cannot set up SAs", "start strongSwan")
	})
	x, err := l.startLAC("left", 1701)
	must(t, err)
	r.check("a LAC in clear", x.dial)
	r.check("its ping", func() error { return x.ping(4) })
	r.check("charon started", l.startIKE)
	r.check("profiles loaded", l.hasProfiles)
	r.check("hung up", x.hangUp)
}

// preferred has a LAC that need not use IPsec come without it and, after that, with it; each time it is shown.
func (l *lab) preferred(t *testing.T, _ *lac, _ *charon) {
	r := l.report.row(t)
	swan := &charon{l, "left", dir + "/left"} // of the first row
	x := &lac{l: l, ns: "left", swan: swan, port: 1701}
	must(t, x.reset())
	const id = "left@lacs.example.net"
	shown := func(mode string, protected bool) {
		r.check("session "+mode, x.dial)
		r.check("ping "+mode, func() error { return x.ping(4) })
		r.check("shown "+mode, func() error {
			tun, err := x.tunnel(natAddr)
			if err == nil && (tun.LAC != "prefers" || (tun.IPsec != nil && tun.IPsec.Identity == id) != protected) {
				err = fmt.Errorf("%+v, its SA %+v", tun, tun.IPsec)
			}
			return err
		})
		r.check("hung up "+mode, x.hangUp)
	}
	shown("in clear", false)
	must(t, x.reset())
	r.check("SA", func() error {
		if err := x.swan.configure(conn{name: "isp", version: 2, psk: sharedKey, id: id}); err != nil {
			return err
		}
		return x.swan.initiate("isp")
	})
	defer x.swan.drop("isp")
	shown("protected", true)
}

// called has the LNS set the SA up, and again after its charon has died: nothing else would, since the LAC does not
// look for dead peers.
func (l *lab) called(t *testing.T, x *lac, _ *charon) {
	r := l.report.row(t)
	tun := l.calledBy(t, r, x, 2)
	mark := l.mark()
	r.check("charon killed and started", func() error {
		if err := l.charon.kill(); err != nil {
			return err
		}
		return l.charon.start()
	})
	r.check("called again", func() error { return l.logged(90*time.Second, mark, "SA up", "profile=called") })
	r.check("the same session", func() error {
		if err := until(30*time.Second, l.flows); err != nil {
			return err
		}
		now, err := x.tunnel(directAddr)
		if err == nil && (now.ID != tun.ID || now.Sessions != 1) {
			err = fmt.Errorf("tunnel %d with %d sessions, was %d", now.ID, now.Sessions, tun.ID)
		}
		return err
	})
	l.left(t, r, x)
}

// calledInOld is called with IKEv1, which an operator changes the profile to, with the group that the LAC wants: a quick
// mode cannot ask for it.
func (l *lab) calledInOld(t *testing.T, x *lac, _ *charon) {
	r := l.report.row(t)
	r.check("profile changed", func() error {
		text, err := l.ctl("lac change called --ipsec-ike 1 --ipsec-esp-proposal aes128gcm16-ecp256")
		if err != nil {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return err
	})
	l.calledBy(t, r, x, 1)
	l.left(t, r, x)
}

// calledBy gives the LAC a connection that it does not begin, waits until the LNS does, and dials.
func (l *lab) calledBy(t *testing.T, r *row, x *lac, version int) tunnel {
	mark := l.mark()
	r.check("LAC waits", func() error {
		return x.swan.configure(conn{name: "waits", version: version, psk: sharedKey, more: "local_addrs = " + directAddr})
	})
	r.check("called", func() error {
		return l.logged(60*time.Second, mark, "SA up", "profile=called", "identity="+directAddr, fmt.Sprint("ike=", version))
	})
	r.check("session", x.dial)
	r.check("pings", l.flows)
	tun, err := x.tunnel(directAddr)
	must(t, err)
	return tun
}

// left ends what calledBy has made, at the LAC; the LNS calls again.
func (l *lab) left(t *testing.T, r *row, x *lac) {
	t.Helper()
	r.check("hung up", x.hangUp)
	must(t, x.swan.configure()) // so that it is not called again at once
	x.swan.drop("waits")
	must(t, x.reset())
}

// fetched has LACs whose certificates name where the CA's revocation list is.
func (l *lab) fetched(t *testing.T, _ *lac, other *charon) {
	r := l.report.row(t)
	at := func(name, url string) conn {
		who := l.pki.issueBy(t, name+".example.net", 24*time.Hour, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{url + "/ca.crl"} })
		return conn{name: name, version: 2, who: who, id: name + ".example.net"}
	}
	// The one that nobody can be asked about comes first: the list, once fetched, is good for all of the CA's.
	list := []conn{at("lac12", nowhere), at("lac10", crlServer), at("lac11", crlServer)}
	r.check("list served", func() error {
		if err := l.Put(dir+"/www/ca.pem", l.pki.revoked(t, list[2].who), 0o644); err != nil {
			return err
		}
		_, err := l.sh("lns", 30*time.Second, "cd %s/www && openssl crl -in ca.pem -outform DER -out ca.crl && busybox httpd -p %s:8889 -h $PWD", dir, lnsAddr)
		return err
	})
	must(t, other.configure(list...))
	refused := func(c conn, words ...string) func() error {
		return func() error {
			mark := l.mark()
			if err := other.initiate(c.name); err == nil {
				return fmt.Errorf("%w: the SA %s came up", errNot, c.name)
			}
			return l.logged(10*time.Second, mark, append(words, "could not set up its SA", otherAddr)...)
		}
	}
	r.check("no list to be had: refused", refused(list[0], "nobody can tell whether its certificate is revoked"))
	r.check("good", func() error { return other.initiate(list[1].name) })
	other.drop(list[1].name)
	r.check("revoked", refused(list[2], "reason=certificate-revoked", "lac11"))
}

// removed has an operator remove a LAC: its SA goes with it, at both ends, with tunnel and session; the LAC of IPv6 does not notice.
func (l *lab) removed(t *testing.T, x *lac, _ *charon) {
	r := l.report.row(t)
	l.calledBy(t, r, x, 1)
	mark := l.mark()
	r.check("removed", func() error {
		text, err := l.ctl("lac remove called")
		if err != nil {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return err
	})
	r.check("session ended", func() error { return l.logged(10*time.Second, mark, "session down", "profile was removed") })
	r.check("SA gone here", func() error {
		return until(20*time.Second, func() error {
			text, err := l.charon.swan(10*time.Second, "--list-sas")
			if err == nil && strings.Contains(text, "culvert-called") {
				err = fmt.Errorf("charon has %s", text)
			}
			if err != nil {
				return err
			}
			text, err = l.sh("lns", 10*time.Second, "ip xfrm state")
			if err == nil && strings.Contains(text, directAddr) {
				err = fmt.Errorf("the kernel has %s", text)
			}
			return err
		})
	})
	r.check("SA gone there", func() error {
		return until(20*time.Second, func() error {
			text, err := x.swan.swan(10*time.Second, "--list-sas")
			if err == nil && strings.Contains(text, "waits") {
				err = fmt.Errorf("the LAC's charon has %s", text)
			}
			return err
		})
	})
	r.check("it cannot come back", func() error {
		if err := x.swan.initiate("waits"); err == nil {
			return fmt.Errorf("%w: its SA came up", errNot)
		}
		return nil
	})
	r.check("another LAC is untouched", func() error {
		list, err := l.tunnels()
		if err == nil && (len(list) != 1 || list[0].LAC != "six" || list[0].Sessions != 1) {
			err = fmt.Errorf("tunnels are %+v", list)
		}
		return err
	})
	must(t, x.reset())
}

// sixPings reads lacsim's counters: every ping is answered.
func (l *lab) sixPings(text string) error {
	var c struct {
		Packets struct {
			Sent     uint64 `json:"sent"`
			Answered uint64 `json:"answered"`
		} `json:"packets"`
	}
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return fmt.Errorf("%w in %q", err, text)
	}
	if c.Packets.Sent != 20 || c.Packets.Answered != 20 {
		return fmt.Errorf("%+v: %s", c, text)
	}
	return nil
}
