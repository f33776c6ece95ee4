package ipsec

import (
	"crypto/rand"
	"encoding/binary"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What ops/strongswan/culvert.conf has, which these tests are about.
const (
	cookieThreshold = 100
	blockThreshold  = 50
	halfOpenTimeout = 15 * time.Second
	// charon's own, for one address
	cookieThresholdIP = 3
	// also charon's own: so long after a flood it asks everybody for a cookie still, and a little
	cookieCalm = 12 * time.Second
)

// helpFlood sends the first message of a key exchange that is in a capture again and again, each time as another
// initiator's, from so many addresses in turn.
func helpFlood(args []string) error {
	f := flag.NewFlagSet("flood", flag.ContinueOnError)
	from := f.String("from", "", "the first address")
	many, count := f.Int("many", 1, "addresses"), f.Int("count", 0, "")
	every := f.Duration("every", 10*time.Millisecond, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	packet, err := firstPacket(f.Arg(0))
	if err != nil {
		return err
	}
	first, err := netip.ParseAddr(*from)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	base := first.As4()
	to := &unix.SockaddrInet4{Addr: [4]byte(packet[16:20])}
	const spi = 20 + 8 // the initiator's, behind the headers of IP and UDP
	for i := range *count {
		source := binary.BigEndian.Uint32(base[:]) + uint32(i%*many)
		binary.BigEndian.PutUint32(packet[12:], source)
		packet[26], packet[27] = 0, 0 // no checksum of UDP
		_, _ = rand.Read(packet[spi : spi+8])
		if err := unix.Sendto(fd, packet, 0, to); err != nil {
			return err
		}
		time.Sleep(*every)
	}
	fmt.Println("sent", *count)
	return nil
}

// firstPacket is a capture's first packet, from its IP header on; of Ethernet.
func firstPacket(file string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	const header, record, ethernet = 24, 16, 14
	if len(b) < header+record+ethernet+20 {
		return nil, fmt.Errorf("%s has no packet", file)
	}
	n := int(binary.LittleEndian.Uint32(b[header+8:]))
	return b[header+record+ethernet:][:n-ethernet], nil
}

// initMessage captures the first message of a LAC's IKE, which nobody answers any more.
func (l *lab) initMessage(x *lac, version int) error {
	_, _ = l.ctl("lac remove called") // it has the address; the row before this one may have failed
	if err := x.swan.configure(conn{name: "anybody", version: version, psk: roadKey, more: "local_addrs = " + directAddr}); err != nil {
		return err
	}
	_, err := l.sh("wan", 15*time.Second, `cd %s && rm -f init.pcap && (setsid timeout 60 tcpdump -n -p -U -c 1 -i direct0 -w init.pcap 'udp dst port 500 and src %s' >tcpdump-init.log 2>&1 </dev/null &); for i in $(seq 300); do grep -q listening tcpdump-init.log && exit 0; sleep 0.1; done; exit 1`, dir, directAddr)
	if err != nil {
		return err
	}
	if err := x.swan.initiate("anybody"); err != nil {
		return err
	}
	x.swan.drop("anybody")
	// tcpdump writes when the kernel thinks it worth while.
	return until(30*time.Second, func() error {
		_, err := l.sh("wan", 10*time.Second, `test "$(stat -c %%s %s/init.pcap)" -gt 40`, dir)
		return err
	})
}

// flood starts a flood.
func (l *lab) flood(args string, more ...any) error {
	self, err := l.self()
	if err != nil {
		return err
	}
	_, err = l.sh("wan", 20*time.Second, "cd %s && rm -f flood.log && (%s=flood setsid %s %s %s/init.pcap >flood.log 2>&1 </dev/null & echo $! >flood.pid)", dir, envHelper, self, fmt.Sprintf(args, more...), dir)
	return err
}

// flooded waits for the flood's end.
func (l *lab) flooded(limit time.Duration) error {
	return until(limit, func() error {
		_, err := l.sh("wan", 10*time.Second, "grep -q ^sent %s/flood.log || { cat %s/flood.log; exit 1; }", dir, dir)
		return err
	})
}

var halfOpenCount = regexp.MustCompile(`(\d+) half-open`)

// halfOpen is how many IKE SAs of the LNS's charon are half open.
func (l *lab) halfOpen() (int, error) {
	text, err := l.charon.swan(20*time.Second, "--stats")
	if err != nil {
		return 0, err
	}
	m := halfOpenCount.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("swanctl --stats says %q", text)
	}
	return strconv.Atoi(m[1])
}

// mostHalfOpen looks again and again for so long, and gives the largest number.
func (l *lab) mostHalfOpen(d time.Duration) (most int, err error) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		n, err := l.halfOpen()
		if err != nil {
			return 0, err
		}
		most = max(most, n)
	}
	return most, nil
}

// floodOfMany has forged first messages of IKEv2 come from many addresses: from a number on charon asks for a cookie, which
// only who gets its answers can give, so that no more is kept; and a LAC comes in.
func (l *lab) floodOfMany(t *testing.T, x *lac, _ *charon) {
	r := l.report.row(t)
	l.flooding(r, x, 2, "-from 10.9.0.1 -many 4000", blockThreshold, cookieThreshold+20)
	l.comesInto(t, r, x, true)
	l.stopFlood(r)
	l.calm(r)
	time.Sleep(cookieCalm) // else nothing of the next row's flood is kept
}

// floodOfOne has them come from one address.
func (l *lab) floodOfOne(t *testing.T, x *lac, _ *charon) {
	r := l.report.row(t)
	l.flooding(r, x, 2, "-from 10.9.64.1", 1, cookieThresholdIP+5)
	l.comesInto(t, r, x, false)
	l.stopFlood(r)
	l.calm(r)
}

// floodOfOld has first messages of IKEv1, which has no cookies, come from one address: no more than some of an address are
// kept, the operator hears of it, and a LAC of another address comes in.
func (l *lab) floodOfOld(t *testing.T, x *lac, _ *charon) {
	r := l.report.row(t)
	before, err := l.metric("ipsec_ike_failures", `"other"`)
	must(t, err)
	mark := l.mark()
	lines, err := l.logLines()
	must(t, err)
	l.flooding(r, x, 1, "-from 10.9.65.1", blockThreshold/2, blockThreshold+10)
	l.comesInto(t, r, x, false)
	r.check("logged", func() error {
		return l.logged(10*time.Second, mark, "could not set up its SA", "limit of half-open IKE", "10.9.65.1")
	})
	r.check("flood ended", func() error { return l.flooded(3 * time.Minute) })
	l.calm(r)
	after, err := l.metric("ipsec_ike_failures", `"other"`)
	must(t, err)
	now, err := l.logLines()
	must(t, err)
	failures := int(after - before)
	r.note += fmt.Sprintf("; %d failures, lnsd logged %d lines", failures, now-lines)
	r.check("counted, and not all logged", func() error {
		if failures < floodSize/2 || now-lines > failures/2 {
			return fmt.Errorf("%d lines for %d failures of %d messages", now-lines, failures, floodSize)
		}
		return nil
	})
}

// floodSize is how many messages a flood has.
const floodSize = 2500

// flooding starts a flood and wants charon to keep so many IKE SAs half open. Where it keeps none, it asks everybody for a
// cookie still, for which one message of anybody since the flood before is enough: then there is another try, after a longer silence.
func (l *lab) flooding(r *row, x *lac, version int, from string, least, limit int) {
	r.check("a first message", func() error { return l.initMessage(x, version) })
	start := func() error { return l.flood("%s -count %d -every 20ms", from, floodSize) }
	r.check("flood", start)
	r.check("what is half open is bounded", func() error {
		most, err := l.mostHalfOpen(halfOpenTimeout / 2)
		if err == nil && most == 0 {
			if err = l.endFlood(); err == nil {
				time.Sleep(2 * cookieCalm)
				err = start()
			}
			if err == nil {
				most, err = l.mostHalfOpen(halfOpenTimeout / 2)
			}
		}
		r.note = fmt.Sprintf("%d messages, at most %d half open", floodSize, most)
		if err == nil && (most < least || most > limit) {
			err = fmt.Errorf("%d IKE SAs were half open, want %d to %d", most, least, limit)
		}
		return err
	})
}

// stopFlood ends the flood.
func (l *lab) stopFlood(r *row) { r.check("flood stopped", l.endFlood) }

func (l *lab) endFlood() error {
	_, err := l.Run(10*time.Second, "kill $(cat "+dir+"/flood.pid)")
	return err
}

// calm waits until the LNS's charon has no IKE SA that is half open.
func (l *lab) calm(r *row) {
	r.check("calm", func() error {
		return until(4*halfOpenTimeout, func() error {
			n, err := l.halfOpen()
			if err == nil && n > 0 {
				err = fmt.Errorf("%d IKE SAs are half open still", n)
			}
			return err
		})
	})
}

// comesInto has a LAC set up an SA and a session while the flood goes on.
func (l *lab) comesInto(t *testing.T, r *row, x *lac, cookie bool) {
	t.Helper()
	text, err := l.Get(x.swan.dir + "/charon.log")
	must(t, err)
	began := len(text)
	defer func() {
		_ = x.hangUp()
		x.swan.drop("anybody")
		_ = x.reset()
	}()
	r.check("a LAC comes in", func() error { return x.swan.initiate("anybody") })
	if cookie {
		r.check("with a cookie", func() error {
			text, err := l.Get(x.swan.dir + "/charon.log")
			if err == nil && !regexp.MustCompile(`N\(COOKIE\)`).MatchString(text[min(began, len(text)):]) {
				err = fmt.Errorf("it was not asked for one: %s", lastLines(text, 20))
			}
			return err
		})
	}
	r.check("session", x.dial)
	r.check("the flood goes on", func() error {
		_, err := l.sh("wan", 10*time.Second, "! grep -q ^sent %s/flood.log", dir)
		return err
	})
	r.check("pings", l.flows)
}

// logLines counts what lnsd has logged.
func (l *lab) logLines() (n int, err error) {
	text, err := l.sh("lns", 10*time.Second, "wc -l < %s/lnsd.log", lnsDir)
	if err == nil {
		_, err = fmt.Sscan(text, &n)
	}
	return n, err
}
