package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"culvert/lns/dataplane"
)

// Who starts lnsd may keep its sockets and TUN queues while there is no lnsd, so that
// packets wait in the kernel's queues: systemd's file descriptor store (sd_notify(3),
// FileDescriptorStoreMax=), or `lnsd run --supervise`, which speaks the same protocol.

// firstInherited is the number of the first descriptor that is passed (sd_listen_fds(3)).
const firstInherited = 3

// inherited gives the descriptors that were kept for this process. The
// environment forgets them, for whatever this process starts.
func inherited() []dataplane.File {
	n, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	pid := os.Getenv("LISTEN_PID")
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for _, v := range []string{"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"} {
		os.Unsetenv(v)
	}
	if err != nil || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return nil
	}
	var list []dataplane.File
	for i := range min(n, 1<<16) {
		fd := firstInherited + i
		unix.CloseOnExec(fd)
		name := ""
		if i < len(names) {
			name = names[i]
		}
		list = append(list, dataplane.File{Name: name, FD: fd})
	}
	return list
}

// keepFiles gives the plane's descriptors to who keeps them, where there is somebody, and
// has it forget those of an earlier process that are of no use any more. A failure costs
// packets at the next restart and nothing now.
func keepFiles(p dataplane.Plane, before []dataplane.File, log *slog.Logger) {
	c, err := notifySocket()
	if c == nil {
		if err != nil {
			log.Warn("the service manager cannot be told what to keep open; packets that come during a restart are lost", "err", err)
		}
		return
	}
	defer c.Close()
	files, ok := p.(interface {
		Files(func(dataplane.File) error) error
	})
	if !ok {
		return
	}
	had, n := map[string]bool{}, 0
	for _, f := range before {
		had[f.Name] = true
	}
	err = files.Files(func(f dataplane.File) error {
		n++
		if had[f.Name] {
			delete(had, f.Name) // it is this very one
			return nil
		}
		// FDPOLL=0: an error on a socket must not make the manager let go of it.
		return pass(c, fmt.Appendf(nil, "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", f.Name), f.FD)
	})
	for name := range had {
		if name != "" {
			_, werr := fmt.Fprintf(c, "FDSTOREREMOVE=1\nFDNAME=%s", name)
			err = errors.Join(err, werr)
		}
	}
	if err != nil {
		log.Warn("not all sockets can be kept open; packets that come during a restart are lost", "err", err)
		return
	}
	log.Debug("sockets and TUN queues are kept open over restarts, if the service manager has room (FileDescriptorStoreMax)", "descriptors", n, "inherited", len(before))
}

// pass sends a message with a descriptor. Package net has no way to do that on a connected datagram socket.
func pass(c *net.UnixConn, text []byte, fd int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	werr := raw.Write(func(sock uintptr) bool {
		err = unix.Sendmsg(int(sock), text, unix.UnixRights(fd), nil, 0)
		return err != unix.EAGAIN
	})
	return errors.Join(err, werr)
}

// notifySocket is the way to the service manager; nil where there is none.
func notifySocket() (*net.UnixConn, error) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil, nil
	}
	return net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
}
