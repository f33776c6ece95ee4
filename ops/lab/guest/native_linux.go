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
	h, err := start("native", cmd, cmd.Start, in, out)
	if err != nil {
		return nil, err
	}
	if err := addVeth(cfg.Tap, cmd.Process.Pid); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// addVeth makes a pair of devices, the other end of which is vec0 in the
// network namespace of a process. Like on a wire every packet on it is a
// packet: a veth would carry a burst of datagrams as one (UDP_SEGMENT), and a
// capture would show it so.
func addVeth(name string, pid int) error {
	for _, args := range [][]string{
		{"link", "add", name, "type", "veth", "peer", "name", "vec0", "netns", strconv.Itoa(pid)},
		{"link", "set", name, "gso_max_segs", "1"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("guest: ip %v: %w\n%s", args, err, out)
		}
	}
	return nil
}
