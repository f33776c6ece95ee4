package ipsec

import (
	"encoding/binary"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// helpPing sends echo requests that may not be fragmented, and prints how many of them were answered,
// and what a router or this host said of the size: "sent N received N mtu N".
func helpPing(args []string) error {
	f := flag.NewFlagSet("ping", flag.ContinueOnError)
	from, to := f.String("from", "", ""), f.String("to", "", "")
	size, count := f.Int("size", 100, "octets of the IP packet"), f.Int("count", 1, "")
	every, wait := f.Duration("every", 200*time.Millisecond, ""), f.Duration("wait", 10*time.Second, "")
	silence := f.Duration("silence", 0, "give up when no answer came for so long; 0 is never")
	during := f.Duration("during", time.Hour, "send no more after so long")
	if err := f.Parse(args); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	if err != nil {
		return err
	}
	if *from != "" {
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: netip.MustParseAddr(*from).As4()}); err != nil {
			return err
		}
	}
	// DF, but without the kernel's own memory of path MTUs: a router has to say it each time.
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE); err != nil {
		return err
	}
	// What a guest without a processor could not read for a while is not lost.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20); err != nil {
		return err
	}
	p := pinger{fd: fd, id: uint16(os.Getpid()), seen: make([]bool, *count)}
	began := time.Now()
	next := began
	p.heard = began
	sent := 0
	for seq := range *count {
		if *silence > 0 && time.Since(p.heard) > *silence || time.Since(began) > *during {
			break
		}
		sent++
		if err := p.send(netip.MustParseAddr(*to), seq, *size); err != nil {
			p.mtu = -1
		}
		// No burst makes up for time in which this process did not run: queues would overflow.
		for next = later(next.Add(*every), time.Now().Add(*every/2)); time.Now().Before(next); {
			p.receive(next)
		}
	}
	for end := time.Now().Add(*wait); p.received < sent && time.Now().Before(end); {
		p.receive(end)
	}
	fmt.Printf("sent %d received %d mtu %d lost %v last answer at %s\n", sent, p.received, p.mtu, p.lost(sent), p.heard.Format(time.TimeOnly))
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

type pinger struct {
	fd            int
	id            uint16
	received, mtu int
	seen          []bool
	heard         time.Time // when the last answer came
}

func (p *pinger) send(to netip.Addr, seq, size int) error {
	b := make([]byte, size-20)
	b[0] = 8
	binary.BigEndian.PutUint16(b[4:], p.id)
	binary.BigEndian.PutUint16(b[6:], uint16(seq))
	sum := uint32(0)
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum+sum>>16))
	return unix.Sendto(p.fd, b, 0, &unix.SockaddrInet4{Addr: to.As4()})
}

// receive reads one answer, or waits in vain until a time, but no longer than 20 ms.
func (p *pinger) receive(until time.Time) {
	wait := int(min(time.Until(until), 20*time.Millisecond) / time.Millisecond)
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, max(wait, 1)); n == 0 || err != nil {
		return
	}
	b := make([]byte, 4000)
	n, _, err := unix.Recvfrom(p.fd, b, unix.MSG_DONTWAIT)
	if err != nil || n < 28 {
		return
	}
	t := b[20:n]
	switch seq := int(binary.BigEndian.Uint16(t[6:])); {
	case t[0] == 3 && t[1] == 4:
		p.mtu = seq
	case t[0] == 0 && binary.BigEndian.Uint16(t[4:]) == p.id && seq < len(p.seen) && !p.seen[seq]:
		p.seen[seq] = true
		p.received++
		p.heard = time.Now()
	}
}

func (p *pinger) lost(sent int) (list []int) {
	for i, ok := range p.seen[:sent] {
		if !ok && len(list) < 20 {
			list = append(list, i)
		}
	}
	return list
}

// pinged is what helpPing says.
type pinged struct{ sent, received, mtu int }

// ping has a namespace send pings with DF.
func (l *lab) ping(ns string, limit time.Duration, args string, more ...any) (r pinged, text string, err error) {
	text, err = l.help(ns, limit, "ping", fmt.Sprintf(args, more...))
	if err == nil {
		_, err = fmt.Sscanf(text, "sent %d received %d mtu %d", &r.sent, &r.received, &r.mtu)
	}
	return r, text, err
}
