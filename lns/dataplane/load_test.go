package dataplane_test

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"culvert/lns/dataplane"
	"culvert/lns/dataplane/planetest"
)

// load is the process that makes the benchmarks' load: up from a LAC or down
// from the core. It says when it is warm, waits for a line, sends, and says when it is done.
func load(role string) error {
	size, _ := strconv.Atoi(os.Getenv("CULVERT_SIZE"))
	count, _ := strconv.Atoi(os.Getenv("CULVERT_COUNT"))
	send, err := loadDown(size)
	if role != "down" {
		send, err = loadUp(size, role == "upsegmented")
	}
	if err != nil {
		return err
	}
	if err := paced(20_000, send); err != nil {
		return err
	}
	fmt.Println("warm")
	bufio.NewScanner(os.Stdin).Scan()
	if err := paced(count, send); err != nil {
		return err
	}
	fmt.Println("done")
	return nil
}

const burst = 64

// paced sends count packets in bursts at the load's rate.
func paced(count int, send func() error) error {
	next := time.Now()
	for range (count + burst - 1) / burst {
		if err := send(); err != nil {
			return err
		}
		next = next.Add(burst * time.Second / loadRate)
		time.Sleep(time.Until(next))
	}
	return nil
}

// loadUp sends as the LAC whose socket is descriptor 3.
func loadUp(size int, segmented bool) (func() error, error) {
	f := os.NewFile(3, "lac")
	pc, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(os.Getenv("CULVERT_TO")))
	var all [][]byte
	for i := range loadSessions {
		p := planetest.UDP4(netip.AddrPortFrom(subscriber(i), 9), planetest.Host, make([]byte, size-28))
		all = append(all, append([]byte{0, 2, 0, 1, byte((i + 1) >> 8), byte(i + 1), 0xff, 3, 0, 0x21}, p...))
	}
	next := 0
	take := func() []byte {
		next = (next + 1) % len(all)
		return all[next]
	}
	if segmented {
		return loadSegmented(pc.(*net.UDPConn), to, take)
	}
	c := ipv4.NewPacketConn(pc)
	batch := make([]ipv4.Message, burst)
	return func() error {
		for i := range batch {
			batch[i] = ipv4.Message{Buffers: [][]byte{take()}, Addr: to}
		}
		_, err := c.WriteBatch(batch, 0)
		return err
	}, nil
}

func loadSegmented(c *net.UDPConn, to *net.UDPAddr, take func() []byte) (func() error, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	size := len(take())
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, size) })
	var buf []byte
	return func() error {
		buf = buf[:0]
		for range burst {
			buf = append(buf, take()...)
		}
		_, err := c.WriteToUDP(buf, to)
		return err
	}, err
}

// loadDown writes to a TUN device of its own, from where the kernel forwards.
func loadDown(size int) (func() error, error) {
	if os.Getenv("CULVERT_LOAD") != "down" {
		return nil, nil
	}
	far, err := dataplane.NewTUN(dataplane.Config{Device: "far0", Shards: 1, MTU: 1500})
	if err != nil {
		return nil, err
	}
	batch := make([]dataplane.Packet, burst)
	next := 0
	return func() error {
		for i := range batch {
			next = (next + 1) % loadSessions
			p := planetest.UDP4(planetest.Host, netip.AddrPortFrom(subscriber(next), 9), make([]byte, size-28))
			batch[i] = dataplane.Packet{Buf: append(make([]byte, dataplane.Headroom), p...), Off: dataplane.Headroom}
		}
		if n := far.Write(0, batch); n != burst {
			return fmt.Errorf("the far device took %d of %d packets", n, burst)
		}
		return nil
	}, nil
}
