package ipsec

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// envHelper makes the suite's own program a helper in the guest, which sends what no
// ordinary tool does.
const envHelper = "CULVERT_IPSEC_HELPER"

func init() {
	what := os.Getenv(envHelper)
	if what == "" {
		return
	}
	var err error
	switch what {
	case "udp":
		err = helpUDP(os.Args[1:])
	case "ping":
		err = helpPing(os.Args[1:])
	case "echo":
		err = helpEcho(os.Args[1])
	case "tcp":
		err = helpTCP(os.Args[1], os.Args[2])
	case "many":
		err = helpMany(os.Args[1:])
	case "none":
		err = helpNone(os.Args[1:])
	case "flood":
		err = helpFlood(os.Args[1:])
	case "again":
		err = helpAgain(os.Args[1:])
	default:
		err = fmt.Errorf("no helper %q", what)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// self is where the guest finds this program.
func (l *lab) self() (string, error) {
	self, err := os.Executable()
	if err == nil && l.Kind == "uml" {
		self = "/mnt/old" + self
	}
	return self, err
}

// help runs a helper in a namespace of the guest.
func (l *lab) help(ns string, limit time.Duration, what, args string) (string, error) {
	self, err := l.self()
	if err != nil {
		return "", err
	}
	text, err := l.sh(ns, limit, "%s=%s %s %s", envHelper, what, self, args)
	return strings.TrimSpace(text), err
}

// helpEcho echoes what TCP connections bring, for ever.
func helpEcho(address string) error {
	l, err := net.Listen("tcp4", address)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}()
	}
}

// helpTCP sends octets, whose number is given, to helpEcho and compares what comes back.
func helpTCP(address, octets string) error {
	n, err := strconv.Atoi(octets)
	if err != nil {
		return err
	}
	c, err := net.DialTimeout("tcp4", address, 10*time.Second)
	if err != nil {
		return err
	}
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	sent := make([]byte, n)
	_, _ = rand.Read(sent)
	failed := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		failed <- err
	}()
	back := make([]byte, n)
	if _, err := io.ReadFull(c, back); err != nil {
		return err
	}
	if !bytes.Equal(sent, back) {
		return errors.New("other octets came back")
	}
	return <-failed
}

// echo starts helpEcho in the LNS's core.
func (l *lab) echo() error {
	self, err := l.self()
	if err != nil {
		return err
	}
	_, err = l.sh("lns", 20*time.Second, `(%s=echo setsid %s %s:9002 >%s/echo.log 2>&1 </dev/null &); for i in $(seq 300); do grep -q listening %s/echo.log && exit 0; sleep 0.1; done; cat %s/echo.log; exit 1`,
		envHelper, self, coreAddr, dir, dir, dir)
	return err
}

// tcp brings octets to the core and back, through TCP.
func (l *lab) tcp(ns string, octets int) error {
	_, err := l.help(ns, 90*time.Second, "tcp", fmt.Sprintf("%s:9002 %d", coreAddr, octets))
	return err
}

// helpUDP sends a datagram and prints the answer, "silence" when there is none in time. From, of IPv4, may be
// an address that this host does not have.
func helpUDP(args []string) error {
	f := flag.NewFlagSet("udp", flag.ContinueOnError)
	from, to := f.String("from", "", ""), f.String("to", "", "")
	wait := f.Duration("wait", 2*time.Second, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	payload, err := hex.DecodeString(f.Arg(0))
	if err != nil {
		return err
	}
	lc := net.ListenConfig{Control: func(network, _ string, c syscall.RawConn) (err error) {
		if network == "udp6" {
			return nil
		}
		e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1) })
		return errors.Join(e, err)
	}}
	network := "udp4"
	if (*from)[0] == '[' {
		network = "udp6"
	}
	c, err := lc.ListenPacket(context.Background(), network, *from)
	if err != nil {
		return err
	}
	if _, err := c.WriteTo(payload, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(*to))); err != nil {
		fmt.Println("not sent:", err)
		return nil
	}
	b := make([]byte, 2000)
	_ = c.SetReadDeadline(time.Now().Add(*wait))
	n, _, err := c.ReadFrom(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		fmt.Println("silence")
		return nil
	}
	fmt.Println(hex.EncodeToString(b[:n]))
	return err
}

// helpAgain sends a packet once more that is in a capture, as it was, from its IP header on.
func helpAgain(args []string) error {
	packet, err := firstPacket(args[0])
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	fmt.Println("protocol", packet[9])
	return unix.Sendto(fd, packet, 0, &unix.SockaddrInet4{Addr: [4]byte(packet[16:20])})
}

// writeTo leaves the table of one of the suite's tests in a folder of its own.
func (r *report) writeTo(out, name string) error {
	folder := filepath.Join(out, name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return r.write(folder)
}
