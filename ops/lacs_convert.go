package ops

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"culvert/lns"
	culvertv1 "culvert/proto/culvert/v1"
	"culvert/proto/l2tp"
)

// authNames are the names that lns has for the methods, and their numbers.
var authNames = map[string]culvertv1.AuthMethod{
	"pap":      culvertv1.AuthMethod_AUTH_METHOD_PAP,
	"chap":     culvertv1.AuthMethod_AUTH_METHOD_CHAP,
	"mschapv2": culvertv1.AuthMethod_AUTH_METHOD_MSCHAPV2,
	"eap":      culvertv1.AuthMethod_AUTH_METHOD_EAP,
}

// proxyNames are the names that lns has for the proxy policies, and their numbers.
var proxyNames = map[string]culvertv1.ProxyPolicy{
	"on-mismatch": culvertv1.ProxyPolicy_PROXY_POLICY_ON_MISMATCH,
	"accept":      culvertv1.ProxyPolicy_PROXY_POLICY_ACCEPT,
	"strict":      culvertv1.ProxyPolicy_PROXY_POLICY_STRICT,
	"always":      culvertv1.ProxyPolicy_PROXY_POLICY_ALWAYS,
}

// failoverModes are the names that lns has for how tunnels live on.
var failoverModes = map[string]culvertv1.FailoverMode{
	"":                 culvertv1.FailoverMode_FAILOVER_MODE_AUTO,
	lns.FailoverAuto:   culvertv1.FailoverMode_FAILOVER_MODE_AUTO,
	lns.FailoverAlways: culvertv1.FailoverMode_FAILOVER_MODE_ALWAYS,
	lns.FailoverNever:  culvertv1.FailoverMode_FAILOVER_MODE_NEVER,
}

// sequencings are the names that lns has for when data messages are numbered.
var sequencings = map[string]culvertv1.DataSequencing{
	"":                        culvertv1.DataSequencing_DATA_SEQUENCING_REQUIRED,
	lns.SequencingRequired:    culvertv1.DataSequencing_DATA_SEQUENCING_REQUIRED,
	lns.SequencingNegotiation: culvertv1.DataSequencing_DATA_SEQUENCING_NEGOTIATION,
	lns.SequencingAlways:      culvertv1.DataSequencing_DATA_SEQUENCING_ALWAYS,
}

// lacProto is a profile without its secret.
func lacProto(p *lns.LACProfile) *culvertv1.LAC {
	window, mru := uint32(p.Window), uint32(p.MRU)
	failures, busy := uint32(p.EchoFailures), uint32(p.BusyResult)
	l := &culvertv1.LAC{
		Name: p.Name, HostNames: p.HostNames, HasSecret: p.Secret != "", LocalName: p.LocalName,
		Window: &window, Hello: durationpb.New(p.Hello), Mru: &mru,
		EchoInterval: durationpb.New(p.EchoInterval), EchoFailures: &failures, BusyResult: &busy,
		AcceptUnknownMandatory: p.AcceptUnknownMandatory, FloatPeer: p.FloatPeer,
		MaxTunnels: uint32(p.MaxTunnels), MaxSessions: uint32(p.MaxSessions),
		Proxy:    proxyNames[cmp.Or(p.Proxy, lacDefaults.Proxy)],
		Failover: failoverModes[p.Failover], RecoveryTime: durationpb.New(p.RecoveryTime),
		Address: addrPort(p.Address), PoolByGroup: p.PoolByGroup, HideAvps: p.HideAVPs, Sequencing: sequencings[p.Sequencing],
		LinePattern: p.LinePattern, IgnoreDf: p.IgnoreDF,
		ReorderPackets: uint32(p.ReorderPackets), ReorderTime: durationpb.New(p.ReorderTime),
	}
	l.Ipsec = ipsecProto(p.IPsec)
	for _, x := range p.Prefixes {
		l.Prefixes = append(l.Prefixes, x.String())
	}
	for _, a := range p.Auth {
		l.Auth = append(l.Auth, authNames[a])
	}
	return l
}

// lacField puts one field of the message into a profile. A field that is
// not set gives the default's value. Ranges are checked by LACProfile.Validate; here is checked
// only what a profile could not hold.
type lacField struct {
	name string
	set  func(p *lns.LACProfile, l *culvertv1.LAC) error
}

var lacDefaults = lns.DefaultLACProfile()

// lacFields has every field of LAC that a client may set, but its name.
var lacFields = []lacField{
	{"prefixes", setPrefixes},
	{"host_names", func(p *lns.LACProfile, l *culvertv1.LAC) error {
		p.HostNames = slices.Clone(l.GetHostNames())
		return nil
	}},
	{"secret", func(p *lns.LACProfile, l *culvertv1.LAC) error { p.Secret = l.GetSecret(); return nil }},
	{"local_name", func(p *lns.LACProfile, l *culvertv1.LAC) error { p.LocalName = l.GetLocalName(); return nil }},
	{"window", func(p *lns.LACProfile, l *culvertv1.LAC) error {
		return setUint16("lac.window", &p.Window, l.Window, lacDefaults.Window)
	}},
	{"hello", func(p *lns.LACProfile, l *culvertv1.LAC) error {
		return setDuration("lac.hello", &p.Hello, l.GetHello(), lacDefaults.Hello)
	}},
	{"mru", func(p *lns.LACProfile, l *culvertv1.LAC) error {
		return setUint16("lac.mru", &p.MRU, l.Mru, lacDefaults.MRU)
	}},
	{"auth", setAuth},
	{"proxy", setProxy},
	{"echo_interval", func(p *lns.LACProfile, l *culvertv1.LAC) error {
		return setDuration("lac.echo_interval", &p.EchoInterval, l.GetEchoInterval(), lacDefaults.EchoInterval)
	}},
	{"echo_failures", setEchoFailures},
	{"busy_result", func(p *lns.LACProfile, l *culvertv1.LAC) error {
		v := uint16(p.BusyResult)
		err := setUint16("lac.busy_result", &v, l.BusyResult, uint16(lacDefaults.BusyResult))
		p.BusyResult = l2tp.ResultCode(v)
		return err
	}},
	{"accept_unknown_mandatory", func(p *lns.LACProfile, l *culvertv1.LAC) error {
		p.AcceptUnknownMandatory = l.GetAcceptUnknownMandatory()
		return nil
	}},
	{"float_peer", func(p *lns.LACProfile, l *culvertv1.LAC) error { p.FloatPeer = l.GetFloatPeer(); return nil }},
	{"address", setAddress},
	{"pool_by_group", func(p *lns.LACProfile, l *culvertv1.LAC) error { p.PoolByGroup = l.GetPoolByGroup(); return nil }},
	{"hide_avps", func(p *lns.LACProfile, l *culvertv1.LAC) error { p.HideAVPs = l.GetHideAvps(); return nil }},
	{"line_pattern", func(p *lns.LACProfile, l *culvertv1.LAC) error { p.LinePattern = l.GetLinePattern(); return nil }},
	{"ignore_df", func(p *lns.LACProfile, l *culvertv1.LAC) error { p.IgnoreDF = l.GetIgnoreDf(); return nil }},
	{"failover", setFailover},
	{"recovery_time", func(p *lns.LACProfile, l *culvertv1.LAC) error {
		return setDuration("lac.recovery_time", &p.RecoveryTime, l.GetRecoveryTime(), lacDefaults.RecoveryTime)
	}},
	{"sequencing", setSequencing},
	{"reorder_packets", func(p *lns.LACProfile, l *culvertv1.LAC) error {
		return setBound("lac.reorder_packets", &p.ReorderPackets, l.GetReorderPackets())
	}},
	{"reorder_time", func(p *lns.LACProfile, l *culvertv1.LAC) error {
		return setDuration("lac.reorder_time", &p.ReorderTime, l.GetReorderTime(), lacDefaults.ReorderTime)
	}},
	{"ipsec", setIPsec},
	{"max_tunnels", func(p *lns.LACProfile, l *culvertv1.LAC) error {
		return setBound("lac.max_tunnels", &p.MaxTunnels, l.GetMaxTunnels())
	}},
	{"max_sessions", func(p *lns.LACProfile, l *culvertv1.LAC) error {
		return setBound("lac.max_sessions", &p.MaxSessions, l.GetMaxSessions())
	}},
}

func setPrefixes(p *lns.LACProfile, l *culvertv1.LAC) error {
	p.Prefixes = nil
	for i, s := range l.GetPrefixes() {
		x, err := netip.ParsePrefix(s)
		if a, e := netip.ParseAddr(s); err != nil && e == nil {
			x, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil {
			return invalid("lac.prefixes[%d]: %q is neither a network such as 192.0.2.0/24 nor an address", i, s)
		}
		p.Prefixes = append(p.Prefixes, x)
	}
	return nil
}

func setAuth(p *lns.LACProfile, l *culvertv1.LAC) error {
	p.Auth = nil
	for i, m := range l.GetAuth() {
		name := ""
		for n, v := range authNames {
			if v == m {
				name = n
			}
		}
		if name == "" {
			return invalid("lac.auth[%d]: %v is none of PAP, CHAP, MSCHAPV2, EAP", i, m)
		}
		if slices.Contains(p.Auth, name) {
			return invalid("lac.auth[%d]: %s is there twice", i, name)
		}
		p.Auth = append(p.Auth, name)
	}
	if len(p.Auth) == 0 {
		p.Auth = slices.Clone(lacDefaults.Auth)
	}
	return nil
}

func setProxy(p *lns.LACProfile, l *culvertv1.LAC) error {
	p.Proxy = lacDefaults.Proxy
	if l.GetProxy() == culvertv1.ProxyPolicy_PROXY_POLICY_UNSPECIFIED {
		return nil
	}
	for name, v := range proxyNames {
		if v == l.GetProxy() {
			p.Proxy = name
			return nil
		}
	}
	return invalid("lac.proxy: %v is none of ACCEPT, ON_MISMATCH, STRICT, ALWAYS", l.GetProxy())
}

// setAddress takes an address without a port for one with L2TP's.
func setAddress(p *lns.LACProfile, l *culvertv1.LAC) error {
	p.Address = netip.AddrPort{}
	s := l.GetAddress()
	if s == "" {
		return nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		p.Address = netip.AddrPortFrom(a, l2tp.Port)
		return nil
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return invalid("lac.address: %q is no address and port such as 198.51.100.7:1701", s)
	}
	p.Address = a
	return nil
}

func setSequencing(p *lns.LACProfile, l *culvertv1.LAC) error {
	p.Sequencing = lacDefaults.Sequencing
	if l.GetSequencing() == culvertv1.DataSequencing_DATA_SEQUENCING_UNSPECIFIED {
		return nil
	}
	for name, v := range sequencings {
		if v == l.GetSequencing() && name != "" {
			p.Sequencing = name
			return nil
		}
	}
	return invalid("lac.sequencing: %v is none of REQUIRED, NEGOTIATION, ALWAYS", l.GetSequencing())
}

func setFailover(p *lns.LACProfile, l *culvertv1.LAC) error {
	p.Failover = lacDefaults.Failover
	if l.GetFailover() == culvertv1.FailoverMode_FAILOVER_MODE_UNSPECIFIED {
		return nil
	}
	for name, v := range failoverModes {
		if v == l.GetFailover() && name != "" {
			p.Failover = name
			return nil
		}
	}
	return invalid("lac.failover: %v is none of AUTO, ALWAYS, NEVER", l.GetFailover())
}

func setEchoFailures(p *lns.LACProfile, l *culvertv1.LAC) error {
	p.EchoFailures = lacDefaults.EchoFailures
	if l.EchoFailures == nil {
		return nil
	}
	return setBound("lac.echo_failures", &p.EchoFailures, l.GetEchoFailures())
}

func setUint16(field string, to *uint16, v *uint32, otherwise uint16) error {
	if v == nil {
		*to = otherwise
		return nil
	}
	if *v > math.MaxUint16 {
		return invalid("%s: %d is too large", field, *v)
	}
	*to = uint16(*v)
	return nil
}

func setBound(field string, to *int, v uint32) error {
	if v > math.MaxInt32 {
		return invalid("%s: %d is too large", field, v)
	}
	*to = int(v)
	return nil
}

func setDuration(field string, to *time.Duration, v *durationpb.Duration, otherwise time.Duration) error {
	if v == nil {
		*to = otherwise
		return nil
	}
	if err := v.CheckValid(); err != nil || v.AsDuration() < 0 {
		return invalid("%s: a time from 0s on is wanted", field)
	}
	*to = v.AsDuration()
	return nil
}
