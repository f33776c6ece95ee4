package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/ops/lab/proc"
)

// capture is dumpcap on the link to the guest, for the whole run.
type capture struct {
	*proc.Daemon
	path string
}

// startCapture begins to capture all IPv4 on the link.
func startCapture(t *testing.T, out string) *capture {
	t.Helper()
	c := &capture{path: filepath.Join(out, "l2tp.pcapng")}
	d, err := proc.Start(out, "dumpcap", nil, "dumpcap", "-q", "-i", linkName, "-f", "ip", "-s", "0", "-B", "16", "-w", c.path)
	must(t, err)
	c.Daemon = d
	must(t, await(patience, d, func() error {
		_, err := os.Stat(c.path)
		return err
	}))
	return c
}

// end ends the capture, after time for what is in its buffers, and makes
// sure that it saw everything.
func (c *capture) end() error {
	time.Sleep(time.Second)
	if err := c.Stop(syscall.SIGINT, patience); err != nil {
		return err
	}
	log, err := os.ReadFile(c.Log)
	if err != nil {
		return err
	}
	// Packets received/dropped on interface 'tap0': 123/0 (pcap:0/...)
	_, counts, _ := strings.Cut(string(log), "received/dropped on interface")
	if _, counts, ok := strings.Cut(counts, "/"); !ok || !strings.HasPrefix(counts, "0 ") {
		return fmt.Errorf("the capture has lost packets: %s", log)
	}
	return nil
}

// packet is a packet of the capture as tshark decodes it.
type packet struct {
	number string
	at     time.Time
	// src and dst are the outer addresses; inner has those inside the tunnel, if any, and octets its IP length.
	src, dst           string
	innerSrc, innerDst string
	octets             uint64
	message            string // Message Type AVP, of a control message
	ipcpAck            bool   // an IPCP Configure-Ack
	l2tp               bool
	// echo names an ICMP echo in a tunnel, as request and as reply alike.
	echo      string
	reply     bool
	eap       int // octets of its EAP packet; 0 is none
	malformed bool
	severity  int64 // the worst expert information; see below
	expert    string
}

// Expert severities of Wireshark.
const severityWarn = 0x600000

var packetFields = []string{
	"frame.number", "frame.time_epoch", "frame.protocols", "ip.src", "ip.dst", "ip.len",
	"l2tp.avp.message_type", "ppp.code", "icmp.type", "icmp.ident", "icmp.seq",
	"eap.len", "_ws.malformed", "_ws.expert.severity", "_ws.expert.message",
}

// packets decodes the whole capture.
func (c *capture) packets() ([]packet, error) {
	args := []string{"-c", `exec tshark "$@" 2>"` + c.path + `.err"`, "tshark", "-n", "-r", c.path,
		"-T", "fields", "-E", "separator=|", "-E", "occurrence=a", "-E", "aggregator=\x1f",
		// What the subscribers' own TCP loses or sends again says nothing of
		// us, and would spoil what is put together of it; that its packets come out whole does.
		"-o", "tcp.analyze_sequence_numbers:FALSE", "-o", "tcp.desegment_tcp_streams:FALSE", "-d", "tcp.port==8080,data",
		"-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"}
	for _, n := range packetFields {
		args = append(args, "-e", n)
	}
	out, err := output(2*time.Minute, "/bin/sh", args...)
	if err != nil {
		return nil, err
	}
	var all []packet
	for row := range strings.Lines(out) {
		p, err := parsePacket(strings.TrimRight(row, "\n"))
		if err != nil {
			return nil, fmt.Errorf("tshark: %w", err)
		}
		all = append(all, p)
	}
	return all, nil
}

// parsePacket reads a row of packetFields.
func parsePacket(row string) (packet, error) {
	f := strings.SplitN(row, "|", len(packetFields))
	if len(f) != len(packetFields) {
		return packet{}, fmt.Errorf("row %q has %d fields, want %d", row, len(f), len(packetFields))
	}
	seconds, err := strconv.ParseFloat(f[1], 64)
	if err != nil {
		return packet{}, err
	}
	list := func(i int) []string { return strings.Split(f[i], "\x1f") }
	protocols := ":" + f[2] + ":"
	p := packet{
		number: f[0], at: time.UnixMicro(int64(seconds * 1e6)), src: list(3)[0], dst: list(4)[0],
		l2tp: strings.Contains(protocols, ":l2tp:"), message: f[6], expert: f[14],
		ipcpAck:   strings.Contains(protocols, ":ipcp:") && list(7)[0] == "2",
		malformed: f[12] != "" || strings.Contains(protocols, ":_ws.malformed:"),
	}
	if strings.Contains(protocols, ":l2tp:ppp:ip:") && len(list(3)) > 1 {
		p.innerSrc, p.innerDst = list(3)[1], list(4)[1]
		if p.octets, err = strconv.ParseUint(list(5)[1], 10, 64); err != nil {
			return packet{}, err
		}
	}
	if kind := f[8]; p.innerSrc != "" && (kind == "8" || kind == "0") {
		p.reply = kind == "0"
		p.echo = strings.Join([]string{p.innerSrc, p.innerDst, f[9], f[10]}, " ")
		if p.reply {
			p.echo = strings.Join([]string{p.innerDst, p.innerSrc, f[9], f[10]}, " ")
		}
	}
	if f[11] != "" {
		if p.eap, err = strconv.Atoi(list(11)[0]); err != nil {
			return packet{}, err
		}
	}
	for _, s := range list(13) {
		if n, err := strconv.ParseInt(s, 0, 64); err == nil {
			p.severity = max(p.severity, n)
		}
	}
	return p, nil
}

// setup is the time from the first SCCRQ in a span of time to the second IPCP
// Configure-Ack, when both ends have their addresses; 0 when there is none.
func setup(all []packet, from, to time.Time) time.Duration {
	var began time.Time
	acks := 0
	for _, p := range all {
		switch {
		case p.at.Before(from) || p.at.After(to) || !p.l2tp || p.src == heldAddr || p.dst == heldAddr:
		case p.message == "1" && began.IsZero():
			began = p.at
		case p.ipcpAck && !began.IsZero():
			if acks++; acks == 2 {
				return p.at.Sub(began)
			}
		}
	}
	return 0
}

// wire sums the octets of IP in tunnels from and to a subscriber's address in
// a span of time.
func wire(all []packet, addr string, from, to time.Time) (sent, received uint64) {
	for _, p := range all {
		switch {
		case p.at.Before(from) || p.at.After(to):
		case ofLNS(p.dst) && p.innerSrc == addr:
			sent += p.octets
		case ofLNS(p.src) && p.innerDst == addr:
			received += p.octets
		}
	}
	return sent, received
}

func TestParsePacket(t *testing.T) {
	row := strings.Join([]string{"7", "1000.5", "eth:ethertype:ip:udp:l2tp:ppp:ip:icmp", "10.99.0.2\x1f100.64.0.9", "10.99.0.1\x1f192.0.2.1",
		"130\x1f92", "", "", "8", "5", "1", "22", "", "0x00200000\x1f0x00600000", "a|b"}, "|")
	p, err := parsePacket(row)
	if err != nil {
		t.Fatal(err)
	}
	if p.innerSrc != "100.64.0.9" || p.octets != 92 || p.severity != severityWarn || p.expert != "a|b" || p.malformed || !p.l2tp ||
		p.echo != "100.64.0.9 192.0.2.1 5 1" || p.reply || p.eap != 22 {
		t.Errorf("parsePacket: %+v", p)
	}
	if sent, received := wire([]packet{p}, "100.64.0.9", p.at, p.at); sent != 92 || received != 0 {
		t.Errorf("wire: %d, %d", sent, received)
	}
	if _, err := parsePacket("1|2"); err == nil {
		t.Error("a short row gave no error")
	}
}

func TestSetup(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(1e12) + int64(ms)) }
	all := []packet{
		{at: at(5), l2tp: true, ipcpAck: true}, {at: at(10), l2tp: true, message: "1"}, {at: at(20), l2tp: true, message: "1"},
		{at: at(25), l2tp: true, ipcpAck: true, dst: heldAddr},
		{at: at(30), l2tp: true, ipcpAck: true}, {at: at(50), l2tp: true, ipcpAck: true},
	}
	for _, tt := range []struct {
		from, to int
		want     time.Duration
	}{{0, 100, 40 * time.Millisecond}, {15, 100, 30 * time.Millisecond}, {0, 40, 0}, {25, 100, 0}} {
		if got := setup(all, at(tt.from), at(tt.to)); got != tt.want {
			t.Errorf("setup from %d to %d: %v, want %v", tt.from, tt.to, got, tt.want)
		}
	}
}
