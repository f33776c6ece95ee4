package cluster

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/aaa/radius/radtest"
	"culvert/ops/lab/proc"
	"culvert/sessiondb/postgres/pgtest"
)

const (
	radiusSecret = "radius secret"
	password     = "subscriber's password"
	// patience is added to what is waited for, since a busy machine may stop a process for long. How long things
	// took is told, not judged; sessiondb/cluster proves the bounds in virtual time.
	patience = 60 * time.Second
	// answerTime is how long an answer may take before its packet counts as lost.
	answerTime = 5 * time.Second
)

var (
	// lease is TAKEOVER_LEASE seconds, 3 where it says nothing.
	lease = time.Duration(size("TAKEOVER_LEASE", 3)) * time.Second
	// takeover is how long an address may be silent: 1.2 leases without a
	// renewal, at most half a lease of promises, what asking takes, and loading.
	takeover = 3 * lease
)

var bin string

func TestMain(m *testing.M) { os.Exit(proc.Main(func() int { return run(m) })) }

// run builds the programs once for all tests.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "cluster")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	build := exec.Command("go", "build", "-o", dir, "culvert/cmd/lnsd", "culvert/cmd/lnsctl", "culvert/cmd/lacsim")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lab is two nodes, a LAC with subscribers who never stop to ping, a RADIUS
// server and a database.
type lab struct {
	family
	t      *testing.T
	dir    string
	radius *radtest.Server
	db     *pgtest.Server
	dbURL  string // from here
	nodes  map[string]*node
	sim    *proc.Daemon
	stdin  *os.File
	watch  *watch
	// What dial brings up: sessions, in tunnels, to the addresses of lns, with so many pings a second.
	tunnels, each int
	lns           []netip.Addr
	rate          string
	more          []string // arguments of lacsim
}

func (l *lab) sessions() int { return l.tunnels * l.each }

const config = `node: %[1]s
l2tp: {listen: ["%[2]v", "%[3]v"], shards: 2}
plane: {mode: memory}
subscriber: {local_address: 100.64.0.1}
lacs: [{name: lab, prefixes: ["%[12]s"], hello: 5s}]
radius:
  auth: {servers: [{name: auth, address: "10.4.%[4]d.254:1812", secret: %[5]s, timeout: 500ms, retries: 1, dead_time: 1s}]}
  acct: {servers: [{name: acct, address: "10.4.%[4]d.254:1813", secret: %[5]s, timeout: 500ms, retries: 1, dead_time: 1s}]}
pools: [{name: main, ranges: [100.6%[4]d.1.0-100.6%[4]d.255.255]}]
journal: {dir: %[6]s/journal-%[1]s}
database: {url: "%[7]s", migrate: true%[8]s}
cluster: {address: "%[11]v", interface: eth0, prefer: ["%[9]v"], lease: %[10]v, counters: 1s}
api: {socket: %[6]s/%[1]s.sock, http: ""}
`

// setup is what labs differ in.
type setup struct {
	family family
	// extra is more of section database of the nodes.
	extra string
	// backends are other databases behind further proxies.
	backends []*pgtest.Server
	// bouncer has the nodes see the databases through a pgbouncer each, in transaction mode.
	bouncer bool
}

// newLab makes the networks, in IPv4, and starts everything.
func newLab(t *testing.T, db *pgtest.Server, extra string, backends ...*pgtest.Server) *lab {
	return newLabBy(t, db, setup{family: overIPv4, extra: extra, backends: backends})
}

// newLabBy is newLab by a setup.
func newLabBy(t *testing.T, db *pgtest.Server, s setup) *lab {
	if !proc.Inside() {
		if os.Getenv("CI") == "true" {
			t.Fatal("the suite has to run as root")
		}
		t.Skip("needs root, for namespaces")
	}
	dir, err := os.MkdirTemp("", "c") // a short path, for sockets
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := &lab{family: s.family, t: t, dir: dir, db: db, nodes: map[string]*node{},
		tunnels: 4, each: 20, lns: s.family.service[:], rate: "5"}
	l.network()
	l.radius, err = radtest.New(radtest.Config{Secret: []byte(radiusSecret), AnyPassword: password,
		Auth: netip.MustParseAddrPort("0.0.0.0:1812"), Acct: netip.MustParseAddrPort("0.0.0.0:1813")})
	must(t, err)
	t.Cleanup(func() { l.radius.Close() })
	var hosts []string
	for i, backend := range append([]*pgtest.Server{db}, s.backends...) {
		port, to := 5432+i, backend.Port
		if s.bouncer {
			to = pgtest.StartBouncer(t, backend, 10).Port
		}
		proxy(t, fmt.Sprint("0.0.0.0:", port), fmt.Sprint("127.0.0.1:", to))
		hosts = append(hosts, fmt.Sprintf("10.3.LINK.254:%d", port))
	}
	for i, n := range []string{"a", "b"} {
		l.nodes[n] = &node{name: n, l: l, index: i + 1}
	}
	t.Cleanup(l.end)
	for try := 1; !l.begin(db, s.extra, hosts); try++ {
		if try == tries {
			t.Fatalf("%d times a node was so late that the other took its address", tries)
		}
	}
	l.known()
	// Each renews three times in a lease, and so has on its disk what the other has claimed. Who starts without the
	// database, and hears of claims that it did not know, has to wait for the database.
	time.Sleep(lease)
	return l
}

// tries is how often a cluster is begun.
const tries = 6

// begin starts the nodes on an empty database, and tells whether each has got the address that it prefers. On a machine that
// stands still for seconds one of them may be so late that the other takes over for it, as it should; then all is as before.
func (l *lab) begin(db *pgtest.Server, extra string, hosts []string) bool {
	l.t.Helper()
	l.dbURL = db.NewDatabase(l.t)
	name := l.dbURL[strings.LastIndexByte(l.dbURL, '/')+1:]
	for i, n := range []string{"a", "b"} {
		at := strings.ReplaceAll(strings.Join(hosts, ","), "LINK", fmt.Sprint(i+1))
		url := "postgres://postgres@" + at + "/" + name + "&connect_timeout=2&target_session_attrs=read-write"
		text := fmt.Sprintf(config, n, l.l2tp(0), l.l2tp(1), i+1, radiusSecret, l.dir, url, extra, l.l2tp(i), lease, l.peer(i+1), l.lacs)
		must(l.t, os.WriteFile(filepath.Join(l.dir, n+".yaml"), []byte(text), 0o600))
	}
	l.nodes["a"].start()
	l.nodes["b"].start()
	if l.inPlace() {
		return true
	}
	for n, x := range l.nodes {
		l.t.Logf("%s begins anew:\n%s", n, x.d.Tail(20))
		must(l.t, x.d.Stop(syscall.SIGTERM, patience))
		must(l.t, os.RemoveAll(filepath.Join(l.dir, "journal-"+n)))
	}
	return false
}

// inPlace waits until all service addresses are served, and tells whether each is by the node that prefers it.
func (l *lab) inPlace() (is bool) {
	defer l.stage("inPlace")()
	l.t.Helper()
	must(l.t, proc.Await(patience, 100*time.Millisecond, nil, func() error {
		a, b := l.nodes["a"].serving(), l.nodes["b"].serving()
		is = slices.Equal(a, []string{l.l2tp(0).String()}) && slices.Equal(b, []string{l.l2tp(1).String()})
		if len(a)+len(b) != len(l.lns) {
			return fmt.Errorf("a serves %v, and b %v", a, b)
		}
		return nil
	}))
	return is
}

// stage tells, in what it gives, how long something took, if that was long.
func (l *lab) stage(what string) (done func()) {
	began := time.Now()
	return func() {
		if took := time.Since(began); took > time.Second {
			l.t.Logf("%s took %v", what, took.Round(100*time.Millisecond))
		}
	}
}

func (l *lab) end() {
	defer l.stage("end")()
	if l.sim != nil {
		_ = l.sim.Stop(syscall.SIGKILL, 10*time.Second)
	}
	for _, n := range []string{"a", "b"} {
		if d := l.nodes[n].d; d != nil {
			child, none := 0, error(nil)
			if l.nodes[n].supervised {
				child, none = l.nodes[n].child()
			}
			_ = d.Stop(syscall.SIGCONT, 0)
			_ = d.Stop(syscall.SIGKILL, 10*time.Second)
			if child != 0 && none == nil {
				_ = syscall.Kill(child, syscall.SIGKILL)
			}
			if l.t.Failed() {
				l.t.Logf("%s:\n%s", n, d.Tail(40))
			}
		}
	}
}
