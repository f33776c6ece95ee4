package guest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// StartNative starts a guest that is namespaces of this machine: network,
// mounts and processes of its own, for a machine whose kernel has PPP. Like in a
// User-Mode Linux guest its link to the caller's namespace is vec0; here cfg.Tap, which
// must not exist yet, becomes a veth.
func StartNative(cfg Config) (*Host, error) {
	log, err := os.Create(filepath.Join(cfg.Dir, "guest.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(cfg.Agent, "native")
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWPID,
		// Unshared rather than cloned, so that mounts do not reach the machine.
		Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h, err := start("native", cmd, in, out)
	if err != nil {
		return nil, err
	}
	link := exec.Command("ip", "link", "add", cfg.Tap, "type", "veth", "peer", "name", "vec0", "netns", strconv.Itoa(cmd.Process.Pid))
	if out, err := link.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("guest: %v: %w\n%s", link.Args, err, out), h.Close())
	}
	return h, nil
}
