package systemd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/ops/lab/guest"
)

const (
	// envRun is set by ops/lab/bench/systemd.sh: a guest takes a minute to get through all of it.
	envRun = "CULVERT_SYSTEMD"
	// envOut is where logs are left.
	envOut = "CULVERT_SYSTEMD_OUT"
	// dir is the suite's folder in the guest.
	dir = "/run/lab"
)

// The addresses: lnsd's and the LACs' on the wire between, and the core that subscribers talk to.
const (
	lnsAddr  = "10.1.0.1"
	lacAddr  = "10.1.0.9"
	pppAddr  = "10.1.0.10"
	coreAddr = "192.0.2.1"
)

// init brings up what systemd needs and no more: a guest takes 30 ms for each process that is started. None of the machine's own
// services is wanted by anything then.
const initScript = `
rm -rf /lib/systemd/system/*.wants /etc/systemd/system/* /lib/systemd/system-generators/* /etc/fstab
mkdir -p /etc/systemd/system
cat >/etc/systemd/system/lab.target <<END
[Unit]
Requires=basic.target
Wants=systemd-journald.service
After=basic.target systemd-journald.service
AllowIsolate=yes
END
echo 00000000000000000000000000000001 >/etc/machine-id
exec /lib/systemd/systemd --unit=lab.target --log-target=console --log-level=notice --show-status=no
`

// lab is the guest.
type lab struct {
	*guest.Host
	t   *testing.T
	bin string // where the guest finds the programs under test
	out string
	// lost is how many packets of lacsim's are known to have been lost.
	lost int
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// boot boots a guest, lays the wires and has systemd be its process 1.
func boot(t *testing.T) *lab {
	t.Helper()
	switch {
	case os.Getenv(envRun) == "":
		t.Skip("run by ops/lab/bench/systemd.sh")
	case os.Getuid() != 0:
		t.Skip("needs root, to see all of the machine's files")
	}
	for _, program := range []string{"linux.uml", "/lib/systemd/systemd", "xl2tpd", "pppd"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%v (Debian: user-mode-linux systemd xl2tpd ppp)", err)
		}
	}
	tmp, err := os.MkdirTemp("", "sd") // the guest's sockets need a short path
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(tmp) })
	l := &lab{t: t, bin: "/mnt/old" + tmp, out: os.Getenv(envOut)}
	if l.out == "" {
		l.out = t.TempDir()
	}
	must(t, os.MkdirAll(l.out, 0o755))
	agent, err := guest.BuildAgent(tmp)
	must(t, err)
	must(t, build(tmp, "", "lnsd", "lnsctl", "lacsim"))
	must(t, build(filepath.Join(tmp, "next"), "nextversion", "lnsd"))
	l.Host, err = guest.StartUML(guest.Config{Dir: tmp, Agent: agent, Memory: "1024M",
		Modules: []string{"ppp_generic", "pppox", "l2tp_ppp", "tun", "veth"}})
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(tmp, "guest.log")) // for people
		t.Fatalf("%v\n%s", err, log)
	}
	t.Cleanup(func() {
		l.keep(tmp)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	must(t, l.wires())
	must(t, l.Become(initScript))
	must(t, l.until(60*time.Second, func() error {
		out, err := l.Run(20*time.Second, "systemctl is-active lab.target")
		if err == nil && !strings.HasPrefix(out, "active") {
			err = errors.New(out)
		}
		return err
	}))
	return l
}

// build builds programs under test, static, since the guest runs them beside other files.
func build(to, tags string, programs ...string) error {
	args := []string{"build", "-tags", tags, "-o", to + "/"}
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

// wires makes the LACs' namespace and the core.
func (l *lab) wires() error {
	_, err := l.Run(30*time.Second, fmt.Sprintf(`set -e; mkdir -p %[1]s
ip netns add lac; ip -n lac link set lo up
ip link add acc0 type veth peer name eth0 netns lac
ip addr add %[2]s/24 dev acc0; ip link set acc0 up
ip -n lac addr add %[3]s/24 dev eth0; ip -n lac addr add %[4]s/24 dev eth0; ip -n lac link set eth0 up
ip addr add %[5]s/32 dev lo
chmod 0666 /dev/net/tun # as udev does, which is not here`, dir, lnsAddr, lacAddr, pppAddr, coreAddr))
	return err
}

// until repeats try until it gives nil, and gives its last error after limit.
func (l *lab) until(limit time.Duration, try func() error) error {
	for end := time.Now().Add(limit); ; time.Sleep(200 * time.Millisecond) {
		err := try()
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

// run runs a script and ends the test when it fails.
func (l *lab) run(script string, args ...any) string {
	l.t.Helper()
	if len(args) > 0 {
		script = fmt.Sprintf(script, args...)
	}
	out, err := l.Run(90*time.Second, script)
	must(l.t, err)
	return out
}

// keep copies what people want to read into the output folder.
func (l *lab) keep(tmp string) {
	text, _ := os.ReadFile(filepath.Join(tmp, "guest.log"))
	_ = os.WriteFile(filepath.Join(l.out, "guest.log"), text, 0o644)
	_, _ = l.Run(20*time.Second, "journalctl -o short-monotonic --no-pager >"+dir+"/journal.log 2>&1")
	for _, name := range []string{"journal.log", "lacsim.log", "xl2tpd.log", "pppd.log", "ping.log"} {
		if text, err := l.Get(dir + "/" + name); err == nil {
			_ = os.WriteFile(filepath.Join(l.out, name), []byte(text), 0o644)
		}
	}
}
