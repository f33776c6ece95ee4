package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"culvert/lac/probe"
	"culvert/lac/subscriber"
	"culvert/proto/ppp"
)

// plan is what a run does, checked and in the form the workers want. They share
// it and do not change it.
type plan struct {
	opt      runCmd
	lns      []netip.AddrPort
	sources  []netip.AddrPort
	auth     []ppp.Auth
	client   subscriber.Config
	user     template
	password template
	hostName template
	calling  template
	traffic  traffic
}

// traffic is the packets that each session sends.
type traffic struct {
	on       bool
	spec     probe.Spec
	target   netip.Addr // invalid: the LNS's address in IPCP
	sessions bool       // each session sends to the next
	packets  int        // 0: no end
	interval time.Duration
	wait     time.Duration
}

const (
	l2tpPort   = 1701
	maxSources = 4096
	udpPort    = 4000 // what sessions send to each other from and to
)

func (o *runCmd) plan() (*plan, error) {
	p := &plan{opt: *o}
	var errs []error
	check := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	check(o.checkNumbers())
	check(p.parseAddresses())
	check(p.parseTemplates())
	check(p.parseTraffic())
	p.auth = authMethods(o.Auth)
	p.client = subscriber.DefaultConfig()
	p.client.Auth, p.client.MRU, p.client.DNS, p.client.Compress = p.auth, o.MRU, !o.NoDNS, o.Compress
	p.client.EAP = eapMethods(o.Auth)
	if o.Proxy == "auth" && (o.Auth == "mschapv2" || o.Auth == "none" || p.auth[0] == ppp.AuthEAP) {
		check(fmt.Errorf("--proxy auth: --auth %s cannot be proxied; use pap, chap or any", o.Auth))
	}
	if o.ProxyFault != "none" && o.Proxy == "none" {
		check(fmt.Errorf("--proxy-fault %s: there are no proxy AVPs to be wrong; give --proxy lcp or auth", o.ProxyFault))
	}
	return p, errors.Join(errs...)
}

func (o *runCmd) checkNumbers() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(o.SpeedEvery < 0 || o.ErrorsEvery < 0, "--speed-every and --errors-every: a time cannot be negative")
	bad(o.SpeedEvery > 0 && o.TxSpeed < 10, "--speed-every: --tx-speed %d leaves no slower speed to tell of", o.TxSpeed)
	bad(o.LACs < 1 || o.LACs > 65535*max(o.Workers, 1), "--lacs %d: want 1 to 65535 for each worker", o.LACs)
	bad(o.Sessions < 1 || o.Sessions > 65535, "--sessions %d: want 1 to 65535", o.Sessions)
	bad(o.LACs*o.Sessions > 1<<24, "%d sessions in all: want at most %d", o.LACs*o.Sessions, 1<<24)
	bad(o.InFlight < 1, "--in-flight %d: want 1 or more", o.InFlight)
	bad(o.Rate < 0, "--rate %v: want 0 or more", o.Rate)
	bad(o.Workers < 1 || o.Workers > 64 || o.Workers > o.LACs, "--workers %d: want 1 to 64 and no more than tunnels", o.Workers)
	bad(o.SourcePort < 1, "--source-ports %d: want 1 or more", o.SourcePort)
	bad(o.MRU != 0 && (o.MRU < 128 || o.MRU > 1500), "--mru %d: want 128 to 1500, or 0", o.MRU)
	bad(o.Window < 1, "--window: want 1 or more")
	bad(o.SetupTimeout <= 0 || o.Wait <= 0 || o.Interval <= 0, "--setup-timeout, --wait and --interval: want more than 0")
	bad(o.Hold < 0 || o.Duration < 0 || o.RedialDelay < 0 || o.Hello < 0 || o.LineDelay < 0, "a time cannot be negative")
	bad(o.Recovery < 0 || o.Recovery > time.Hour, "--recovery-time %v: want 0 to 1h", o.Recovery)
	bad(o.Redial && o.Duration == 0 && !o.Stay, "--redial has no end: give --duration or --stay too")
	bad(o.Hold > 0 && o.Stay, "--hold and --stay contradict each other")
	return errors.Join(errs...)
}

func (p *plan) parseAddresses() error {
	for _, s := range p.opt.LNS {
		a, err := parseAddrPort(s, l2tpPort)
		if err != nil {
			return fmt.Errorf("--lns %s: %w", s, err)
		}
		p.lns = append(p.lns, a)
	}
	ports := max(p.opt.SourcePort, p.opt.Workers) // each worker needs sockets of its own
	for _, s := range p.opt.Source {
		list, err := parseSource(s, ports)
		if err != nil {
			return fmt.Errorf("--source %s: %w", s, err)
		}
		p.sources = append(p.sources, list...)
	}
	if len(p.sources) == 0 {
		p.sources = repeat(netip.AddrPortFrom(unspecified(p.lns[0].Addr()), 0), ports)
	}
	if len(p.sources) < p.opt.Workers {
		return fmt.Errorf("%d sources for %d workers: each worker needs one of its own", len(p.sources), p.opt.Workers)
	}
	if len(p.sources) > maxSources {
		return fmt.Errorf("%d sources: want at most %d", len(p.sources), maxSources)
	}
	for _, a := range append(p.sources[1:], p.lns...) {
		if a.Addr().Is4() != p.sources[0].Addr().Is4() {
			return errors.New("--lns and --source: mixing IPv4 and IPv6 is not possible in one run")
		}
	}
	return nil
}

func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func repeat(a netip.AddrPort, n int) []netip.AddrPort {
	list := make([]netip.AddrPort, n)
	for i := range list {
		list[i] = a
	}
	return list
}

// parseSource reads "addr", "addr:port" or "prefix"; what has no port stands
// for so many sockets.
func parseSource(s string, ports int) ([]netip.AddrPort, error) {
	if prefix, err := netip.ParsePrefix(s); err == nil {
		var list []netip.AddrPort
		for a := prefix.Masked().Addr(); prefix.Contains(a); a = a.Next() {
			list = append(list, repeat(netip.AddrPortFrom(a, 0), ports)...)
			if len(list) > maxSources {
				return nil, fmt.Errorf("more than %d sockets", maxSources)
			}
		}
		return hosts(prefix, list, ports), nil
	}
	a, err := parseAddrPort(s, 0)
	if err != nil || a.Port() != 0 {
		return []netip.AddrPort{a}, err
	}
	return repeat(a, ports), nil
}

// hosts leaves the network's and the broadcast address out of an IPv4 prefix that has them.
func hosts(prefix netip.Prefix, list []netip.AddrPort, ports int) []netip.AddrPort {
	if prefix.Addr().Is4() && prefix.Bits() < 31 {
		return list[ports : len(list)-ports]
	}
	return list
}

// parseAddrPort reads an address with or without a port.
func parseAddrPort(s string, port uint16) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return netip.AddrPortFrom(a, port), nil
	}
	if a, err := netip.ParseAddrPort(s); err == nil {
		return a, nil
	}
	host, service, err := net.SplitHostPort(s)
	if err != nil {
		host, service = s, strconv.Itoa(int(port))
	}
	a, err := net.ResolveUDPAddr("udp", net.JoinHostPort(host, service))
	if err != nil {
		return netip.AddrPort{}, errors.New("want an address or host name, with or without :port")
	}
	r := a.AddrPort()
	return netip.AddrPortFrom(r.Addr().Unmap(), r.Port()), nil
}

func (p *plan) parseTemplates() (err error) {
	for _, t := range []struct {
		flag, text string
		to         *template
	}{
		{"--user", p.opt.User, &p.user}, {"--password", p.opt.Password, &p.password},
		{"--host-name", p.opt.HostName, &p.hostName}, {"--calling-number", p.opt.Calling, &p.calling},
	} {
		if *t.to, err = parseTemplate(t.text); err != nil {
			return fmt.Errorf("%s: %w", t.flag, err)
		}
		if len(t.text) > 200 {
			return fmt.Errorf("%s: %d characters: want at most 200", t.flag, len(t.text))
		}
	}
	return nil
}

func authMethods(name string) []ppp.Auth {
	switch name {
	case "pap":
		return []ppp.Auth{ppp.AuthPAP}
	case "chap":
		return []ppp.Auth{ppp.AuthCHAP}
	case "mschapv2":
		return []ppp.Auth{ppp.AuthMSCHAPv2}
	case "eap", "eap-md5", "eap-mschapv2":
		return []ppp.Auth{ppp.AuthEAP}
	case "any":
		return []ppp.Auth{ppp.AuthCHAP, ppp.AuthMSCHAPv2, ppp.AuthPAP}
	}
	return nil
}

// eapMethods are the methods of EAP that subscribers agree to; none is all that they know.
func eapMethods(name string) []ppp.EAPType {
	switch name {
	case "eap-md5":
		return []ppp.EAPType{ppp.EAPMD5}
	case "eap-mschapv2":
		return []ppp.EAPType{ppp.EAPMSCHAPv2}
	}
	return nil
}

func (p *plan) parseTraffic() error {
	o := &p.opt
	if o.Traffic == "none" {
		return nil
	}
	t := traffic{on: true, packets: o.Packets, wait: o.Wait}
	t.spec = probe.Spec{Kind: probe.Ping, Size: o.Size, Run: uint32(o.Seed), Port: udpPort, LocalPort: udpPort}
	if o.Size < probe.MinSize || o.Size > probe.MaxSize {
		return fmt.Errorf("--size %d: want %d to %d", o.Size, probe.MinSize, probe.MaxSize)
	}
	if o.PacketRate <= 0 || o.PacketRate > 100000 || o.Packets < 0 {
		return fmt.Errorf("--packet-rate %v and --packets %d: want more than 0 and up to 100000 in a second, and 0 or more packets", o.PacketRate, o.Packets)
	}
	if o.Packets == 0 && o.Hold == 0 && o.Duration == 0 && !o.Stay {
		return errors.New("--packets 0 has no end: give --hold, --duration or --stay too")
	}
	t.interval = time.Duration(float64(time.Second) / o.PacketRate)
	if err := t.parseTarget(o); err != nil {
		return err
	}
	p.traffic = t
	return nil
}

func (t *traffic) parseTarget(o *runCmd) error {
	if o.Traffic == "udp" {
		t.spec.Kind = probe.UDP
	}
	switch {
	case o.Target == "sessions" || o.Target == "" && o.Traffic == "udp":
		t.sessions = true
		if o.Traffic == "ping" {
			return errors.New("--target sessions: want --traffic udp, for subscribers here do not answer pings")
		}
		return nil
	case o.Target == "peer" || o.Target == "":
		return nil
	}
	a, err := parseAddrPort(o.Target, 7)
	if err != nil || !a.Addr().Is4() {
		return fmt.Errorf("--target %s: want an IPv4 address, with or without :port, 'peer' or 'sessions'", o.Target)
	}
	t.target, t.spec.Port = a.Addr(), a.Port()
	return nil
}
