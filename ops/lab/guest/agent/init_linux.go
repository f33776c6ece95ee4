package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"culvert/ops/lab/guest"
)

// The kernel hands what its command line says to process 1 as environment.
const (
	// envChannel is the terminal on which the requests come, e.g. /dev/ttyS0.
	envChannel = "AGENT_CHANNEL"
	// envModules are the kernel modules to load, with commas between.
	envModules = "AGENT_MODULES"
	// umlModules is where Debian keeps the modules of its User-Mode Linux.
	umlModules = "/usr/lib/uml/modules"
)

// runInit makes the guest usable, starts the serving process and reaps
// whatever ends until that one does. It ends the guest and returns only when it could not.
func runInit() error {
	if err := ownRoot(); err != nil {
		return err
	}
	if err := populate(); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	channel, mods := os.Getenv(envChannel), os.Getenv(envModules)
	os.Unsetenv(envChannel)
	os.Unsetenv(envModules)
	if mods != "" {
		args := append([]string{"-a"}, strings.Split(mods, ",")...)
		if out, err := exec.Command("/sbin/modprobe", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("modprobe %s: %w: %s", mods, err, out)
		}
	}
	// A process of its own, so that wait4 for orphans here cannot steal the
	// exit status that it waits for.
	server, err := os.StartProcess("/proc/self/exe", []string{"agent", "serve", channel}, &os.ProcAttr{
		Env: os.Environ(), Files: []*os.File{nil, os.Stdout, os.Stderr},
	})
	if err != nil {
		return err
	}
	go become()
	for {
		pid, err := syscall.Wait4(-1, nil, 0, nil)
		if pid == server.Pid || (err != nil && !errors.Is(err, syscall.EINTR)) {
			powerOff()
		}
	}
}

// become has process 1 be another program, such as systemd, when guest.Host.Become asks for it. The process
// that serves stays as it is.
func become() {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	<-asked
	err := syscall.Exec(guest.InitPath, []string{guest.InitPath}, os.Environ())
	fmt.Fprintf(os.Stderr, "agent: %s: %v\n", guest.InitPath, err)
}

// ownRoot puts a memory file system over the machine's files, which are the
// guest's root read-only, and makes the two together the root.
func ownRoot() error {
	var un unix.Utsname
	if err := unix.Uname(&un); err != nil {
		return err
	}
	release := unix.ByteSliceToString(un.Release[:])
	if err := loadModule(filepath.Join(umlModules, release, "kernel/fs/overlayfs/overlay.ko")); err != nil {
		return err
	}
	steps := []func() error{
		func() error { return mount("tmpfs", "/mnt", "tmpfs", "mode=755") },
		func() error { return mkdirs("/mnt/upper", "/mnt/work", "/mnt/root") },
		func() error {
			return mount("overlay", "/mnt/root", "overlay", "lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work")
		},
		func() error { return mkdirs("/mnt/root/mnt/old") },
		func() error { return os.Chdir("/mnt/root") },
		func() error { return unix.PivotRoot(".", "mnt/old") },
		func() error { return unix.Chroot(".") },
		func() error { return os.Chdir("/") },
		func() error { return mkdirs("/lib/modules") },
		func() error {
			link := filepath.Join("/lib/modules", release)
			if err := os.RemoveAll(link); err != nil {
				return err
			}
			return os.Symlink(filepath.Join(umlModules, release), link)
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// populate mounts what programs expect to find.
func populate() error {
	for _, m := range []struct{ source, target, kind, options string }{
		{"proc", "/proc", "proc", ""},
		{"sysfs", "/sys", "sysfs", ""},
		{"devtmpfs", "/dev", "devtmpfs", ""},
		{"devpts", "/dev/pts", "devpts", "gid=5,mode=620,ptmxmode=666"},
		{"tmpfs", "/run", "tmpfs", "mode=755"},
		{"tmpfs", "/tmp", "tmpfs", "mode=1777"},
	} {
		if err := mkdirs(m.target); err != nil {
			return err
		}
		if err := mount(m.source, m.target, m.kind, m.options); err != nil {
			return err
		}
	}
	for fd, name := range []string{"stdin", "stdout", "stderr"} {
		if err := os.Symlink(fmt.Sprintf("/proc/self/fd/%d", fd), "/dev/"+name); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := os.Setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte("guest")); err != nil {
		return err
	}
	return mkdirs("/run/lock", "/run/xl2tpd", "/run/netns")
}

// privateFiles makes a process on the machine itself, in namespaces of its
// own, what a guest has: its own processes in /proc, its own folders where pppd and
// xl2tpd write, and a loopback device.
func privateFiles() error {
	if err := mount("proc", "/proc", "proc", ""); err != nil {
		return err
	}
	for _, dir := range []string{"/etc/ppp", "/run"} {
		if err := mkdirs(dir); err != nil {
			return err
		}
		if err := mount("tmpfs", dir, "tmpfs", "mode=755"); err != nil {
			return err
		}
	}
	if err := mkdirs("/run/lock", "/run/xl2tpd"); err != nil {
		return err
	}
	return loopbackUp()
}

// loopbackUp sets the device lo up.
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, ifr)
}

// loadModule loads a module that modprobe cannot be had for yet.
func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load %s: %w", path, err)
	}
	return nil
}

func mount(source, target, kind, options string) error {
	if err := unix.Mount(source, target, kind, 0, options); err != nil {
		return fmt.Errorf("mount %s at %s: %w", kind, target, err)
	}
	return nil
}

func mkdirs(dirs ...string) error {
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// serveChannel serves on a terminal, which is first told to leave bytes alone.
func serveChannel(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	raw := unix.Termios{Cflag: unix.CS8 | unix.CREAD | unix.CLOCAL}
	raw.Cc[unix.VMIN] = 1
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, &raw); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return serve(f, f)
}

// powerOff ends the guest.
func powerOff() {
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}
