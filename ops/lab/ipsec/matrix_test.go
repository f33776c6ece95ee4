package ipsec

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestIPsec is the whole suite: one guest, and rows of a table.
func TestIPsec(t *testing.T) {
	needs(t)
	l := newLab(t)
	t.Cleanup(func() {
		if err := l.report.write(l.out); err != nil {
			t.Error(err)
		}
	})
	t.Run("matrix", l.matrix)
}

// matrix tries every kind of SA with a whole call through it.
func (l *lab) matrix(t *testing.T) {
	x, err := l.startLAC("direct", 1701)
	must(t, err)
	var list []conn
	for _, version := range []int{2, 1} {
		for _, auth := range []string{"key", "cert"} {
			for _, way := range []string{"plain", "natt"} {
				for _, alg := range []string{"gcm", "cbc"} {
					c := conn{version: version, encap: way == "natt", esp: "aes128gcm16-ecp256", psk: sharedKey}
					c.name = fmt.Sprintf("ikev%d-%s-%s-%s", version, auth, way, alg)
					if auth == "cert" {
						c.psk, c.who, c.id = "", l.pki.lac, "lac1.example.net"
					}
					if alg == "cbc" {
						c.esp = "aes256-sha256-ecp256"
					}
					list = append(list, c)
				}
			}
		}
	}
	must(t, x.swan.configure(list...))
	wire, err := l.capture()
	must(t, err)
	for _, c := range list {
		t.Run(c.name, func(t *testing.T) { l.wholeCall(t, x, c) })
	}
	t.Run("wire", func(t *testing.T) {
		l.report.row(t).check("no clear L2TP", func() error { return wire.clear() })
	})
}

// wholeCall sets up an SA, dials, uses the call and ends it all.
func (l *lab) wholeCall(t *testing.T, x *lac, c conn) {
	r := l.report.row(t)
	r.check("SA", func() error { return x.swan.initiate(c.name) })
	defer x.swan.drop(c.name)
	r.check("session", x.dial)
	defer func() { _ = x.hangUp() }()
	r.check("ping 1300", func() error { return x.ping(4) })
	r.check("TCP both ways", func() error { return x.transfer(100_000) })
	r.check("counts agree", func() error { return l.countsAgree(x, c) })
	r.check("hang up", x.hangUp)
	r.check("SA gone", func() error {
		if err := x.swan.terminate(c.name); err != nil {
			return err
		}
		return l.noSAs()
	})
}

// countsAgree compares what lnsctl says of the tunnel's SA with what was configured and with the kernel.
func (l *lab) countsAgree(x *lac, c conn) error {
	t, err := x.tunnel(directAddr)
	if err != nil {
		return err
	}
	text, err := l.ctl(fmt.Sprintf("tunnel show %d", t.ID))
	if err != nil {
		return err
	}
	want := []string{fmt.Sprintf("IKEv%d", c.version), map[bool]string{true: "AES_GCM_16_128", false: "AES_CBC_256/HMAC_SHA2_256_128"}[strings.Contains(c.esp, "gcm")]}
	if c.encap {
		want = append(want, "in UDP")
	}
	if c.id != "" {
		want = append(want, c.id)
	}
	for _, w := range want {
		if !strings.Contains(text, w) {
			return fmt.Errorf("lnsctl does not tell of %q:\n%s", w, text)
		}
	}
	return l.sameAsKernel(t.ID)
}

// sameAsKernel compares the packets that lnsctl tells of an SA with the kernel's own counts, taken before
// and after: echoes pass meanwhile. Keys may change in between; a second look then finds them the same.
func (l *lab) sameAsKernel(id int) error {
	return until(30*time.Second, func() error {
		first, err := l.saUsage(id)
		if err != nil {
			return err
		}
		before, err := l.kernelPackets(first.SPIIn, first.SPIOut)
		if err != nil {
			return err
		}
		u, err := l.saUsage(id)
		if err != nil {
			return err
		}
		after, err := l.kernelPackets(first.SPIIn, first.SPIOut)
		if err != nil {
			return err
		}
		for i, ours := range []uint64{u.InPackets, u.OutPackets} {
			if ours < before[i] || ours > after[i] || ours == 0 || u.SPIIn != first.SPIIn {
				return fmt.Errorf("SA %s/%s: the kernel counts %d in and out, then %d, lnsctl says in between %+v", first.SPIIn, first.SPIOut, before, after, u)
			}
		}
		return nil
	})
}

// saUsage is what lnsctl says that a tunnel's SA has carried.
func (l *lab) saUsage(id int) (*saUsage, error) {
	text, err := l.ctl(fmt.Sprintf("tunnel show %d -o json", id))
	if err != nil {
		return nil, err
	}
	var t tunnel
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return nil, fmt.Errorf("%w in %q", err, text)
	}
	if t.IPsec == nil || t.IPsec.Usage == nil {
		return nil, fmt.Errorf("lnsctl shows no SA, or not what it has carried: %s", text)
	}
	return t.IPsec.Usage, nil
}

// kernelPackets is what the kernel has counted for SAs.
func (l *lab) kernelPackets(spis ...string) (list []uint64, err error) {
	for _, spi := range spis {
		text, err := l.sh("lns", 10*time.Second, "ip -s xfrm state list proto esp spi 0x%s | grep -A1 'lifetime current' | tail -1", spi)
		if err != nil {
			return nil, err
		}
		var octets, packets uint64
		if _, err := fmt.Sscanf(strings.TrimSpace(text), "%d(bytes), %d(packets)", &octets, &packets); err != nil {
			return nil, fmt.Errorf("ip says %q: %w", text, err)
		}
		list = append(list, packets)
	}
	return list, nil
}

// clearFilter is what must not be on the wire: L2TP that is neither in ESP nor in UDP 4500.
const clearFilter = "udp port 1701"

// wire is a capture between the LACs and the LNS.
type wire struct{ l *lab }

// capture counts clear L2TP in the wide area, where every packet passes as it is on the wire,
// and beside it ESP, so that a capture which sees nothing at all is not taken for good.
func (l *lab) capture() (*wire, error) {
	_, err := l.sh("wan", 15*time.Second, `cd %s && for f in "clear:%s" "esp:esp or udp port 4500"; do setsid tcpdump -n -p -U -i lns0 -w wire-${f%%%%:*}.pcap "${f#*:}" >tcpdump-${f%%%%:*}.log 2>&1 </dev/null & done; for i in $(seq 300); do grep -q listening tcpdump-esp.log && grep -q listening tcpdump-clear.log && exit 0; sleep 0.1; done; exit 1`, dir, clearFilter)
	return &wire{l}, err
}

// clear says whether the capture has clear L2TP.
func (w *wire) clear() error {
	n, err := w.count("clear")
	if err == nil && n > 0 {
		text, _ := w.l.Run(20*time.Second, "tcpdump -n -r "+dir+"/wire-clear.pcap 2>/dev/null | head -5")
		err = fmt.Errorf("%w: %d packets of clear L2TP on the wire: %s", errNot, n, text)
	}
	if err != nil {
		return err
	}
	if n, err = w.count("esp"); err == nil && n < 100 {
		err = fmt.Errorf("the capture has %d packets of ESP only", n)
	}
	return err
}

func (w *wire) count(kind string) (n int, err error) {
	text, err := w.l.Run(60*time.Second, "tcpdump -n -r "+dir+"/wire-"+kind+".pcap 2>/dev/null | wc -l")
	if err == nil {
		_, err = fmt.Sscan(text, &n)
	}
	return n, err
}
