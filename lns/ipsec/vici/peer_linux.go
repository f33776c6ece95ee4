package vici

import (
	"net"

	"golang.org/x/sys/unix"
)

// PID is the process that listens at the other end, as the kernel tells of a unix socket; 0 where it does not, as of
// a process that this one's namespace does not have, or where init listens for whoever comes.
func (c *Conn) PID() int {
	u, ok := c.c.(*net.UnixConn)
	if !ok {
		return 0
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	err = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	if err != nil || pid == 1 {
		return 0
	}
	return pid
}
