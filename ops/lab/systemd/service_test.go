package systemd

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const config = `node: lns1
l2tp: {listen: ["10.1.0.1:1701"], shards: 2}
subscriber: {local_address: 100.64.0.1}
lacs: [{name: lab, prefixes: [10.1.0.0/24], hello: 10s}]
radius:
  auth: {servers: [{name: lab, address: "127.0.0.1:1812", secret: secret}]}
  acct: {servers: [{name: lab, address: "127.0.0.1:1813", secret: secret}]}
pools: [{name: main, ranges: [100.64.0.0/16], exclude: [100.64.0.0-100.64.0.1]}]
`

// install does what a package and then the operator do: user, program, unit and configuration.
func (l *lab) install() error {
	unit, err := os.ReadFile("../../systemd/lnsd.service")
	if err != nil {
		return err
	}
	// As it is written in the unit's head.
	l.run("useradd --system --home-dir /var/lib/culvert --shell /usr/sbin/nologin culvert && install -d -m 0750 -g culvert /etc/culvert")
	l.run("install -m 0755 %s/lnsd %[1]s/lnsctl /usr/bin/", l.bin)
	for name, text := range map[string]string{"/etc/systemd/system/lnsd.service": string(unit), "/etc/culvert/lnsd.yaml": config} {
		if err := l.Put(name, text, 0o644); err != nil {
			return err
		}
	}
	l.run("(setsid %s/lacsim radius --json %s/radius.json </dev/null >%[2]s/radius.log 2>&1 & echo $! >%[2]s/radius.pid); systemctl daemon-reload", l.bin, dir)
	return nil
}

// state is what systemd says of the service, with what the kernel says of its sockets.
type state struct {
	Active string
	// PID is the process's.
	PID int
	// Stored is how many descriptors systemd keeps.
	Stored int
	// Sockets are the inodes of the UDP sockets of port 1701 here.
	Sockets []string
}

func (l *lab) state() (s state, err error) {
	out, err := l.Run(20*time.Second, "systemctl show lnsd -p ActiveState,MainPID,NFileDescriptorStore; awk '$2 ~ /:06A5$/ { print \"socket=\" $10 }' /proc/net/udp")
	if err != nil {
		return s, err
	}
	for _, line := range strings.Fields(out) {
		key, v, _ := strings.Cut(line, "=")
		switch key {
		case "ActiveState":
			s.Active = v
		case "MainPID":
			s.PID, err = strconv.Atoi(v)
		case "NFileDescriptorStore":
			s.Stored, err = strconv.Atoi(v)
		case "socket":
			s.Sockets = append(s.Sockets, v)
		}
		if err != nil {
			return s, fmt.Errorf("systemctl show: %q: %w", out, err)
		}
	}
	slices.Sort(s.Sockets)
	return s, nil
}

// serves waits until another process than pid serves.
func (l *lab) serves(pid int) (s state, err error) {
	err = l.until(60*time.Second, func() error {
		var err error
		if s, err = l.state(); err != nil {
			return err
		}
		if s.Active != "active" || s.PID == pid || s.PID == 0 {
			return fmt.Errorf("the service is %+v", s)
		}
		_, err = l.Run(20*time.Second, "lnsctl status")
		return err
	})
	if err != nil {
		text, _ := l.Run(20*time.Second, "journalctl -u lnsd -n 20 --no-pager")
		err = fmt.Errorf("%w\n%s", err, text)
	}
	return s, err
}

// sessions are all that are up, each with everything by which it is known to anybody.
func (l *lab) sessions() ([]string, error) {
	out, err := l.Run(30*time.Second, "lnsctl -o json session list --state up >"+dir+"/sessions.json")
	if err == nil {
		out, err = l.Get(dir + "/sessions.json")
	}
	if err != nil {
		return nil, err
	}
	var list []struct {
		ID, User, Address, Peer string
		Since                   time.Time
		TunnelID                uint32 `json:"tunnel_id"`
		SessionID               uint32 `json:"session_id"`
		PeerTunnelID            uint32 `json:"peer_tunnel_id"`
		PeerSessionID           uint32 `json:"peer_session_id"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("%w: %.200s", err, out)
	}
	var words []string
	for _, s := range list {
		s.Since = s.Since.Truncate(time.Microsecond) // as records have it
		words = append(words, fmt.Sprintf("%+v", s))
	}
	slices.Sort(words)
	return words, nil
}

// refused is how many packets the LACs' host was told of that nobody takes: ICMP destination unreachable.
func (l *lab) refused() (int, error) {
	out, err := l.Run(20*time.Second, `ip netns exec lac awk '/^Icmp:/ { if (!n) { for (i = 2; i <= NF; i++) if ($i == "InDestUnreachs") n = i } else print $n }' /proc/net/snmp`)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(out))
}
