package dataplane

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// File is a descriptor that outlives the process: somebody else, such as
// systemd's file descriptor store, has a copy and gives it to the next process,
// so that packets wait in the kernel's queues meanwhile. Its name says what it is,
// without colons, and fits only the same address, device and number of shards.
type File struct {
	Name string
	FD   int
}

// inheritance is what is left of the files of an earlier process.
type inheritance struct {
	fds map[string]int
}

func newInheritance(list []File) *inheritance {
	h := &inheritance{fds: make(map[string]int, len(list))}
	for _, f := range list {
		if _, twice := h.fds[f.Name]; twice || !isOurs(f.Name) {
			unix.Close(f.FD)
			continue
		}
		h.fds[f.Name] = f.FD
	}
	return h
}

// take gives all files of the names, or none.
func (h *inheritance) take(names []string) ([]int, bool) {
	if h == nil {
		return nil, false
	}
	var fds []int
	for _, n := range names {
		fd, ok := h.fds[n]
		if !ok {
			return nil, false
		}
		fds = append(fds, fd)
	}
	for _, n := range names {
		delete(h.fds, n)
	}
	return fds, true
}

// drop closes the files whose names begin so: what they would be taken for is about to be opened anew.
func (h *inheritance) drop(prefix string) {
	if h == nil {
		return
	}
	for n, fd := range h.fds {
		if strings.HasPrefix(n, prefix) {
			unix.Close(fd)
			delete(h.fds, n)
		}
	}
}

// The names' beginnings.
const (
	udpFile = "udp-"
	tunFile = "tun-"
)

func isOurs(name string) bool {
	return strings.HasPrefix(name, udpFile) || strings.HasPrefix(name, tunFile)
}

// udpPrefix and tunPrefix name what all files of an address, or device, have in common.
func udpPrefix(a netip.AddrPort) string {
	return fmt.Sprintf("%s%x-%d-", udpFile, a.Addr().AsSlice(), a.Port())
}

func tunPrefix(device string) string { return tunFile + strings.ReplaceAll(device, ":", ".") + "-" }

// fileNames are those of n files.
func fileNames(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s%d-of-%d", prefix, i, n)
	}
	return names
}

// inherit takes over an address' sockets. Their order within the group, and its
// steering, are the kernel's and as they were. Which of what is set on sockets has changed with the
// configuration is not asked: it is set again.
func (u *udp) inherit(listener uint16, a netip.AddrPort, c Config) (bool, error) {
	fds, ok := c.inherited.take(fileNames(udpPrefix(a), c.Shards))
	if !ok {
		c.inherited.drop(udpPrefix(a))
		return false, nil
	}
	u.listeners = append(u.listeners, a)
	u.sockets = append(u.sockets, nil)
	for shard, fd := range fds {
		if bound, err := boundTo(fd, a); err != nil || bound != a {
			closeAll(fds[shard:])
			return true, fmt.Errorf("an inherited descriptor is no socket of %v (it is bound to %v, %v): restart the service that keeps it", a, bound, err)
		}
		unix.CloseOnExec(fd)
		setOptions(fd, a, c)
		s := &socket{listener: listener, shard: shard}
		err := unix.SetNonblock(fd, true)
		if err == nil && c.Marks {
			err = readMarks(fd)
		} else {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVMARK, 0) // an older kernel has none
		}
		if err == nil {
			s.file, s.raw, err = pollable(fd, "udp:"+a.String())
		}
		if err != nil {
			closeAll(fds[shard+1:])
			return true, err
		}
		u.sockets[listener] = append(u.sockets[listener], s)
	}
	return true, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// inherit takes over the device's queues.
func (t *tunDevice) inherit(c Config) (bool, error) {
	fds, ok := c.inherited.take(fileNames(tunPrefix(c.Device), c.Shards))
	if !ok {
		c.inherited.drop(tunPrefix(c.Device))
		return false, nil
	}
	for i, fd := range fds {
		unix.CloseOnExec(fd)
		req, err := unix.NewIfreq("")
		if err == nil {
			err = unix.IoctlIfreq(fd, unix.TUNGETIFF, req)
		}
		if err == nil && req.Name() != c.Device {
			err = fmt.Errorf("it is of %s", req.Name())
		}
		if err == nil {
			err = unix.SetNonblock(fd, true)
		}
		var q *tunQueue
		if err == nil {
			q, err = newQueue(fd)
		}
		if err != nil {
			closeAll(fds[i+1:])
			return true, fmt.Errorf("an inherited descriptor is no queue of %s: %w; restart the service that keeps it", c.Device, err)
		}
		t.queues = append(t.queues, q)
	}
	return true, nil
}

// Files gives f every descriptor that may outlive the process. It is only lent.
func (p *userspace) Files(f func(File) error) error {
	for _, part := range []any{p.transport, p.core} {
		if k, ok := part.(interface{ files(func(File) error) error }); ok {
			if err := k.files(f); err != nil {
				return err
			}
		}
	}
	return nil
}

func (u *udp) files(f func(File) error) error {
	for i, group := range u.sockets {
		for shard, name := range fileNames(udpPrefix(u.listeners[i]), len(group)) {
			if err := lend(group[shard].raw, name, f); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tunDevice) files(f func(File) error) error {
	for i, name := range fileNames(tunPrefix(t.name), len(t.queues)) {
		if err := lend(t.queues[i].raw, name, f); err != nil {
			return err
		}
	}
	return nil
}

// lend calls f while the descriptor cannot be closed.
func lend(raw interface{ Control(func(uintptr)) error }, name string, f func(File) error) error {
	var err error
	if ctl := raw.Control(func(fd uintptr) { err = f(File{name, int(fd)}) }); ctl != nil {
		return ctl
	}
	return err
}
