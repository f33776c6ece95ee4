package ipsec

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"culvert/ops/lab/proc"
)

// envSAs is how many LACs TestScale brings up, each with an address, an SA and a tunnel of its own; a
// few where it says nothing. ops/lab/bench/ipsec.sh asks for 2,000.
const envSAs = "CULVERT_IPSEC_SAS"

// scale is what TestScale has measured.
type scale struct {
	*lab
	t    *testing.T
	n    int
	lacs *charon
	rows [][2]string
}

// TestScale has many LACs come at once, measures what they cost, and brings lnsd back among them.
func TestScale(t *testing.T) {
	needs(t)
	s := &scale{t: t, n: 20}
	if v := os.Getenv(envSAs); v != "" {
		var err error
		s.n, err = strconv.Atoi(v)
		must(t, err)
	}
	s.lab = newLab(t)
	t.Cleanup(func() {
		if err := s.write(); err != nil {
			t.Error(err)
		}
	})
	must(t, s.addresses())
	var err error
	s.lacs, err = s.startCharon("direct", "threads = 80\n ikesa_table_size = 4096\n ikesa_table_segments = 16\n retransmit_timeout = 4.0")
	must(t, err)
	s.measure("SAs", s.establish)
	s.measure("tunnels and sessions", s.dial)
	s.measure("lnsctl ipsec list", s.list)
	s.measure("lnsd restarted (kill -9)", s.restart)
	s.measure("SAs deleted by the LACs", s.delete)
}

// addresses gives the LACs' namespace an address for each, and ways to them.
func (s *scale) addresses() error {
	var b strings.Builder
	for i := range 1<<(32-s.bits()) - 2 { // lacsim opens a socket for each
		fmt.Fprintf(&b, "address add %s/32 dev lo\n", manyAddr(i))
	}
	if err := s.Put(dir+"/addresses", b.String(), 0o600); err != nil {
		return err
	}
	_, err := s.Run(5*time.Minute, "ip -n wan route add 10.4.0.0/16 via "+directAddr+" && ip -n direct -batch "+dir+"/addresses")
	return err
}

// usage is what the processes and the kernel have used at a moment.
type usage struct {
	cpu    [3]time.Duration // of lnsd, the LNS's charon, the LACs' charon
	rss    [3]int           // KiB
	kernel int              // slabs, KiB: of all namespaces
	// busy is the time that the guest believes to have worked, host the time that this machine has given it: where others
	// want the processors too, a guest's clock goes on while it waits for them.
	busy, host time.Duration
}

func (s *scale) usage() (u usage, err error) {
	text, err := s.Run(20*time.Second, fmt.Sprintf(`for p in lns/lnsd lns/charon direct/charon; do p=$(cat %s/$p.pid); set -- $(sed 's/.*) //' /proc/$p/stat); echo $((${12}+${13})) $(awk '/VmRSS/ {print $2}' /proc/$p/status); done; awk '/^Slab/ {print $2}' /proc/meminfo; awk '/^cpu / {print $2+$3+$4+$7+$8}' /proc/stat`, dir))
	if err != nil {
		return u, err
	}
	f := strings.Fields(text)
	if len(f) != 8 {
		return u, fmt.Errorf("/proc says %q", text)
	}
	for i := range 3 {
		ticks, _ := strconv.Atoi(f[2*i])
		u.cpu[i] = time.Duration(ticks) * 10 * time.Millisecond
		u.rss[i], _ = strconv.Atoi(f[2*i+1])
	}
	u.kernel, _ = strconv.Atoi(f[6])
	ticks, _ := strconv.Atoi(f[7])
	u.busy = time.Duration(ticks) * 10 * time.Millisecond
	u.host, err = proc.CPUTree(s.PID())
	return u, err
}

// measure does one step and notes what it took.
func (s *scale) measure(what string, do func() (string, error)) {
	s.t.Helper()
	before, err := s.usage()
	must(s.t, err)
	began := time.Now()
	note, err := do()
	took := time.Since(began)
	if err != nil {
		s.rows = append(s.rows, [2]string{what, "FAILED: " + err.Error()})
		s.t.Fatalf("%s: %v", what, err)
	}
	after, err := s.usage()
	must(s.t, err)
	text := fmt.Sprintf("%d in %.1f s, %.1f s of processor time in all", s.n, took.Seconds(), (after.host - before.host).Seconds())
	share := 1.0
	if busy := after.busy - before.busy; s.Kind == "uml" && busy > after.host-before.host {
		share = float64(after.host-before.host) / float64(busy)
	}
	for i, name := range []string{"lnsd", "charon", "LACs' charon"} {
		cpu := after.cpu[i] - before.cpu[i]
		if cpu < 0 {
			cpu = after.cpu[i] // it was started anew
		}
		cpu = time.Duration(float64(cpu) * share)
		text += fmt.Sprintf("; %s %.1f s of CPU (%.2f ms each), %.1f MiB (%+.1f KiB each)", name, cpu.Seconds(),
			float64(cpu.Microseconds())/1000/float64(s.n), float64(after.rss[i])/1024, float64(after.rss[i]-before.rss[i])/float64(s.n))
	}
	text += fmt.Sprintf("; kernel %+.1f KiB each, both ends", float64(after.kernel-before.kernel)/float64(s.n))
	if note != "" {
		text += "; " + note
	}
	s.rows = append(s.rows, [2]string{what, text})
	s.t.Log(what+":", text)
}

// write leaves the table.
func (s *scale) write() error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%d LACs, one processor for both ends\tmeasured\n", s.n)
	for _, r := range s.rows {
		fmt.Fprintf(w, "%s\t%s\n", r[0], strings.ReplaceAll(r[1], "; ", "\n\t"))
	}
	w.Flush()
	folder := filepath.Join(s.out, "scale")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "results.txt"), []byte(b.String()), 0o644)
}

// establish sets up all SAs, eight at a time: more would only wait for the one processor, and charon
// gives up what is half open for too long.
func (s *scale) establish() (string, error) {
	text, err := s.help("direct", 20*time.Minute, "many", fmt.Sprintf("-socket %s/vici -at-once 8 -count %d -lns %s -key \"%s\"", s.lacs.dir, s.n, lnsAddr, sharedKey))
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, text)
	}
	return text, s.wantMetric("ipsec_sas", float64(s.n))
}

// wantMetric waits until a metric has a value.
func (s *scale) wantMetric(name string, want float64) error {
	return until(2*time.Minute, func() error {
		n, err := s.metric(name)
		if err == nil && n != want {
			err = fmt.Errorf("%s is %v, want %v", name, n, want)
		}
		return err
	})
}

// dial has every LAC open a tunnel and place a call, and leaves them up.
func (s *scale) dial() (string, error) {
	script := fmt.Sprintf(`cd %s/direct && ulimit -n 65536 && rm -f ready && (setsid %s/lacsim run --lns %s --source 10.4.0.0/%d --lacs %d --in-flight 64 --password %s --stay --redial --setup-timeout 60s --traffic ping --packets 1 --target %s --wait 30s --hello 0s --ready-file ready -q >lacsim.log 2>&1 </dev/null & echo $! > lacsim.pid); sleep 0.5; while kill -0 $(cat lacsim.pid); do [ -s ready ] && exit 0; sleep 0.2; done; tail -5 lacsim.log; exit 1`,
		dir, s.bin, lnsAddr, s.bits(), s.n, password, coreAddr)
	if text, err := s.sh("direct", 12*time.Minute, "%s", script); err != nil {
		return "", fmt.Errorf("%w: %s", err, text)
	}
	return "a ping through each", s.protected()
}

// bits is the length of the smallest prefix that has so many hosts.
func (s *scale) bits() int {
	bits := 32
	for 1<<(32-bits)-2 < s.n {
		bits--
	}
	return bits
}

// protected wants as many tunnels as LACs, each in an SA of its own.
func (s *scale) protected() error {
	if err := s.wantMetric("sessions", float64(s.n)); err != nil {
		return err
	}
	list, err := s.tunnels()
	if err != nil {
		return err
	}
	marks := map[int]bool{}
	for _, t := range list {
		if t.IPsec != nil {
			marks[t.IPsec.Mark] = true
		}
	}
	if len(marks) != s.n || len(list) != s.n {
		return fmt.Errorf("%d tunnels in %d SAs, want %d", len(list), len(marks), s.n)
	}
	return nil
}

// list lists all SAs as an operator does.
func (s *scale) list() (string, error) {
	text, err := s.sh("lns", time.Minute, "%s/lnsctl --address unix://%s/lnsd.sock --timeout 30s ipsec list | wc -l", s.bin, lnsDir)
	if err == nil && strings.TrimSpace(text) != strconv.Itoa(s.n+1) {
		err = fmt.Errorf("%s lines", strings.TrimSpace(text))
	}
	return "", err
}

// restart kills lnsd and starts it again: it finds all SAs, and the calls go on in them.
func (s *scale) restart() (string, error) {
	if err := s.stopLNSD("KILL"); err != nil {
		return "", err
	}
	began := time.Now()
	if err := s.startLNSD(); err != nil {
		return "", err
	}
	if err := s.wantMetric("ipsec_sas", float64(s.n)); err != nil {
		return "", err
	}
	took := time.Since(began)
	return fmt.Sprintf("all SAs known %.1f s after its start", took.Seconds()), s.protected()
}

// delete has the LACs take all their SAs down: everything ends, once.
func (s *scale) delete() (string, error) {
	// lacsim does not dial again what has no SA.
	if _, err := s.Run(30*time.Second, fmt.Sprintf("kill -9 $(cat %s/direct/lacsim.pid)", dir)); err != nil {
		return "", err
	}
	if text, err := s.help("direct", 10*time.Minute, "none", "-socket "+s.lacs.dir+"/vici"); err != nil {
		return "", fmt.Errorf("%w: %s", err, text)
	}
	for _, name := range []string{"ipsec_sas", "sessions", "tunnels"} {
		if err := s.wantMetric(name, 0); err != nil {
			return "", err
		}
	}
	return "", nil
}
