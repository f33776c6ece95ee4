package main

import (
	_ "embed"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"culvert/aaa/radius"
	"culvert/aaa/radius/radtest"
)

//go:embed lab.yaml
var labFile []byte

// labFlags make a configuration for a lab, instead of a file.
type labFlags struct {
	Lab       bool           `help:"Serve a lab on built-in defaults, with a RADIUS responder inside; needs no file. Never for subscribers."`
	LabDir    string         `default:"/tmp/culvert-lab" help:"Folder of the lab's journal and socket."`
	LabListen netip.AddrPort `default:"127.0.0.1:1701" help:"Address that the lab's LACs call."`
	LabHTTP   string         `default:"127.0.0.1:9107" help:"Address of the lab's metrics."`
	LabPlane  string         `enum:"auto,userspace,memory" default:"auto" help:"The lab's data plane: userspace needs the right to make a TUN device; auto takes what it can (${enum})."`
}

// load makes the lab's settings.
func (l *labFlags) load() (*settings, error) {
	dir, err := filepath.Abs(l.LabDir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("lab folder: %w; name another with --lab-dir", err)
	}
	src, err := decode("the built-in lab.yaml", labFile)
	if err != nil {
		return nil, err
	}
	c := &src.cfg
	c.L2TP.Listen = []text[netip.AddrPort]{{V: l.LabListen}}
	c.Journal.Dir = filepath.Join(dir, "journal")
	c.API.Socket, c.API.HTTP = filepath.Join(dir, "lnsd.sock"), l.LabHTTP
	c.Plane.Mode = l.LabPlane
	if l.LabPlane == "auto" {
		c.Plane.Mode = "memory"
		if mayMakeTUN() {
			c.Plane.Mode = "userspace"
		}
	}
	return build(src)
}

// mayMakeTUN says whether it is worth trying: the device is there and so is CAP_NET_ADMIN.
func mayMakeTUN() bool {
	if unix.Access("/dev/net/tun", unix.R_OK|unix.W_OK) != nil {
		return false
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_NET_ADMIN) != 0
}

// lab is the built-in RADIUS responder.
type lab struct {
	server *radtest.Server
	secret []byte
}

func startLab(password string) (*lab, error) {
	secret := []byte("lab")
	s, err := radtest.New(radtest.Config{Secret: secret, AnyPassword: password})
	return &lab{s, secret}, err
}

// use points a RADIUS client at the lab.
func (l *lab) use(c *radius.Config) {
	server := func(a netip.AddrPort) radius.Group {
		return radius.Group{Servers: []radius.Server{{Name: "lab", Address: a, Secret: l.secret}}}
	}
	c.Auth, c.Acct = server(l.server.AuthAddr()), server(l.server.AcctAddr())
}

// summary is what the responder has seen, as keys of a log line.
func (l *lab) summary() []any {
	c := l.server.Counts()
	return []any{
		"accepts", c.Accepts, "rejects", c.Rejects, "sessions", c.Sessions, "starts", c.Starts, "stops", c.Stops, "open", c.Open,
		"twice", c.DuplicateStarts + c.DuplicateStops, "out_of_order", c.StopsWithoutStart + c.RecordsAfterStop,
	}
}
