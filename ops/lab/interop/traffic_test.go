package interop

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const (
	downloadSize = 2 << 20
	uploadSize   = 384 << 10
)

// core is what a subscriber reaches: a host with a web server.
type core struct {
	body []byte
}

// startCore serves downloads and takes uploads on the core's addresses.
func startCore(t *testing.T) *core {
	t.Helper()
	c := &core{body: make([]byte, downloadSize)}
	rnd := rand.NewChaCha8([32]byte{1})
	_, _ = rnd.Read(c.body) // never fails
	l, err := net.Listen("tcp", "0.0.0.0:8080")
	must(t, err)
	server := &http.Server{Handler: c, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // ends with Close below
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return c
}

// ServeHTTP gives the download, or answers an upload with its checksum.
func (c *core) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		sum := sha256.New()
		if _, err := io.Copy(sum, r.Body); err == nil {
			fmt.Fprintf(w, "%x\n", sum.Sum(nil))
		}
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(c.body))
}

// pingSizes are the octets of data in an echo.
var pingSizes = []int{64, 1300}

// pingTries is how often a ping is tried. The guest now and then loses a packet
// that has reached it; that we lose none is for the capture to show (unanswered).
const pingTries = 4

// ping pings from the subscriber to the core and back.
func (c *call) ping(target string) error {
	if _, err := c.lac.host.Run(patience, fmt.Sprintf("ip route replace %s dev %s src %s", target, c.device, c.addr)); err != nil {
		return err
	}
	for _, size := range pingSizes {
		if err := repeat(pingTries, func() error { return c.pingOut(target, size) }); err != nil {
			return err
		}
		if err := repeat(pingTries, func() error { return c.pingIn(target, size) }); err != nil {
			return err
		}
	}
	return nil
}

// repeat tries up to n times and gives the last error.
func repeat(n int, try func() error) (err error) {
	for range n {
		if err = try(); err == nil {
			return nil
		}
	}
	return err
}

// echoes are busybox ping's arguments for three echoes.
const echoes = "-q -c 3 -i 0.1 -W 2 -s %d -I %s %s"

// pingOut pings from the subscriber.
func (c *call) pingOut(target string, size int) error {
	out, err := c.lac.host.Run(patience, "busybox ping "+fmt.Sprintf(echoes, size, c.addr, target))
	if err == nil && !strings.Contains(out, " 0% packet loss") {
		err = fmt.Errorf("packets were lost: %s", out)
	}
	if err != nil {
		return fmt.Errorf("ping of %d octets from the subscriber: %w", size, err)
	}
	return nil
}

// pingIn pings to the subscriber.
func (c *call) pingIn(target string, size int) error {
	args := append([]string{"ping"}, strings.Fields(fmt.Sprintf(echoes, size, target, c.addr))...)
	out, err := output(patience, "busybox", args...)
	if err == nil && !strings.Contains(out, " 0% packet loss") {
		err = fmt.Errorf("packets were lost: %s", out)
	}
	if err != nil {
		return fmt.Errorf("ping of %d octets to the subscriber: %w", size, err)
	}
	return nil
}

// transfer moves a file each way by TCP and compares checksums. The route to
// target is ping's.
func (c *call) transfer(core *core, target string) error {
	file := fmt.Sprintf("%s/%s.file", scriptDir, c.line.name)
	out, err := c.lac.host.Run(2*patience, fmt.Sprintf(
		// wget sends text only.
		"busybox wget -q -O %[1]s http://%[2]s:8080/ && sha256sum %[1]s && head -c %[3]d %[1]s | base64 -w 0 > %[1]s.up && "+
			"busybox wget -q -O - --post-file %[1]s.up http://%[2]s:8080/ && rm -f %[1]s %[1]s.up", file, target, uploadSize))
	if err != nil {
		return fmt.Errorf("transfer: %w", err)
	}
	for what, sum := range map[string][32]byte{
		"download": sha256.Sum256(core.body),
		"upload":   sha256.Sum256(base64.StdEncoding.AppendEncode(nil, core.body[:uploadSize])),
	} {
		if !strings.Contains(out, fmt.Sprintf("%x", sum)) {
			return fmt.Errorf("transfer: the %s's checksum is not %x: %s", what, sum, out)
		}
	}
	return nil
}

// checkDNS checks the name servers that IPCP gave and pppd wrote down.
func (c *call) checkDNS() error {
	text, err := c.lac.host.Get("/etc/ppp/resolv.conf")
	if err != nil {
		return err
	}
	for i, w := range nameServers {
		if len(c.dns) <= i || c.dns[i] != w {
			return fmt.Errorf("IPCP gave name servers %v, want %v", c.dns, nameServers)
		}
		if !strings.Contains(text, "nameserver "+w) {
			return fmt.Errorf("pppd's resolv.conf is %q, want %v in it", text, nameServers)
		}
	}
	return nil
}
