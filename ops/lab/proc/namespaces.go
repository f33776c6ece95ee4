package proc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// inside is set for a test once it runs in its own namespaces.
const inside = "CULVERT_PROC_INSIDE"

// Main runs a suite (testing.M's Run) as root as process 1 of new network,
// mount and process namespaces, so that nothing it starts or changes is left
// behind, however it ends; as another user it just runs it. It gives the exit status.
func Main(run func() int) int {
	if os.Getuid() != 0 {
		return run() // the tests skip and say why
	}
	if os.Getenv(inside) == "" {
		return reexec()
	}
	if err := enter(); err != nil {
		fmt.Fprintln(os.Stderr, "namespaces:", err)
		return 1
	}
	return run()
}

// Inside tells whether this process is in namespaces that Main made.
func Inside() bool { return os.Getenv(inside) != "" }

// reexec runs this program again as process 1 of new namespaces, and gives its exit status.
func reexec() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), inside+"=1")
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
		fmt.Fprintln(os.Stderr, "cannot make namespaces:", err)
		return 1
	}
	return 0
}

// enter makes the new namespaces usable.
func enter() error {
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// ip(8) keeps the names of namespaces here, for the whole machine.
	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("netns", "/run/netns", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount /run/netns: %w", err)
	}
	return IP("link set lo up")
}

// IP runs commands of ip(8), a line each, up to the first that fails.
func IP(lines ...string) error {
	for _, line := range lines {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", line, err, out)
		}
	}
	return nil
}
