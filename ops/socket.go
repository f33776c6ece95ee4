package ops

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// socketTemp is the suffix of a socket that does not have its mode and group yet.
const socketTemp = ".new"

// socketListener is a unix socket that takes its file away when closed.
type socketListener struct {
	*net.UnixListener
	path string
	made os.FileInfo
}

// listenSocket makes the operators' unix socket. A socket that a dead process
// left is replaced; one that is answered is not.
//
// The socket gets mode and group under another name and is then renamed, so
// that nobody can connect too early, and lnsctl never finds it missing.
func listenSocket(c *Config) (net.Listener, error) {
	if err := checkStale(c.Socket); err != nil {
		return nil, err
	}
	temp := c.Socket + socketTemp
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, socketError(c.Socket, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temp, Net: "unix"})
	if err != nil {
		return nil, socketError(c.Socket, err)
	}
	l.SetUnlinkOnClose(false)
	made, err := settle(temp, c)
	if err != nil {
		l.Close()
		os.Remove(temp)
		return nil, socketError(c.Socket, err)
	}
	return &socketListener{UnixListener: l, path: c.Socket, made: made}, nil
}

// settle gives the socket its group, mode and name, in this order.
func settle(temp string, c *Config) (os.FileInfo, error) {
	if c.SocketGroup != "" {
		gid, err := groupID(c.SocketGroup)
		if err != nil {
			return nil, fmt.Errorf("socket_group: %w", err)
		}
		if err := os.Chown(temp, -1, gid); err != nil {
			return nil, fmt.Errorf("socket_group: this process may not give the socket to group %s (be its member, or root): %w", c.SocketGroup, err)
		}
	}
	if err := os.Chmod(temp, c.SocketMode); err != nil {
		return nil, err
	}
	if err := os.Rename(temp, c.Socket); err != nil {
		return nil, err
	}
	return os.Lstat(c.Socket)
}

// checkStale says whether path may be taken.
func checkStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return socketError(path, err)
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("socket: %s exists and is no socket; remove it or choose another path", path)
	}
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(context.Background(), "unix", path)
	switch {
	case err == nil:
		conn.Close()
		return fmt.Errorf("socket: a running process answers on %s; stop it or choose another path", path)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist):
		return nil
	}
	return fmt.Errorf("socket: cannot tell whether a process still serves %s: %w", path, err)
}

func socketError(path string, err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("socket: folder %s does not exist; make it, or let systemd do it (RuntimeDirectory=culvert)", filepath.Dir(path))
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("socket: this process may not write in %s: %w", filepath.Dir(path), err)
	}
	return fmt.Errorf("socket: %w", err)
}

// Close stops listening and removes the file, unless another process has put its own there.
func (l *socketListener) Close() error {
	err := l.UnixListener.Close()
	if now, e := os.Lstat(l.path); e == nil && os.SameFile(now, l.made) {
		os.Remove(l.path)
	}
	return err
}

// groupID takes a group's name or number.
func groupID(name string) (int, error) {
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("there is no group %q on this host; make it (groupadd --system %s) or name another", name, name)
	}
	return strconv.Atoi(g.Gid)
}
