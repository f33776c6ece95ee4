package guest

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestUML boots a guest and tries what the agent can do.
func TestUML(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to see all of the machine's files")
	}
	if _, err := exec.LookPath("linux.uml"); err != nil {
		t.Skip("linux.uml is not installed (Debian: user-mode-linux)")
	}
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	agent, err := BuildAgent(dir)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	h, err := StartUML(Config{Dir: dir, Agent: agent, Memory: "128M", Modules: []string{"ppp_generic", "pppox", "l2tp_ppp"}})
	if err != nil {
		log, _ := os.ReadFile(dir + "/guest.log")
		t.Fatalf("%v\n%s", err, log)
	}
	t.Logf("booted in %v", time.Since(began))
	tryAgent(t, h)
	if out, err := h.Run(5*time.Second, "test -c /dev/ppp && uname -r"); err != nil || !strings.Contains(out, ".") {
		t.Errorf("the guest has no PPP: %q, %v", out, err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if _, err := h.Run(time.Second, "true"); err == nil {
		t.Error("Run answered after Close")
	}
}

// TestNative runs the agent in namespaces of this machine.
func TestNative(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, for namespaces")
	}
	dir := t.TempDir()
	agent, err := BuildAgent(dir)
	if err != nil {
		t.Fatal(err)
	}
	h, err := StartNative(Config{Dir: dir, Agent: agent, Tap: "guesttest0"})
	if err != nil {
		t.Fatal(err)
	}
	tryAgent(t, h)
	if out, err := h.Run(5*time.Second, "ls /sys/class/net >/dev/null; ip -o link; ls /proc | grep -c '^[0-9]'"); err != nil || !strings.Contains(out, "vec0") {
		t.Errorf("ip link: %q, %v", out, err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// tryAgent tries every operation.
func tryAgent(t *testing.T, h *Host) {
	t.Helper()
	out, err := h.Run(5*time.Second, "echo one; echo two >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || out != "one\ntwo\n" {
		t.Errorf("Run: %q, %v", out, err)
	}
	if _, err := h.Run(200*time.Millisecond, "sleep 20"); err == nil || !strings.Contains(err.Error(), "killed after") {
		t.Errorf("Run past its limit: %v", err)
	}
	const text = "a \"quoted\" line\n\x01\tand another\n"
	if err := h.Put("/run/x/y", text, 0o640); err != nil {
		t.Error(err)
	}
	if got, err := h.Get("/run/x/y"); err != nil || got != text {
		t.Errorf("Get: %q, %v", got, err)
	}
	long := strings.Repeat("a long line, ä and \n", 1500)
	if err := h.Put("/run/long", long, 0o600); err != nil {
		t.Error(err)
	}
	if got, err := h.Get("/run/long"); err != nil || got != long {
		t.Errorf("a long file came back as %d octets of %d, %v", len(got), len(long), err)
	}
	if out, err := h.Run(5*time.Second, "echo begin\n"+strings.Repeat("# a comment\n", 2000)+"echo end"); err != nil || out != "begin\nend\n" {
		t.Errorf("a long script printed %q, %v", out, err)
	}
	if _, err := h.Get("/run/none"); err == nil {
		t.Error("Get of a file that is not there: no error")
	}
	waited := make(chan error, 1)
	go func() {
		_, err := h.Wait(10*time.Second, "/run/later", "done")
		waited <- err
	}()
	// A daemon keeps the script's standard output; Run must not wait for it.
	if _, err := h.Run(5*time.Second, "(sleep 1; echo done > /run/later) &"); err != nil {
		t.Error(err)
	}
	if err := <-waited; err != nil {
		t.Error(err)
	}
	if _, err := h.Wait(50*time.Millisecond, "/run/never", ""); err == nil || errors.Is(err, ErrGone) {
		t.Errorf("Wait for nothing: %v", err)
	}
}
