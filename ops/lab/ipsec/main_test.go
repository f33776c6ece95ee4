package ipsec

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/ops/lab/guest"
)

const (
	// envRun is set by `make interop`: the suite takes minutes.
	envRun = "CULVERT_IPSEC"
	// envOut is where logs, the capture and the table are left.
	envOut = "CULVERT_IPSEC_OUT"
	// dir is the suite's folder in the guest.
	dir = "/run/ipsec"
)

// needs skips where the suite cannot run.
func needs(t *testing.T) {
	t.Helper()
	switch {
	case os.Getenv(envRun) == "":
		t.Skip("run by make interop")
	case os.Getuid() != 0:
		t.Skip("needs root, for a guest with devices and namespaces")
	}
}

// must ends the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lab is the guest with everything in it.
type lab struct {
	*guest.Host
	out    string
	bin    string // where the guest finds the programs under test
	pki    *pki
	report *report
	charon *charon // the LNS's
	// profiles is how many connections lnsd's file makes.
	profiles int
}

// modules are what the kernel needs beside namespaces.
var modules = []string{
	"ppp_generic", "ppp_async", "pppox", "l2tp_ppp", "tun", "veth",
	"esp4", "xfrm_user", "authenc", "cbc", "echainiv", "gcm", "seqiv", "ctr", "hmac",
	"des_generic", "chacha_generic", "poly1305_generic", "chacha20poly1305",
	"ip_tables", "iptable_nat", "xt_MASQUERADE", "sch_netem",
}

// newLab boots the guest, lays the wires and starts the LNS's side.
func newLab(t *testing.T) *lab {
	t.Helper()
	l := boot(t)
	must(t, l.startLNS())
	return l
}

// boot boots the guest, with more modules than all have, and lays the wires.
func boot(t *testing.T, more ...string) *lab {
	t.Helper()
	out := os.Getenv(envOut)
	if out == "" {
		out = t.TempDir()
	}
	must(t, os.MkdirAll(out, 0o755))
	// The guest's sockets need a short path, and its own /tmp hides this one.
	tmp, err := os.MkdirTemp("", "ipsec")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(tmp) })
	agent, err := guest.BuildAgent(tmp)
	must(t, err)
	must(t, programs(tmp))
	l := &lab{out: out, bin: tmp, report: newReport(), pki: newPKI(t), profiles: lnsProfiles}
	cfg := guest.Config{Dir: tmp, Agent: agent, Memory: "1024M", Modules: slices.Concat(modules, more)}
	if os.Getenv(envSAs) != "" {
		cfg.Memory = "3072M"
	}
	if guest.HostHasPPP() && hostHasESP() {
		t.Log("the guest is a namespace of this machine")
		l.Host, err = guest.StartNative(cfg)
	} else {
		l.Host, err = guest.StartUML(cfg)
		l.bin = "/mnt/old" + tmp
	}
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(tmp, "guest.log")) // for people
		t.Fatalf("%v\n%s", err, log)
	}
	t.Cleanup(func() {
		l.keep(t)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	must(t, l.wires())
	return l
}

// hostHasESP tells whether the machine's kernel has ESP and policies, after trying to load them.
func hostHasESP() bool {
	_ = exec.Command("modprobe", "-a", "esp4", "xfrm_user").Run() // built in or absent: the next line decides
	return exec.Command("ip", "xfrm", "state", "count").Run() == nil && exec.Command("modprobe", "-n", "esp4").Run() == nil
}

// build builds programs under test; static, since they run beside other libraries.
func build(to string, flags []string, programs ...string) error {
	args := append([]string{"build", "-o", to + "/"}, flags...)
	for _, p := range programs {
		args = append(args, "culvert/cmd/"+p)
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// programs puts the programs under test into a folder.
func programs(to string) error {
	all := []string{"lnsd", "lnsctl", "lacsim"}
	from := os.Getenv(envPrograms)
	if from == "" {
		return build(to, nil, all...)
	}
	for _, p := range all {
		if err := os.Link(filepath.Join(from, p), filepath.Join(to, p)); err != nil {
			return err
		}
	}
	return nil
}

// unhurried is how much longer a script may take in a guest than on an idle machine: where others want its processors too, the
// guest gets a tenth of one now and then, and its clock goes on. What a row says of times is said by until.
const unhurried = 5

// Run runs a script in the guest.
func (l *lab) Run(limit time.Duration, script string) (string, error) {
	return l.Host.Run(unhurried*limit, script)
}

// sh runs a script in one of the guest's namespaces.
func (l *lab) sh(ns string, limit time.Duration, script string, args ...any) (string, error) {
	if len(args) > 0 {
		script = fmt.Sprintf(script, args...)
	}
	return l.Run(limit, "exec ip netns exec "+ns+" sh -c '"+strings.ReplaceAll(script, "'", `'\''`)+"'")
}

// until repeats try until it gives nil, and gives its last error after limit.
func until(limit time.Duration, try func() error) error {
	for end := time.Now().Add(limit); ; time.Sleep(200 * time.Millisecond) {
		err := try()
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

// keep copies what people want to read into the output folder.
func (l *lab) keep(t *testing.T) {
	files, err := l.Run(10*time.Second, "cd "+dir+" && find . -type f -name '*log*' -size -4000k")
	if err != nil {
		t.Log(err)
		return
	}
	for _, f := range strings.Fields(files) {
		text, err := l.Get(filepath.Join(dir, f))
		if err != nil {
			continue
		}
		name := strings.ReplaceAll(strings.TrimPrefix(f, "./"), "/", "-")
		if err := os.WriteFile(filepath.Join(l.out, name+".txt"), []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// wires makes the namespaces: the LNS, the wide area between, LACs with addresses of their
// own (direct, other) and two (left, right) behind one NAT.
func (l *lab) wires() error {
	var b strings.Builder
	b.WriteString("set -e; mkdir -p " + dir + "\n")
	for _, ns := range []string{"lns", "wan", "nat", "direct", "other", "left", "right"} {
		fmt.Fprintf(&b, "ip netns add %s; ip -n %s link set lo up\n", ns, ns)
	}
	// The LNS's core, which subscribers talk to.
	b.WriteString("ip -n lns addr add " + coreAddr + "/32 dev lo\n")
	for _, w := range []struct{ a, b, net string }{
		{"lns", "wan", "10.1.0"}, {"nat", "wan", "10.2.0"}, {"direct", "wan", "10.3.1"}, {"other", "wan", "10.3.2"},
		{"left", "nat", "192.168.1"}, {"right", "nat", "192.168.2"},
	} {
		// The far end of a wire is the router: .254, and the way to everywhere.
		fmt.Fprintf(&b, "ip -n %[1]s link add %[2]s0 type veth peer name %[1]s0 netns %[2]s; ip -n %[1]s addr add %[3]s.1/24 dev %[2]s0; ip -n %[2]s addr add %[3]s.254/24 dev %[1]s0\n"+
			"ip -n %[1]s link set %[2]s0 up; ip -n %[2]s link set %[1]s0 up; ip -n %[1]s route add default via %[3]s.254\n", w.a, w.b, w.net)
	}
	b.WriteString("for n in wan nat lns; do ip netns exec $n sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'; done\n" +
		"ip netns exec nat iptables-legacy -t nat -A POSTROUTING -o wan0 -j MASQUERADE\n")
	if _, err := l.Run(60*time.Second, b.String()); err != nil {
		return err
	}
	// The first use of an algorithm has the kernel load and test it, which can take longer here than a LAC waits for an answer.
	b.Reset()
	b.WriteString("set -e\n")
	for i, alg := range []string{
		"aead 'rfc4106(gcm(aes))' 0x$(printf %040d 7) 128", "aead 'rfc7539esp(chacha20,poly1305)' 0x$(printf %072d 7) 128",
		"enc 'cbc(aes)' 0x$(printf %064d 7) auth-trunc 'hmac(sha256)' 0x$(printf %064d 7) 128",
		"enc 'cbc(aes)' 0x$(printf %064d 7) auth-trunc 'hmac(sha512)' 0x$(printf %0128d 7) 256",
		"enc 'cbc(aes)' 0x$(printf %064d 7) auth-trunc 'hmac(sha1)' 0x$(printf %040d 7) 96",
	} {
		fmt.Fprintf(&b, "ip -n wan xfrm state add src 192.0.2.77 dst 192.0.2.78 proto esp spi %d mode transport %s\n", 1000+i, alg)
	}
	b.WriteString("ip -n wan xfrm state flush\n")
	_, err := l.Run(2*time.Minute, b.String())
	return err
}

// The addresses. Behind the NAT the LACs are all of natAddr to the LNS.
const (
	lnsAddr    = "10.1.0.1"
	natAddr    = "10.2.0.1"
	directAddr = "10.3.1.1"
	otherAddr  = "10.3.2.1"
	coreAddr   = "192.0.2.1"
	// clientAddr is another address of the NAT, of which no LAC profile knows; oldAddr is an old LAC's.
	clientAddr = "10.2.0.2"
	oldAddr    = "10.3.3.1"
)

// errNot is what a step gives when something is as it must not be.
var errNot = errors.New("that must not be")
