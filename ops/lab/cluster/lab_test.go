package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
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

	"github.com/jackc/pgx/v5"

	"culvert/aaa/radius/radtest"
	"culvert/ops/lab/proc"
	"culvert/sessiondb/postgres/pgtest"
)

const (
	radiusSecret = "radius secret"
	password     = "subscriber's password"
	lease        = 3 * time.Second
	// takeover is how long an address may be silent: 1.2 leases without a
	// renewal, at most half a lease of promises, what asking takes, and loading.
	takeover = 3 * lease
	// patience is added to what is waited for, since a busy machine may stop a process for long. How long things
	// took is told, not judged; sessiondb/cluster proves the bounds in virtual time.
	patience = 60 * time.Second
	// answerTime is how long an answer may take before its packet counts as lost.
	answerTime = 5 * time.Second
)

// service are the service addresses; the first is a's, the second b's.
var service = [2]netip.Addr{netip.MustParseAddr("10.1.0.101"), netip.MustParseAddr("10.1.0.102")}

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
	t      *testing.T
	dir    string
	radius *radtest.Server
	db     *pgtest.Server
	dbURL  string // from here
	nodes  map[string]*node
	lacs   *proc.Daemon
	stdin  *os.File
	watch  *watch
	extra  string // of the nodes' configuration, of section database
	// What dial brings up: sessions, in tunnels, to the addresses of lns, with so many pings a second.
	tunnels, each int
	lns           []netip.Addr
	rate          string
	more          []string // arguments of lacsim
}

func (l *lab) sessions() int { return l.tunnels * l.each }

// node is an lnsd.
type node struct {
	name  string
	l     *lab
	index int
	d     *proc.Daemon
	lives int
	// program is lnsd, where it is not that of bin.
	program string
}

const config = `node: %[1]s
l2tp: {listen: ["%[2]v:1701", "%[3]v:1701"], shards: 2}
plane: {mode: memory}
subscriber: {local_address: 100.64.0.1}
lacs: [{name: lab, prefixes: [10.1.0.0/24], hello: 5s}]
radius:
  auth: {servers: [{name: auth, address: "10.4.%[4]d.254:1812", secret: %[5]s, timeout: 500ms, retries: 1, dead_time: 1s}]}
  acct: {servers: [{name: acct, address: "10.4.%[4]d.254:1813", secret: %[5]s, timeout: 500ms, retries: 1, dead_time: 1s}]}
pools: [{name: main, ranges: [100.6%[4]d.1.0-100.6%[4]d.255.255]}]
journal: {dir: %[6]s/journal-%[1]s}
database: {url: "%[7]s", migrate: true%[8]s}
cluster: {address: "10.2.0.%[4]d:9108", interface: eth0, prefer: ["%[9]v:1701"], lease: %[10]v, counters: 1s}
api: {socket: %[6]s/%[1]s.sock, http: ""}
`

// newLab makes the networks and starts everything. extra is more of section
// database of the nodes; backends are other databases than db behind further proxies.
func newLab(t *testing.T, db *pgtest.Server, extra string, backends ...*pgtest.Server) *lab {
	return newLabBy(t, false, db, extra, backends...)
}

// newLabBy is newLab whose nodes see the databases through a pgbouncer each, in transaction mode.
func newLabBy(t *testing.T, bouncer bool, db *pgtest.Server, extra string, backends ...*pgtest.Server) *lab {
	if !proc.Inside() {
		if os.Getenv("CI") == "true" {
			t.Fatal("the suite has to run as root")
		}
		t.Skip("needs root, for namespaces")
	}
	dir, err := os.MkdirTemp("", "c") // a short path, for sockets
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := &lab{t: t, dir: dir, db: db, nodes: map[string]*node{}, extra: extra,
		tunnels: 4, each: 20, lns: service[:], rate: "5"}
	l.network()
	l.dbURL = db.NewDatabase(t)
	l.radius, err = radtest.New(radtest.Config{Secret: []byte(radiusSecret), AnyPassword: password,
		Auth: netip.MustParseAddrPort("0.0.0.0:1812"), Acct: netip.MustParseAddrPort("0.0.0.0:1813")})
	must(t, err)
	t.Cleanup(func() { l.radius.Close() })
	var hosts []string
	for i, s := range append([]*pgtest.Server{db}, backends...) {
		port, to := 5432+i, s.Port
		if bouncer {
			to = pgtest.StartBouncer(t, s, 10).Port
		}
		proxy(t, fmt.Sprint("0.0.0.0:", port), fmt.Sprint("127.0.0.1:", to))
		hosts = append(hosts, fmt.Sprintf("10.3.LINK.254:%d", port))
	}
	name := l.dbURL[strings.LastIndexByte(l.dbURL, '/')+1:]
	for i, n := range []string{"a", "b"} {
		at := strings.ReplaceAll(strings.Join(hosts, ","), "LINK", fmt.Sprint(i+1))
		url := "postgres://postgres@" + at + "/" + name + "&connect_timeout=2&target_session_attrs=read-write"
		text := fmt.Sprintf(config, n, service[0], service[1], i+1, radiusSecret, dir, url, extra, service[i], lease)
		must(t, os.WriteFile(filepath.Join(dir, n+".yaml"), []byte(text), 0o600))
		l.nodes[n] = &node{name: n, l: l, index: i + 1}
	}
	t.Cleanup(l.end)
	l.nodes["a"].start()
	l.nodes["b"].start()
	l.owns("a", "b")
	l.known()
	// Each renews three times in a lease, and so has on its disk what the other has claimed. Who starts without the
	// database, and hears of claims that it did not know, has to wait for the database.
	time.Sleep(lease)
	return l
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
	if l.lacs != nil {
		_ = l.lacs.Stop(syscall.SIGKILL, 10*time.Second)
	}
	for _, n := range []string{"a", "b"} {
		if d := l.nodes[n].d; d != nil {
			_ = d.Stop(syscall.SIGCONT, 0)
			_ = d.Stop(syscall.SIGKILL, 10*time.Second)
			if l.t.Failed() {
				l.t.Logf("%s:\n%s", n, d.Tail(40))
			}
		}
	}
}

// network makes the namespaces: a and b with an access network (10.1.0.0/24,
// bridge acc), one between the nodes (10.2.0.0/24, bridge mgm), and each a link to
// the database (10.3.x.0/24) and one to RADIUS (10.4.x.0/24); and lac.
func (l *lab) network() {
	l.t.Helper()
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, br := range []string{"acc", "mgm"} {
		add("link add %s type bridge", br)
		add("link set %s up", br)
	}
	port := func(ns, outside, inside, address, bridge string) {
		add("link add %s type veth peer name %s netns %s", outside, inside, ns)
		add("link set %s up", outside)
		add("-n %s link set %s up", ns, inside)
		add("-n %s address add %s dev %s", ns, address, inside)
		if bridge != "" {
			add("link set %s master %s", outside, bridge)
		}
	}
	for i, n := range []string{"a", "b"} {
		add("netns add %s", n)
		add("-n %s link set lo up", n)
		port(n, "acc-"+n, "eth0", fmt.Sprintf("10.1.0.%d/24", i+1), "acc")
		port(n, "mgm-"+n, "mgm0", fmt.Sprintf("10.2.0.%d/24", i+1), "mgm")
		port(n, "db-"+n, "db0", fmt.Sprintf("10.3.%d.1/24", i+1), "")
		add("address add 10.3.%d.254/24 dev db-%s", i+1, n)
		port(n, "aaa-"+n, "aaa0", fmt.Sprintf("10.4.%d.1/24", i+1), "")
		add("address add 10.4.%d.254/24 dev aaa-%s", i+1, n)
	}
	add("netns add lac")
	add("-n lac link set lo up")
	port("lac", "acc-lac", "eth0", "10.1.0.9/24", "acc")
	must(l.t, proc.IP(lines...))
	l.t.Cleanup(func() {
		for _, line := range []string{"netns del a", "netns del b", "netns del lac", "link del acc", "link del mgm"} {
			_ = proc.IP(line)
		}
		// The veths go with their namespaces, some moments later.
		for _, dev := range []string{"acc-a", "acc-b", "acc-lac", "db-a", "db-b", "aaa-a", "aaa-b"} {
			_ = proc.Await(10*time.Second, 20*time.Millisecond, nil, func() error {
				if proc.IP("link show dev "+dev) == nil {
					return errors.New("still there")
				}
				return nil
			})
		}
	})
	l.watch = startWatch(l.t, "a", "b")
}

// cut takes a node's links down or up: db or mgm.
func (n *node) cut(links ...string)  { n.links("down", links) }
func (n *node) mend(links ...string) { n.links("up", links) }

func (n *node) links(state string, links []string) {
	n.l.t.Helper()
	for _, link := range links {
		must(n.l.t, proc.IP(fmt.Sprintf("link set %s-%s %s", link, n.name, state)))
	}
}

// start starts a life of the node.
func (n *node) start() {
	defer n.l.stage("start " + n.name)()
	n.l.t.Helper()
	n.lives++
	var err error
	n.d, err = proc.Start(n.l.dir, fmt.Sprintf("%s%d", n.name, n.lives), nil,
		"ip", "netns", "exec", n.name, cmp.Or(n.program, filepath.Join(bin, "lnsd")), "run", "--config", filepath.Join(n.l.dir, n.name+".yaml"))
	must(n.l.t, err)
	must(n.l.t, proc.Await(patience, 50*time.Millisecond, n.d, func() error { _, err := n.ctl("status"); return err }))
}

func (n *node) signal(sig syscall.Signal) { must(n.l.t, syscall.Kill(n.d.PID(), sig)) }

// kill is kill -9.
func (n *node) kill() { _ = n.d.Stop(syscall.SIGKILL, 10*time.Second) }

// ctl runs lnsctl.
func (n *node) ctl(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "lnsctl"), append([]string{"--address", "unix://" + n.l.dir + "/" + n.name + ".sock"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("lnsctl %v: %w: %s", args, err, out)
	}
	return string(out), err
}

// clusterStatus is what lnsctl says, as far as it is of use here.
type clusterStatus struct {
	Promise string
	Nodes   []struct {
		Name     string
		Draining bool
	}
	Addresses []struct {
		Address, Owner string
		Serving        bool
	}
}

func (n *node) status() (s clusterStatus, err error) {
	out, err := n.ctl("-o", "json", "cluster", "status")
	if err == nil {
		err = json.Unmarshal([]byte(out), &s)
	}
	return s, err
}

// serving are the service addresses that the node says it answers for.
func (n *node) serving() []string {
	s, err := n.status()
	if err != nil {
		return []string{err.Error()}
	}
	var list []string
	for _, a := range s.Addresses {
		if a.Serving {
			list = append(list, a.Address)
		}
	}
	return list
}

// known waits until each node has heard of the other, has its promise, and has said so in the
// database: from then on the one may take over from the other, and give it an address.
func (l *lab) known() {
	defer l.stage("known")()
	l.t.Helper()
	must(l.t, proc.Await(patience, 50*time.Millisecond, nil, func() error {
		for _, n := range l.nodes {
			s, err := n.status()
			if err != nil {
				return err
			}
			if s.Promise == "" || s.Promise == "0s" {
				return fmt.Errorf("%s has no promise yet", n.name)
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		c, err := pgx.Connect(ctx, l.dbURL)
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		var unseen int
		if err = c.QueryRow(ctx, "select 2 - count(*) from cluster_nodes where seen >= (select members from cluster)").Scan(&unseen); err == nil && unseen > 0 {
			err = fmt.Errorf("%d nodes have not said that they know the other", unseen)
		}
		return err
	}))
}

// owns waits until the service addresses are served by these nodes.
func (l *lab) owns(one, two string) {
	defer l.stage("owns")()
	l.t.Helper()
	want := map[string][]string{one: {service[0].String() + ":1701"}}
	want[two] = append(want[two], service[1].String()+":1701")
	must(l.t, proc.Await(patience, 100*time.Millisecond, nil, func() error {
		for name, list := range want {
			if n := l.nodes[name]; n.d == nil || !slices.Equal(n.serving(), list) {
				if n.d == nil {
					continue
				}
				return fmt.Errorf("%s serves %v, want %v", name, n.serving(), list)
			}
		}
		return nil
	}))
}

// ids are the sessions that are up on a node.
func (n *node) ids() []string {
	out, err := n.ctl("-o", "json", "session", "list", "--state", "up")
	var list []struct{ ID string }
	if err == nil {
		err = json.Unmarshal([]byte(out), &list)
	}
	must(n.l.t, err)
	var ids []string
	for _, s := range list {
		ids = append(ids, s.ID)
	}
	return ids
}

// dial brings the subscribers up, who ping from then on.
func (l *lab) dial() {
	defer l.stage("dial")()
	l.t.Helper()
	r, w, err := os.Pipe()
	must(l.t, err)
	defer r.Close()
	l.stdin = w
	args := []string{"ip", "netns", "exec", "lac", filepath.Join(bin, "lacsim"), "run",
		"--lns", strings.Trim(strings.ReplaceAll(fmt.Sprint(l.lns), " ", ","), "[]"), "--lacs", fmt.Sprint(l.tunnels), "--sessions", fmt.Sprint(l.each),
		"--password", password, "--hello", "5s", "--traffic", "ping", "--packets", "0", "--packet-rate", l.rate, "--wait", answerTime.String(), "--setup-timeout", "2m", "--stay", "--stdin", "-q",
		"--json", filepath.Join(l.dir, "report.json")}
	l.lacs, err = proc.Start(l.dir, "lacsim", r, append(args, l.more...)...)
	must(l.t, err)
	must(l.t, proc.Await(4*time.Minute, 100*time.Millisecond, l.lacs, func() error {
		if n := len(l.all("a", "b")); n != l.sessions() {
			return fmt.Errorf("%d sessions are up, want %d", n, l.sessions())
		}
		return nil
	}))
}

// all are the sessions of several nodes, sorted.
func (l *lab) all(nodes ...string) []string {
	var ids []string
	for _, n := range nodes {
		ids = append(ids, l.nodes[n].ids()...)
	}
	slices.Sort(ids)
	return ids
}

// same checks that exactly these sessions are up on these nodes.
func (l *lab) same(before []string, nodes ...string) {
	l.t.Helper()
	if now := l.all(nodes...); !slices.Equal(before, now) {
		l.t.Errorf("%d sessions are up on %v, %d were before", len(now), nodes, len(before))
	}
}

// tableQueries are what the database has of a node.
var tableQueries = map[string]string{
	"session": `select x from (select format('%s %s %s', acct_session_id, user_name, host(address)) from sessions where node = $1) as q(x) order by x collate "C"`,
	"tunnel":  `select x from (select format('%s:%s/%s %s', host(local_address), local_port, tunnel_id, peer_name) from tunnels where node = $1) as q(x) order by x collate "C"`,
}

// memory is what a node itself says of its sessions or tunnels, in the words of tableQueries.
func (n *node) memory(what string) (list []string) {
	n.l.t.Helper()
	args := []string{"-o", "json", what, "list"}
	if what == "session" {
		args = append(args, "--state", "up")
	}
	out, err := n.ctl(args...)
	must(n.l.t, err)
	var found []struct {
		ID                          any
		User, Address, Local, State string
		PeerName                    string `json:"peer_name"`
	}
	must(n.l.t, json.Unmarshal([]byte(out), &found))
	for _, x := range found {
		if strings.HasSuffix(x.State, "_CLOSING") {
			continue // it is gone, but for what the LAC may repeat: no other node needs it
		}
		if what == "session" {
			list = append(list, fmt.Sprintf("%v %s %s", x.ID, x.User, x.Address))
		} else {
			list = append(list, fmt.Sprintf("%s/%v %s", x.Local, x.ID, x.PeerName))
		}
	}
	slices.Sort(list)
	return list
}

// tables checks that the database has what the nodes have in memory.
func (l *lab) tables(nodes ...string) {
	defer l.stage("tables")()
	l.t.Helper()
	err := proc.Await(patience, 250*time.Millisecond, nil, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		c, err := pgx.Connect(ctx, l.dbURL)
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		for _, n := range nodes {
			for what, query := range tableQueries {
				rows, err := c.Query(ctx, query, n)
				if err != nil {
					return err
				}
				got, err := pgx.CollectRows(rows, pgx.RowTo[string])
				if err != nil {
					return err
				}
				if want := l.nodes[n].memory(what); !slices.Equal(got, want) {
					return fmt.Errorf("the database has %d %ss of %s, its memory %d, or not the same: %.200q, %.200q", len(got), what, n, len(want), got, want)
				}
			}
		}
		return nil
	})
	if err != nil {
		l.t.Error(err)
	}
}

// report is what lacsim says at its end.
type report struct {
	Lost    int `json:"packets_lost"`
	Packets struct{ Sent, Answered, Duplicate int }
	Latency struct {
		Max float64 `json:"max_ms"`
	}
}

// hangUp ends all sessions, and expects that the LAC has noticed nothing and
// that every session is accounted once.
func (l *lab) hangUp() (r report) {
	defer l.stage("hangUp")()
	l.t.Helper()
	fmt.Fprintln(l.stdin, "hangup")
	l.stdin.Close()
	select {
	case <-l.lacs.Done:
	case <-time.After(60 * time.Second):
		l.t.Fatalf("lacsim does not end:\n%s", l.lacs.Tail(20))
	}
	l.lacs = nil
	text, err := os.ReadFile(filepath.Join(l.dir, "report.json"))
	must(l.t, err)
	must(l.t, json.Unmarshal(text, &r))
	l.t.Logf("lacsim counts %d of %d packets lost, %d answered twice; the slowest answer took %.0f ms",
		r.Lost, r.Packets.Sent, r.Packets.Duplicate, r.Latency.Max)
	must(l.t, proc.Await(patience, 100*time.Millisecond, nil, func() error {
		c := l.radius.Counts()
		if c.Sessions != l.sessions() || c.Open != 0 {
			return fmt.Errorf("want %d sessions with a Start and a Stop each, have %+v", l.sessions(), c)
		}
		return nil
	}))
	if c := l.radius.Counts(); c.StopsWithoutStart != 0 || c.RecordsAfterStop != 0 {
		l.t.Errorf("accounting out of order: %+v", c)
	}
	return r
}
