package systemd

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestService installs lnsd as its unit's head says, and has systemd restart it in every way with sessions up and traffic in
// them. Each time the sessions stay the same to the last id, the sockets are the same sockets, no packet
// is refused, and none is lost but what a process that is killed had in its hands; neither lacsim nor xl2tpd nor pppd notices. Without a file descriptor store sessions stay as well,
// but packets are refused, which shows that the test would see it.
func TestService(t *testing.T) {
	l := boot(t)
	must(t, l.install())
	l.run("systemctl start lnsd")
	first, err := l.serves(0)
	must(t, err)
	// Two shards: two sockets, two TUN queues.
	if first.Stored != 4 || len(first.Sockets) != 2 {
		t.Errorf("systemd keeps %d descriptors, and there are %d sockets; want 4 and 2", first.Stored, len(first.Sockets))
	}
	must(t, l.dial())
	must(t, l.begin())
	before, err := l.sessions()
	must(t, err)
	for _, c := range []struct {
		name string
		do   func()
		// killed: what the process had just read, and not given on, is lost with it.
		killed bool
	}{
		{"systemctl restart", func() { l.run("systemctl restart lnsd") }, false},
		{"kill -9", func() { l.run("systemctl kill -s KILL lnsd") }, true},
		{"panic", func() { l.run("systemctl kill -s ABRT lnsd") }, true},
		{"kill -9 twice", func() { l.run("systemctl kill -s KILL lnsd; sleep 0.5; systemctl kill -s KILL lnsd || true") }, true},
		{"upgrade", func() {
			l.run("install -m 0755 %s/next/lnsd /usr/bin/lnsd.new && mv /usr/bin/lnsd.new /usr/bin/lnsd && systemctl restart lnsd", l.bin)
		}, false},
		{"upgrade of systemd", func() { l.run("systemctl daemon-reexec && systemctl restart lnsd") }, false},
		{"restart on a wrong configuration", func() { l.mistake() }, false},
	} {
		ok := t.Run(c.name, func(t *testing.T) {
			outer := l.t
			l.t = t
			defer func() { l.t = outer }()
			was, err := l.state()
			must(t, err)
			began := time.Now()
			c.do()
			l.unnoticed(was, before, began, c.killed)
		})
		if !ok {
			return // what comes next would begin from something else
		}
	}
	must(t, l.noticed())
	t.Run("without a descriptor store", func(t *testing.T) { l.without(t, before) })
	t.Run("end", func(t *testing.T) { l.end(t) })
}

// unnoticed checks that another process serves the same sessions on the same sockets, and that no packet was refused or lost.
func (l *lab) unnoticed(was state, before []string, began time.Time, killed bool) {
	l.t.Helper()
	now, err := l.serves(was.PID)
	must(l.t, err)
	up := time.Since(began)
	after, err := l.sessions()
	must(l.t, err)
	if !slices.Equal(before, after) {
		l.t.Errorf("%d sessions before, %d after, and not the same:\n%s\n%s", len(before), len(after), strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if !slices.Equal(was.Sockets, now.Sockets) || now.Stored != was.Stored {
		l.t.Errorf("the sockets are not the same: %+v, before %+v", now, was)
	}
	c, err := l.answered(killed)
	if err != nil {
		l.t.Fatalf("%v\n%s", err, l.run("ip -s link show culvert0; cat /proc/net/udp; ip netns exec lac grep Udp: /proc/net/snmp; "+
			"lnsctl session list; cat "+dir+"/lacsim.log; busybox wget -qO- http://127.0.0.1:9107/metrics | grep -E 'drop|lost|overrun|fenced|unknown|withheld|invalid|malformed' | grep -v '^#' | grep -v ' 0$'; true"))
	}
	refused, err := l.refused()
	must(l.t, err)
	if refused != 0 || c.Lost > l.lost || c.Tunnels.Failed != 0 || c.Sessions.Ended != 0 {
		l.t.Errorf("%d packets were refused; lacsim: %+v", refused, c)
	}
	l.t.Logf("process %d, then %d, which served %v later; %d sessions before and after; %d packets sent so far, %d of them without an answer, 0 refused",
		was.PID, now.PID, up.Round(100*time.Millisecond), len(after), c.Packets.Sent, c.Packets.Sent-c.Packets.Answered)
}

// mistake restarts lnsd with a configuration that is refused, and mends it some seconds later.
func (l *lab) mistake() {
	l.t.Helper()
	must(l.t, l.Put("/etc/culvert/lnsd.yaml", strings.Replace(config, "hello: 10s", "helo: 10s", 1), 0o644))
	if out, err := l.Run(60*time.Second, "systemctl restart lnsd"); err == nil {
		l.t.Errorf("systemctl restart has not failed: %s", out)
	}
	time.Sleep(3 * time.Second)
	if text := l.run("journalctl -u lnsd --no-pager"); !strings.Contains(text, "helo") || !strings.Contains(text, "lnsd.yaml:4") {
		l.t.Errorf("the log does not say what is wrong:\n%s", text)
	}
	must(l.t, l.Put("/etc/culvert/lnsd.yaml", config, 0o644))
}

// without restarts lnsd where systemd keeps no descriptors.
func (l *lab) without(t *testing.T, before []string) {
	must(t, l.Put("/etc/systemd/system/lnsd.service.d/lab.conf", "[Service]\nFileDescriptorStoreMax=0\n", 0o644))
	l.run("systemctl daemon-reload && systemctl restart lnsd")
	was, err := l.serves(0)
	must(t, err)
	refused, err := l.refused()
	must(t, err)
	l.run("systemctl restart lnsd")
	now, err := l.serves(was.PID)
	must(t, err)
	after, err := l.sessions()
	must(t, err)
	if !slices.Equal(before, after) {
		t.Errorf("%d sessions before, %d after, and not the same", len(before), len(after))
	}
	more, err := l.refused()
	must(t, err)
	if more == refused || slices.Equal(was.Sockets, now.Sockets) || now.Stored != 0 {
		t.Errorf("%d packets were refused; the sockets are %+v, before %+v: the test does not see a difference", more-refused, now, was)
	}
	t.Logf("%d packets were refused", more-refused)
}

// end ends lnsd for good, as the unit's comment says.
func (l *lab) end(t *testing.T) {
	l.run("systemctl kill -s INT lnsd")
	must(t, l.until(60*time.Second, func() error {
		s, err := l.state()
		if err == nil && (s.Active != "inactive" || s.PID != 0 || s.Stored != 0) {
			err = fmt.Errorf("the service is %+v", s)
		}
		return err
	}))
	// Each session had one Start and one Stop, over all lives.
	l.run("kill -INT $(cat %s/radius.pid)", dir)
	var c struct {
		Starts, Stops, StopsWithoutStart, RecordsAfterStop uint64
		Open                                               int
	}
	must(t, l.until(20*time.Second, func() error {
		text, err := l.Get(dir + "/radius.json")
		if err == nil && text == "" {
			err = errors.New("not written yet")
		}
		if err != nil {
			return err
		}
		return json.Unmarshal([]byte(text), &c)
	}))
	if c.Starts != sessions || c.Stops != sessions || c.Open != 0 || c.StopsWithoutStart+c.RecordsAfterStop != 0 {
		t.Errorf("accounting has %+v for %d sessions", c, sessions)
	}
}
