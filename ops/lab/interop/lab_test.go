package interop

import (
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"culvert/ops/lab/guest"
	"culvert/ops/lab/proc"
	"culvert/sessiondb/postgres/pgtest"
)

// The addresses of the lab. lnsAddr is where L2TP comes to; guestAddrs are
// the guest's, one for each kind of LAC; what subscribers talk to is coreAddr.
const (
	linkName      = "tap0"
	lnsAddr       = "10.99.0.1"
	otherLNSAddr  = "10.99.0.6" // L2TP comes here too
	securedAddr   = "10.99.0.2" // LACs here have tunnelSecret
	openAddr      = "10.99.0.3" // LACs here have no secret
	heldAddr      = "10.99.0.4" // the LAC of the call that is up during the whole run
	strangeAddr   = "10.99.0.5" // LACs here get a HELLO each second
	l2tpnsAddr    = "10.99.0.8" // l2tpns, beside lnsd
	coreAddr      = "192.0.2.1"
	otherCoreAddr = "192.0.2.2"
	heldCoreAddr  = "192.0.2.3"
	// gatewayAddr is the LNS' end of every link. Were it lnsAddr, the subscriber's
	// route to it would send the tunnel into itself.
	gatewayAddr  = "100.64.0.1"
	tunnelSecret = "tunnel-secret"
)

var (
	guestAddrs = []string{securedAddr, openAddr, heldAddr, strangeAddr}
	pool       = netip.MustParsePrefix("100.64.0.0/24")
)

// lab is everything that a call goes through.
type lab struct {
	out     string
	guest   *guest.Host
	radius  radius
	core    *core
	capture *capture
	lnsd    *lnsd
	bin     string // where the programs under test are
	report  *report
}

// newLab starts everything, the slow things side by side.
func newLab(t *testing.T) *lab {
	t.Helper()
	out := os.Getenv(envOut)
	if out == "" {
		out = t.TempDir()
	}
	must(t, os.MkdirAll(out, 0o755))
	bin := t.TempDir()
	l := &lab{out: out, bin: bin, report: &report{}}
	var db *pgtest.Server
	var slow errgroup.Group
	slow.Go(func() error { return build(bin) })
	slow.Go(func() (err error) {
		db, err = pgtest.New()
		return err
	})
	must(t, makeCore())
	l.startGuest(t)
	must(t, proc.IP("addr add "+lnsAddr+"/24 dev "+linkName, "addr add "+otherLNSAddr+"/24 dev "+linkName, "link set "+linkName+" up"))
	l.capture = startCapture(t, out)
	l.core = startCore(t)
	c := newCerts(t)
	l.radius = startRADIUS(t, c)
	must(t, prepareGuest(l.guest))
	must(t, c.put(l.guest))
	err := slow.Wait()
	if db != nil {
		t.Cleanup(db.Close)
	}
	must(t, err)
	l.lnsd = startLNSD(t, out, bin, db, l.radius)
	return l
}

// makeCore gives this namespace the addresses that subscribers reach.
func makeCore() error {
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return err
	}
	return proc.IP(
		"addr add "+coreAddr+"/32 dev lo",
		"addr add "+otherCoreAddr+"/32 dev lo",
		"addr add "+heldCoreAddr+"/32 dev lo",
	)
}

// startGuest boots the guest: of this machine's kernel if it has PPP, else User-Mode Linux.
func (l *lab) startGuest(t *testing.T) {
	t.Helper()
	// The guest's sockets need a short path, and its own /tmp hides this one.
	dir, err := os.MkdirTemp("", "lac")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	agent, err := guest.BuildAgent(dir)
	must(t, err)
	cfg := guest.Config{Dir: dir, Agent: agent, Memory: "192M", Tap: linkName,
		Modules: []string{"ppp_generic", "ppp_async", "ppp_synctty", "pppox", "l2tp_ppp", "sch_netem", "sch_prio", "cls_u32"}}
	if guest.HostHasPPP() {
		l.guest, err = guest.StartNative(cfg)
	} else {
		must(t, proc.IP("tuntap add "+linkName+" mode tap"))
		l.guest, err = guest.StartUML(cfg)
	}
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "guest.log")) // for people
		t.Fatalf("%v\n%s", err, log)
	}
	t.Cleanup(func() {
		if err := l.guest.Close(); err != nil {
			t.Error(err)
		}
	})
}

// report collects rows for the table.
type report struct {
	mu   sync.Mutex
	rows []*row
}

// row is one case in the table.
type row struct {
	t    *testing.T
	name string
	// began and ended bound the case in the capture.
	began, ended time.Time
	// setup is read from the capture after the run; wantSetup asks for it.
	wantSetup bool
	setup     time.Duration
	// calls have ended; the capture is asked for their octets.
	calls []*call
	marks map[string]string
	note  string
	// failed says that the capture showed a failure after the case had ended.
	failed bool
}

// row begins a case.
func (r *report) row(t *testing.T, name string) *row {
	t.Helper()
	x := &row{t: t, name: name, began: time.Now(), marks: map[string]string{}}
	r.mu.Lock()
	r.rows = append(r.rows, x)
	r.mu.Unlock()
	t.Cleanup(func() {
		x.ended = time.Now()
		if t.Failed() && x.note == "" {
			x.note = "see the log"
		}
	})
	return x
}

// check does one step of a case and marks it. It tells whether it passed.
func (x *row) check(column string, step func() error) bool {
	x.t.Helper()
	began := time.Now()
	err := step()
	x.t.Logf("%s: %v", column, time.Since(began).Round(time.Millisecond))
	if err != nil {
		x.marks[column] = "FAIL"
		if x.note == "" {
			x.note = firstLine(err.Error())
		}
		x.t.Errorf("%s: %v", column, err)
		return false
	}
	if x.marks[column] == "" {
		x.marks[column] = "ok"
	}
	return true
}

// refused is check for a step whose success is that nobody came in.
func (x *row) refused(column string, step func() error) {
	x.t.Helper()
	if x.check(column, step) {
		x.marks[column] = "refused"
	}
}

// ofLNS tells the addresses of ours from the LACs'.
func ofLNS(addr string) bool { return addr == lnsAddr || addr == otherLNSAddr }
