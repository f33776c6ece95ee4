package main

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"culvert/lac/lactest"
	"culvert/lac/udp"
)

func TestBadOptions(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--lns nowhere.invalid:x", "--lns nowhere.invalid:x: want an address"},
		{"--lns 127.0.0.1 --lacs 0", "--lacs 0"},
		{"--lns 127.0.0.1 --lacs 70000", "--lacs 70000"},
		{"--lns 127.0.0.1 --sessions 70000", "--sessions 70000"},
		{"--lns 127.0.0.1 --lacs 60000 --sessions 60000", "sessions in all"},
		{"--lns 127.0.0.1 --in-flight 0", "--in-flight 0"},
		{"--lns 127.0.0.1 --rate=-1", "--rate -1"},
		{"--lns 127.0.0.1 --workers 2", "--workers 2"},
		{"--lns 127.0.0.1 --source-ports 0", "--source-ports 0"},
		{"--lns 127.0.0.1 --mru 100", "--mru 100"},
		{"--lns 127.0.0.1 --window 0", "--window"},
		{"--lns 127.0.0.1 --wait 0s", "--wait"},
		{"--lns 127.0.0.1 --hold=-1s", "negative"},
		{"--lns 127.0.0.1 --redial", "--redial has no end"},
		{"--lns 127.0.0.1 --hold 1s --stay", "--hold and --stay"},
		{"--lns 127.0.0.1 --lns ::1", "mixing"},
		{"--lns 127.0.0.1 --source ::1", "mixing"},
		{"--lns 127.0.0.1 --source 127.0.0.0/8", "--source 127.0.0.0/8: more than 4096"},
		{"--lns 127.0.0.1 --source x!y", "--source x!y"},
		{"--lns 127.0.0.1 --lacs 2 --workers 2 --source 127.0.0.1:1701", "1 sources for 2 workers"},
		{"--lns 127.0.0.1 --user %s", "--user"},
		{"--lns 127.0.0.1 --host-name %d%d", "--host-name"},
		{"--lns 127.0.0.1 --password " + strings.Repeat("x", 201), "--password"},
		{"--lns 127.0.0.1 --proxy auth --auth mschapv2", "cannot be proxied"},
		{"--lns 127.0.0.1 --proxy auth --auth eap-md5", "cannot be proxied"},
		{"--lns 127.0.0.1 --traffic ping --size 55", "--size 55"},
		{"--lns 127.0.0.1 --traffic ping --size 1501", "--size 1501"},
		{"--lns 127.0.0.1 --traffic ping --packet-rate 0", "--packet-rate 0"},
		{"--lns 127.0.0.1 --traffic ping --packets 0", "--packets 0 has no end"},
		{"--lns 127.0.0.1 --traffic ping --target sessions", "--target sessions"},
		{"--lns 127.0.0.1 --traffic udp --target ::1", "--target ::1"},
	} {
		_, err := parse(t, strings.Fields(c.args)...).plan()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", c.args, err, c.want)
		}
	}
}

func TestSources(t *testing.T) {
	for _, c := range []struct {
		source string
		ports  int
		want   []string
	}{
		{"127.0.0.1", 1, []string{"127.0.0.1:0"}},
		{"127.0.0.1", 2, []string{"127.0.0.1:0", "127.0.0.1:0"}},
		{"127.0.0.1:1701", 2, []string{"127.0.0.1:1701"}},
		{"127.1.0.0/30", 1, []string{"127.1.0.1:0", "127.1.0.2:0"}},
		{"127.1.0.0/31", 1, []string{"127.1.0.0:0", "127.1.0.1:0"}},
		{"::1", 1, []string{"[::1]:0"}},
		{"[::1]:5", 1, []string{"[::1]:5"}},
		{"fd00::/126", 1, []string{"[fd00::]:0", "[fd00::1]:0", "[fd00::2]:0", "[fd00::3]:0"}},
	} {
		got, err := parseSource(c.source, c.ports)
		if err != nil || len(got) != len(c.want) {
			t.Errorf("%s: %v, %v", c.source, got, err)
			continue
		}
		for i := range got {
			if got[i] != netip.MustParseAddrPort(c.want[i]) {
				t.Errorf("%s: %v, want %v", c.source, got, c.want)
			}
		}
	}
}

func TestSharesOfWorkers(t *testing.T) {
	p, err := parse(t, "--lns", "127.0.0.1", "--lns", "127.0.0.2:1702", "--lacs", "5", "--sessions", "3", "--workers", "2", "--first", "100").plan()
	if err != nil {
		t.Fatal(err)
	}
	numbers, hosts := map[int]bool{}, map[int]netip.AddrPort{}
	for i := range 2 {
		w, err := newWorker(p, i, 2, func() time.Duration { return 0 })
		if err != nil {
			t.Fatal(err)
		}
		defer w.group.Close()
		for j := range w.tunnels {
			hosts[w.tunnels[j].number] = w.tunnels[j].lns
		}
		for j := range w.sessions {
			if w.sessions[j].index != uint32(j) {
				t.Errorf("session %d has index %d", j, w.sessions[j].index)
			}
			numbers[w.sessions[j].number] = true
		}
	}
	if len(numbers) != 15 || !numbers[100] || !numbers[114] || len(hosts) != 5 {
		t.Errorf("sessions %v, tunnels %v", numbers, hosts)
	}
	if hosts[1] != netip.MustParseAddrPort("127.0.0.1:1701") || hosts[2] != netip.MustParseAddrPort("127.0.0.2:1702") {
		t.Errorf("LNSs %v", hosts)
	}
}

func TestExitStatus(t *testing.T) {
	s, err := lactest.Serve(good)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dir := t.TempDir()
	base := []string{"--lns", s.Addr.String(), "-q", "--json", filepath.Join(dir, "r.json"), "--cpuprofile", filepath.Join(dir, "cpu")}
	for _, c := range []struct {
		args []string
		want int
	}{
		{base, exitOK},
		{append([]string{"run"}, base...), exitOK},
		{append(base, "--password", "wrong"), exitFailed},
		{append(base, "--lacs", "0"), exitUsage},
		{append(base, "--nonsense"), exitUsage},
		{append(base, "--json", filepath.Join(dir, "no", "such", "dir")), exitUsage},
		{[]string{"echo", "--listen", "192.0.2.1:7"}, exitUsage},
		{[]string{"radius", "--auth", "192.0.2.1:7"}, exitUsage},
	} {
		if got := run(c.args); got != c.want {
			t.Errorf("%q: exit status %d, want %d", c.args, got, c.want)
		}
	}
	if st, err := os.Stat(filepath.Join(dir, "r.json")); err != nil || st.Size() == 0 {
		t.Errorf("report: %v", err)
	}
}

func TestEcho(t *testing.T) {
	server, err := udp.Listen([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, udp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var done atomic.Bool
	ended := make(chan error, 1)
	go func() { ended <- echo(server, &done) }()
	client, err := udp.Listen([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, udp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.Send(0, server.Local(0), []byte("hello"))
	client.Flush()
	got := ""
	for i := 0; i < 50 && got == ""; i++ {
		_ = client.Wait(100 * time.Millisecond)
		_ = client.Read(func(_ uint16, from netip.AddrPort, b []byte) { got = string(b) })
	}
	done.Store(true)
	server.Wake()
	if err := <-ended; err != nil || got != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	server.Close()
}

func TestRADIUSCommand(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	file := filepath.Join(t.TempDir(), "counts.json")
	c := radiusCmd{Auth: "127.0.0.1:0", Acct: "127.0.0.1:0", Secret: "s", Password: "p", JSON: file}
	if err := c.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), "Accepts") {
		t.Errorf("%v: %s", err, b)
	}
}

func TestCausesAreBounded(t *testing.T) {
	var c causes
	for i := range 10 * maxCauses {
		c.add(string(rune('a'+i)), 1)
	}
	total := uint64(0)
	for _, n := range c {
		total += n
	}
	if len(c) != maxCauses+1 || total != 10*maxCauses || c.sorted()[0] != "other causes" {
		t.Errorf("%d causes, %d in all, first %q", len(c), total, c.sorted()[0])
	}
}

func TestFresh(t *testing.T) {
	var s session
	for _, c := range []struct {
		seq  uint32
		want bool
	}{{0, true}, {0, false}, {5, true}, {3, true}, {3, false}, {0, false}, {100, true}, {99, true}, {99, false}, {100, false}, {40, true}, {40, false}} {
		if got := s.fresh(c.seq); got != c.want {
			t.Errorf("%d: fresh %v", c.seq, got)
		}
	}
}
