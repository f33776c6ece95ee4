package ipsec

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

// lnsConfig is the LNS's file. LACs with a key have one address and those with a
// certificate any; wholesale LACs of the NAT's address are told by their identities.
const lnsConfig = `node: lns1
shutdown: drop
l2tp:
  listen: ["10.1.0.1:1701"]
  shards: 2
subscriber:
  local_address: 100.64.0.1
lacs:
  - name: keyed
    prefixes: [10.3.1.1/32]
    hello: 10s
    ipsec: {psk: "%[1]s", life: %[3]s, ike_life: 10m, dpd_delay: 4s, dpd_timeout: 12s}
  - name: certified
    prefixes: [10.3.1.1/32]
    hello: 10s
    ipsec:
      certificate: %[2]s/lns.pem
      key: %[2]s/lns.key
      ca: %[2]s/ca.pem
      crl: %[2]s/crl.pem
      local_id: lns.example.net
      remote_ids: ["*.example.net"]
      dpd_delay: 4s
      dpd_timeout: 12s
  - name: natted
    prefixes: [10.2.0.1/32]
    hello: 10s
    ipsec:
      psk: "%[1]s"
      remote_ids: ["*@lacs.example.net"]
      dpd_delay: 4s
      dpd_timeout: 12s
  - name: other
    prefixes: [10.3.2.1/32]
    hello: 10s
    ipsec: {psk: "another key", remote_ids: ["other@north.example.net"], dpd_delay: 4s, dpd_timeout: 12s}
  - name: many
    prefixes: [10.4.0.0/16]
    hello: 60s
    ipsec: {psk: "%[1]s", dpd_delay: 85s}
  - name: old
    prefixes: [10.3.3.1/32]
    ipsec: {psk: "%[1]s", ike: ikev1, legacy: true, local_id: 10.1.0.1, remote_ids: [10.3.3.1]}
  # As ops/strongswan/README.md has it.
  - name: roadwarriors
    mru: 1400
    ipsec:
      mode: required
      ike: ikev1
      psk: "%[5]s"
      pfs: false
      ike_proposals: [aes256-sha1-ecp384, aes256-sha1-modp2048, aes128-sha1-modp2048]
      esp_proposals: [aes256-sha1, aes128-sha1]
      life: 0s
      ike_life: 0s
  - name: roadcerts
    mru: 1400
    ipsec:
      ike: ikev1
      certificate: %[2]s/lns.pem
      key: %[2]s/lns.key
      ca: %[2]s/ca.pem
      local_id: lns.example.net
      remote_ids: ["*.clients.example.net"]
      pfs: false
      ike_proposals: [aes256-sha1-ecp384, aes256-sha1-modp2048, aes128-sha1-modp2048]
      esp_proposals: [aes256-sha1, aes128-sha1]
      life: 0s
      ike_life: 0s
  - name: eap
    ipsec:
      ike: ikev2
      auth: eap-mschapv2
      certificate: %[2]s/lns.pem
      key: %[2]s/lns.key
      local_id: lns.example.net
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
	sharedKey = "a key of the suite's own"
	roadKey   = "the one of all clients"
	eapSecret = "a user's password"
	password  = "subscriber-secret"
	lnsDir    = dir + "/lns"
	// life is how long ESP keys are used: short, so that every row sees new ones in time.
	life = "60s"
	// lnsProfiles is how many connections lnsConfig makes: one for each profile, and one for keyed's address.
	lnsProfiles = 10
)

// startLNS starts strongSwan and lnsd on the LNS.
func (l *lab) startLNS() error {
	if err := l.putLNS(); err != nil {
		return err
	}
	life := life
	if os.Getenv(envRekey) != "" {
		life = "1h" // minutes of a guest that gets no processor must not end keys that the LAC could not renew
	}
	if err := l.Put(lnsDir+"/lnsd.yaml", fmt.Sprintf(lnsConfig, sharedKey, lnsDir, life, password, roadKey), 0o600); err != nil {
		return err
	}
	// What echoes subscribers' TCP, in the core.
	if _, err := l.sh("lns", 10*time.Second, "setsid busybox nc -ll -p 9001 -e cat >/dev/null 2>&1 </dev/null &"); err != nil {
		return err
	}
	if err := l.startIKE(); err != nil {
		return err
	}
	return l.startLNSD()
}

// putLNS gives the LNS its certificates and charon's shipped settings.
func (l *lab) putLNS() error {
	shipped, err := os.ReadFile("../../strongswan/culvert.conf")
	if err != nil {
		return err
	}
	for name, text := range map[string]string{"culvert.conf": string(shipped), "lns.pem": l.pki.lns.cert, "lns.key": l.pki.lns.key, "ca.pem": l.pki.ca, "crl.pem": l.pki.crl} {
		if err := l.Put(lnsDir+"/"+name, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// startIKE starts the LNS's strongSwan.
func (l *lab) startIKE() (err error) {
	quick := "retransmit_tries = 5\n retransmit_timeout = 1.0\n retransmit_base = 1.4"
	if os.Getenv(envSAs) != "" {
		quick = "" // one processor for thousands of LACs wants the time that is shipped
	}
	l.charon, err = l.startCharon("lns", quick)
	return err
}

// startLNSD starts lnsd, for the first time or again, and waits until charon has all profiles.
func (l *lab) startLNSD() error {
	if err := l.spawnLNSD(); err != nil {
		return err
	}
	return l.hasProfiles()
}

// spawnLNSD starts lnsd.
func (l *lab) spawnLNSD() error {
	_, err := l.sh("lns", 20*time.Second, "cd %s && setsid %s/lnsd run --config lnsd.yaml >>lnsd.log 2>&1 </dev/null & echo $! > %s/lnsd.pid", lnsDir, l.bin, lnsDir)
	return err
}

// hasProfiles waits until charon has the connections of all LAC profiles.
func (l *lab) hasProfiles() error {
	return until(3*time.Minute, func() error {
		text, err := l.charon.swan(10*time.Second, "--list-conns")
		if err == nil && strings.Count(text, "culvert-") < l.profiles {
			err = fmt.Errorf("charon has %q", text)
		}
		return err
	})
}

// stopLNSD ends lnsd by a signal and waits for its end.
func (l *lab) stopLNSD(signal string) error {
	_, err := l.Run(30*time.Second, fmt.Sprintf("p=$(cat %s/lnsd.pid); kill -%s $p; for i in $(seq 200); do [ -d /proc/$p ] || exit 0; sleep 0.1; done; exit 1", lnsDir, signal))
	return err
}

// ctl runs lnsctl.
func (l *lab) ctl(args string) (string, error) {
	return l.sh("lns", 20*time.Second, "%s/lnsctl --timeout 60s --address unix://%s/lnsd.sock %s 2>&1", l.bin, lnsDir, args)
}

// tunnel is what the API says of a tunnel.
type tunnel struct {
	ID       int    `json:"id"`
	LAC      string `json:"lac"`
	Peer     string `json:"peer"`
	State    string `json:"state"`
	Sessions int    `json:"sessions"`
	IPsec    *struct {
		Mark     int      `json:"mark"`
		Identity string   `json:"identity"`
		Usage    *saUsage `json:"usage"`
	} `json:"ipsec"`
}

// saUsage is what the API says that an SA has carried.
type saUsage struct {
	InPackets  uint64 `json:"in_packets,string"`
	OutPackets uint64 `json:"out_packets,string"`
	SPIIn      string `json:"spi_in"`
	SPIOut     string `json:"spi_out"`
}

// tunnels lists the established tunnels.
func (l *lab) tunnels() ([]tunnel, error) {
	text, err := l.ctl("tunnel list -o json")
	if err != nil {
		return nil, err
	}
	var list, up []tunnel
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("%w in %q", err, text)
	}
	for _, t := range list {
		if strings.HasSuffix(t.State, "ESTABLISHED") {
			up = append(up, t)
		}
	}
	return up, nil
}

// metric gives the sum of a metric's values, of those lines that have all the words.
func (l *lab) metric(name string, words ...string) (float64, error) {
	text, err := l.sh("lns", 10*time.Second, "busybox wget -qO- http://127.0.0.1:9107/metrics")
	if err != nil {
		return 0, err
	}
	sum := 0.0
lines:
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		rest, ok := strings.CutPrefix(s.Text(), "culvert_"+name)
		if !ok || !strings.HasPrefix(strings.TrimPrefix(rest, "_total"), "{") && !strings.HasPrefix(strings.TrimPrefix(rest, "_total"), " ") {
			continue
		}
		for _, w := range words {
			if !strings.Contains(s.Text(), w) {
				continue lines
			}
		}
		var v float64
		if _, err := fmt.Sscan(s.Text()[strings.LastIndexByte(s.Text(), ' ')+1:], &v); err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, nil
}

// logged waits until lnsd has logged a line, after what it had logged at mark, that has all the words.
func (l *lab) logged(limit time.Duration, mark int, words ...string) error {
	return until(limit, func() error {
		text, err := l.Get(lnsDir + "/lnsd.log")
		if err != nil {
			return err
		}
	lines:
		for _, line := range strings.Split(text[min(mark, len(text)):], "\n") {
			for _, w := range words {
				if !strings.Contains(line, w) {
					continue lines
				}
			}
			return nil
		}
		return fmt.Errorf("lnsd has not logged a line with %q; the last it said:\n%s", words, lastLines(text, 15))
	})
}

// mark is where lnsd's log is now.
func (l *lab) mark() int {
	text, _ := l.Get(lnsDir + "/lnsd.log")
	return len(text)
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
