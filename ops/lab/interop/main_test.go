package interop

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

const (
	// envRun is set by `make interop`: the suite takes minutes, so that
	// `go test ./...` leaves it out.
	envRun = "CULVERT_INTEROP"
	// envInside is set for the test once it runs in its own namespaces.
	envInside = "CULVERT_INTEROP_INSIDE"
	// envOut is where logs, the capture and the table are left.
	envOut = "CULVERT_INTEROP_OUT"
	// envLNS picks the server: lnsd, or l2tpns to see whether the suite or lnsd is at fault.
	envLNS = "CULVERT_INTEROP_LNS"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(envRun) == "" || os.Getuid() != 0:
		os.Exit(m.Run()) // the tests skip and say why
	case os.Getenv(envInside) == "":
		os.Exit(reexec())
	}
	if err := enter(); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// needsInside skips a test that is not in the suite's namespaces.
func needsInside(t *testing.T) {
	t.Helper()
	switch {
	case os.Getenv(envRun) == "":
		t.Skip("run by make interop")
	case os.Getuid() != 0:
		t.Skip("needs root, for namespaces and devices")
	}
}

// reexec runs this test again as process 1 of new namespaces, and gives its exit status.
func reexec() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), envInside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID,
		// Unshared rather than cloned, so that mounts do not reach the machine.
		Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:    syscall.SIGKILL,
	}
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop: cannot make namespaces:", err)
		return 1
	}
	return 0
}

// enter makes the new namespaces usable.
func enter() error {
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return err
	}
	return ip(
		"link set lo up",
		"addr add "+coreAddr+"/32 dev lo",
		"addr add "+otherCoreAddr+"/32 dev lo",
		"addr add "+heldCoreAddr+"/32 dev lo",
	)
}
