package guest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Config says what guest to start.
type Config struct {
	// Dir is an existing folder for the guest's log and sockets; its path is short.
	Dir string
	// Agent is the path of the agent, built static (BuildAgent).
	Agent string
	// Memory is the size of a User-Mode Linux guest, e.g. "192M".
	Memory string
	// Tap is the caller's end of the guest's link, whose other end is vec0: an
	// existing tap device for a User-Mode Linux guest, none for no link.
	Tap string
	// Modules are kernel modules to load.
	Modules []string
}

// BuildAgent builds the agent into dir and gives its path.
func BuildAgent(dir string) (string, error) {
	path := filepath.Join(dir, "agent")
	cmd := exec.Command("go", "build", "-o", path, "culvert/ops/lab/guest/agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build agent: %w\n%s", err, out)
	}
	return path, nil
}

// HostHasPPP tells whether the machine's own kernel can do PPP, after trying
// to load what PPP and L2TP need.
func HostHasPPP() bool {
	if path, err := exec.LookPath("modprobe"); err == nil {
		// Built-in and absent modules both fail here; the open below decides.
		_ = exec.Command(path, "-a", "ppp_generic", "ppp_async", "pppox", "l2tp_ppp").Run()
	}
	f, err := os.OpenFile("/dev/ppp", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// StartUML boots a User-Mode Linux guest on the machine's own files.
func StartUML(cfg Config) (*Host, error) {
	binary, err := exec.LookPath("linux.uml")
	if err != nil {
		return nil, fmt.Errorf("%w (Debian: user-mode-linux)", err)
	}
	log, err := os.Create(filepath.Join(cfg.Dir, "guest.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	toGuest, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, fromGuest, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, toGuest.Close(), in.Close())
	}
	args := []string{
		"mem=" + cfg.Memory, "umid=guest", "uml_dir=" + cfg.Dir,
		"root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "init=" + cfg.Agent,
		"con=null", "con0=null,fd:1", "ssl=null", "ssl0=fd:3,fd:4", "quiet",
		"AGENT_CHANNEL=/dev/ttyS0", "AGENT_MODULES=" + strings.Join(cfg.Modules, ","),
	}
	if cfg.Tap != "" {
		// Without gro TCP towards the guest collapses.
		args = append(args, "vec0:transport=tap,ifname="+cfg.Tap+",depth=64,gro=1")
	}
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{toGuest, fromGuest}
	// No terminal of ours is its console, and a signal to our group is not for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	h, err := start("uml", cmd, func() error { return onOneCPU(cmd.Start) }, in, out, toGuest, fromGuest)
	if err == nil && cfg.Tap != "" {
		if err = nudge(cfg.Tap, h.done); err != nil {
			return nil, errors.Join(err, h.Close())
		}
	}
	return h, err
}
