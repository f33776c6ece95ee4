package ipsec

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/sessiondb/postgres"
	"culvert/sessiondb/postgres/pgtest"
)

// envTakeover is set by ops/lab/bench/ipsec.sh takeover: two nodes and a PostgreSQL in one guest take minutes.
const envTakeover = "CULVERT_IPSEC_TAKEOVER"

const (
	// serviceAddr is the address that moves; each node has another of its own.
	serviceAddr = "10.1.0.101"
	pgDir       = dir + "/pg"
)

// pairConfig is the file of one of two nodes.
const pairConfig = `node: %[1]s
l2tp:
  listen: ["` + serviceAddr + `:1701"]
  shards: 2
subscriber:
  local_address: 100.64.0.1
lacs:
  - name: keyed
    prefixes: [10.3.1.1/32]
    hello: 10s
    ipsec: {psk: "` + sharedKey + `", dpd_delay: 4s, dpd_timeout: 12s}
radius:
  lab: {password: ` + password + `}
pools:
  - {name: main, ranges: [100.64.%[2]d.10-100.64.%[2]d.250]}
journal: {dir: %[3]s/journal}
database: {url: "postgres://postgres@/postgres?host=` + pgDir + `&connect_timeout=10"}
cluster: {address: "10.1.0.%[2]d:9108", interface: wan0, lease: 15s, counters: 2s%[4]s}
ipsec: {socket: %[3]s/vici}
api: {socket: %[3]s/lnsd.sock, http: ""}
log: {level: debug}
`

// node is an LNS with its strongSwan, one of a pair.
type node struct {
	l      *lab
	ns     string // and its name
	number int
	swan   *charon
}

func (n *node) dir() string { return dir + "/" + n.ns }

// start starts charon and lnsd.
func (n *node) start(more string) (err error) {
	if err := n.l.Put(n.dir()+"/lnsd.yaml", fmt.Sprintf(pairConfig, n.ns, n.number, n.dir(), more), 0o600); err != nil {
		return err
	}
	if n.swan, err = n.l.startCharon(n.ns, "retransmit_tries = 5\n retransmit_timeout = 1.0\n retransmit_base = 1.4"); err != nil {
		return err
	}
	_, err = n.l.sh(n.ns, 20*time.Second, "cd %s && setsid %s/lnsd run --config lnsd.yaml >>lnsd.log 2>&1 </dev/null & echo $! > %s/lnsd.pid", n.dir(), n.l.bin, n.dir())
	return err
}

func (n *node) ctl(args string) (string, error) {
	text, err := n.l.sh(n.ns, 30*time.Second, "%s/lnsctl --timeout 60s --address unix://%s/lnsd.sock %s 2>&1", n.l.bin, n.dir(), args)
	if err != nil {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return text, err
}

// ready waits until the node has joined and knows the other, and serves the address or not.
func (n *node) ready(serves bool) error {
	return until(6*time.Minute, func() error {
		text, err := n.ctl("cluster status -o json")
		if err != nil {
			return err
		}
		var s struct {
			Promise   string
			Nodes     []struct{ Name string }
			Addresses []struct {
				Address string
				Serving bool
			}
		}
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			return fmt.Errorf("%w in %q", err, text)
		}
		serving := len(s.Addresses) == 1 && s.Addresses[0].Serving
		if serving != serves || len(s.Nodes) != 2 || s.Promise == "" || s.Promise == "0s" {
			return fmt.Errorf("%s: %s", n.ns, text)
		}
		return nil
	})
}

// sessions are the ids of those that are up, with the identity of the SA of each one's tunnel.
func (n *node) sessions() (string, error) {
	text, err := n.ctl("session list --state up -o json")
	if err != nil {
		return "", err
	}
	var list []struct{ ID string }
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return "", fmt.Errorf("%w in %q", err, text)
	}
	var ids []string
	for _, s := range list {
		ids = append(ids, s.ID)
	}
	return strings.Join(ids, " "), nil
}

// die ends the node as a power cut does: lnsd, charon and the link.
func (n *node) die() error {
	_, err := n.l.Run(20*time.Second, fmt.Sprintf("kill -9 $(cat %[1]s/lnsd.pid) $(cat %[1]s/charon.pid); ip -n wan link set %[2]s0 down", n.dir(), n.ns))
	return err
}

// TestTakeover has a node die whose LAC comes over IPsec: the other one takes its address, where the LAC's IKE comes
// back by itself, and the tunnel with its session goes on.
func TestTakeover(t *testing.T) {
	if os.Getenv(envTakeover) == "" {
		return // it is no part of make interop, which wants nothing skipped
	}
	needs(t)
	l := boot(t, "bridge")
	t.Cleanup(func() {
		if err := l.report.writeTo(l.out, "takeover"); err != nil {
			t.Error(err)
		}
	})
	must(t, l.database(t))
	must(t, l.pair())
	must(t, l.putLNS())
	one, two := &node{l: l, ns: "lns", number: 1}, &node{l: l, ns: "two", number: 2}
	x, err := l.startLAC("direct", 1701)
	must(t, err)
	must(t, x.callAt(serviceAddr))
	c := conn{name: "isp", version: 2, psk: sharedKey, lns: serviceAddr, more: "local_addrs = " + directAddr + "\n    dpd_delay = 3s\n    keyingtries = 0", child: "dpd_action = restart"}
	t.Run("node dies", func(t *testing.T) { l.nodeDies(t, x, c, one, two) })
	t.Run("address moved", func(t *testing.T) { l.nodeMoves(t, x, one, two) })
}

func (l *lab) nodeDies(t *testing.T, x *lac, c conn, one, two *node) {
	r := l.report.row(t)
	r.check("two nodes", func() error {
		if err := one.start(`, prefer: ["` + serviceAddr + `:1701"]`); err != nil {
			return err
		}
		if err := two.start(""); err != nil {
			return err
		}
		if err := one.ready(true); err != nil {
			return err
		}
		return two.ready(false)
	})
	l.up(r, x, c)
	r.check("pings", l.flows)
	before, err := one.sessions()
	must(t, err)
	r.check("node dies", one.die)
	l.backAt(r, x, two, before)
}

// nodeMoves brings the first node back and moves the address to it, as an operator does.
func (l *lab) nodeMoves(t *testing.T, x *lac, one, two *node) {
	r := l.report.row(t)
	before, err := two.sessions()
	must(t, err)
	r.check("the first node is back", func() error {
		if _, err := l.Run(10*time.Second, "ip -n wan link set lns0 up; ip -n lns addr del "+serviceAddr+"/32 dev wan0 2>/dev/null; ip -n lns xfrm state flush; true"); err != nil {
			return err
		}
		if err := one.start(""); err != nil {
			return err
		}
		return one.ready(false)
	})
	r.check("moved", func() error {
		_, err := two.ctl("node drain --to lns")
		return err
	})
	l.backAt(r, x, one, before)
}

// backAt waits until the LAC's packets flow again, and wants its session to be the same, at the node.
func (l *lab) backAt(r *row, x *lac, n *node, before string) {
	began := time.Now()
	r.check("LAC came back", func() error {
		return until(4*time.Minute, func() error {
			p, text, err := l.ping("direct", 30*time.Second, "-to %s -count 3 -every 50ms -wait 500ms", coreAddr)
			if err == nil && p.received != 3 {
				err = fmt.Errorf("pings: %s", text)
			}
			return err
		})
	})
	r.note = fmt.Sprintf("packets flow %.0f s after", time.Since(began).Seconds())
	r.check("the same session", func() error {
		now, err := n.sessions()
		if err == nil && (now != before || before == "") {
			err = fmt.Errorf("session %q, was %q", now, before)
		}
		return err
	})
	r.check("in an SA of this node", func() error {
		text, err := n.ctl("tunnel list")
		if err == nil && !strings.Contains(text, directAddr) {
			err = fmt.Errorf("tunnels are %s", text)
		}
		if err != nil {
			return err
		}
		text, err = n.ctl("ipsec list")
		if err == nil && !strings.Contains(text, directAddr) {
			err = fmt.Errorf("SAs are %s", text)
		}
		return err
	})
	r.check("it stays", func() error {
		time.Sleep(25 * time.Second) // two HELLOs, and a look for dead peers
		return l.flows()
	})
}

// callAt has a LAC's xl2tpd call another address.
func (x *lac) callAt(address string) error {
	if _, err := x.l.sh(x.ns, 10*time.Second, "sed -i 's/^lns = .*/lns = %s/' %s/%s/xl2tpd.conf", address, dir, x.ns); err != nil {
		return err
	}
	return x.reset()
}

// pair joins the LNS's namespace and that of a second node, two, in one network.
func (l *lab) pair() error {
	_, err := l.Run(60*time.Second, `set -e
ip netns add two; ip -n two link set lo up; ip -n two addr add `+coreAddr+`/32 dev lo
ip netns exec two sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
ip -n wan addr del 10.1.0.254/24 dev lns0; ip -n wan link add br0 type bridge; ip -n wan link set lns0 master br0
ip -n two link add wan0 type veth peer name two0 netns wan; ip -n wan link set two0 master br0
ip -n wan addr add 10.1.0.254/24 dev br0; ip -n wan link set br0 up; ip -n wan link set two0 up
ip -n two addr add 10.1.0.2/24 dev wan0; ip -n two link set wan0 up; ip -n two route add default via 10.1.0.254`)
	return err
}

// database starts a PostgreSQL in the guest, which everybody there reaches by a unix socket. Its folder, with the
// tables, is made on this machine: in a guest that takes long.
func (l *lab) database(t *testing.T) error {
	pg := pgtest.Start(t)
	if err := postgres.Migrate(t.Context(), pg.ConnString("postgres")); err != nil {
		return err
	}
	pg.Stop()
	from := pg.Dir
	if l.Kind == "uml" {
		from = "/mnt/old" + from
	}
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(bins) == 0 {
		return fmt.Errorf("no postgres in /usr/lib/postgresql: %v", err)
	}
	_, err = l.Run(3*time.Minute, fmt.Sprintf(`set -e
mkdir -p %[1]s && cp -r %[2]s/data %[1]s/ && chown -R postgres:postgres %[1]s && chmod 0755 %[1]s && chmod 0700 %[1]s/data && rm -f %[1]s/data/postmaster.pid
(setsid setpriv --reuid postgres --regid postgres --clear-groups %[3]s -D %[1]s/data -k %[1]s -c listen_addresses= -c fsync=off -c dynamic_shared_memory_type=mmap -c shared_buffers=16MB -c max_connections=40 >%[1]s/pg.log 2>&1 </dev/null &)
for i in $(seq 300); do grep -q 'ready to accept' %[1]s/pg.log && exit 0; sleep 0.2; done; cat %[1]s/pg.log; exit 1`, pgDir, from, bins[len(bins)-1]))
	return err
}
