package main

import (
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	culvertv1 "culvert/proto/culvert/v1"
)

// lacFlags are the fields of a LAC profile; nil ones were not given.
type lacFlags struct {
	Prefix                 []string       `placeholder:"CIDR" help:"A source network or address that it matches; may be repeated."`
	HostName               []string       `placeholder:"NAME" help:"A Host Name AVP that it matches; may be repeated."`
	SecretFile             *string        `placeholder:"FILE" help:"File with the tunnel secret, \"-\" for standard input. One newline at its end is dropped."`
	LocalName              *string        `placeholder:"NAME" help:"The Host Name that the node sends."`
	Window                 *uint32        `placeholder:"N" help:"Receive window to offer, 1 to 1024 messages."`
	Hello                  *time.Duration `placeholder:"TIME" help:"Silence before a HELLO, 1s to 1h; 0 sends none."`
	MRU                    *uint32        `name:"mru" placeholder:"N" help:"MRU to offer, 576 to 1500 octets."`
	Auth                   []string       `enum:"pap,chap,mschapv2,eap" help:"Authentication to ask for: pap, chap, mschapv2, eap; may be repeated, the first one first."`
	Proxy                  string         `enum:"accept,on-mismatch,strict,always," default:"" help:"LCP and authentication that the LAC has done: accept also an MRU or compression that is not ours, on-mismatch does anew what does not fit, strict ends the call then, always does all anew."`
	EchoInterval           *time.Duration `placeholder:"TIME" help:"Time between LCP echoes, at least 1s; 0 sends none."`
	EchoFailures           *uint32        `placeholder:"N" help:"Unanswered LCP echoes that end a session."`
	BusyResult             *uint32        `placeholder:"N" help:"CDN result code when a call cannot be taken, 1 to 11; 2 tells the LAC to try another LNS."`
	AcceptUnknownMandatory *bool          `negatable:"" help:"Take unknown mandatory AVPs of other vendors as if they were optional."`
	FloatPeer              *bool          `negatable:"" help:"Let the LAC's address and port change while a tunnel lives."`
	LACAddress             *string        `name:"lac-address" placeholder:"ADDRESS[:PORT]" help:"Where the LAC listens, for tunnels that an outgoing call opens; empty opens none."`
	PoolByGroup            *bool          `negatable:"" help:"Take a call's address from the pool that its Private Group ID names, where RADIUS names none."`
	HideAVPs               *bool          `name:"hide-avps" negatable:"" help:"Hide AVPs in what the node sends; needs a secret."`
	LinePattern            *string        `placeholder:"REGEXP" help:"What of the Calling Number is the line's name, for the NAS-Port-Id: its first group, or all of it."`
	IgnoreDF               *bool          `name:"ignore-df" negatable:"" help:"Fragment packets that are too large for a subscriber even where their sender forbids it."`
	Failover               *string        `enum:"auto,always,never" placeholder:"WHEN" help:"Recover tunnels by RFC 4951 after a failure of the node where the LAC offers it and sequence numbers may have drifted (auto), always, or never."`
	RecoveryTime           *time.Duration `placeholder:"TIME" help:"How long the LAC is asked to wait for that, up to 10m."`
	Sequencing             *string        `enum:"required,negotiation,always" placeholder:"WHEN" help:"Number data messages where the LAC wants it (required), until PPP is up (negotiation), or always."`
	ReorderPackets         *uint32        `placeholder:"N" help:"For how many data messages a missing one is waited for, up to 256; 0 waits for none."`
	ReorderTime            *time.Duration `placeholder:"TIME" help:"For how long at most a missing data message is waited for, 1ms to 1s."`
	lacIPsecFlags
	MaxTunnels  *uint32 `placeholder:"N" help:"Most tunnels; 0 is no bound."`
	MaxSessions *uint32 `placeholder:"N" help:"Most sessions; 0 is no bound."`
}

// proto gives the profile and the names of the fields that were given.
func (f *lacFlags) proto(a *app) (l *culvertv1.LAC, mask []string, err error) {
	l = &culvertv1.LAC{
		Prefixes: f.Prefix, HostNames: f.HostName, Window: f.Window, Mru: f.MRU,
		EchoFailures: f.EchoFailures, BusyResult: f.BusyResult,
		Hello: duration(f.Hello), EchoInterval: duration(f.EchoInterval),
		LocalName: value(f.LocalName), AcceptUnknownMandatory: value(f.AcceptUnknownMandatory),
		FloatPeer: value(f.FloatPeer), HideAvps: value(f.HideAVPs), PoolByGroup: value(f.PoolByGroup), Address: value(f.LACAddress),
		LinePattern: value(f.LinePattern), IgnoreDf: value(f.IgnoreDF),
		ReorderPackets: value(f.ReorderPackets), ReorderTime: duration(f.ReorderTime),
		Failover:     culvertv1.FailoverMode(culvertv1.FailoverMode_value["FAILOVER_MODE_"+strings.ToUpper(value(f.Failover))]),
		RecoveryTime: duration(f.RecoveryTime),
		Sequencing:   culvertv1.DataSequencing(culvertv1.DataSequencing_value["DATA_SEQUENCING_"+strings.ToUpper(value(f.Sequencing))]),
		MaxTunnels:   value(f.MaxTunnels), MaxSessions: value(f.MaxSessions),
	}
	for _, m := range f.Auth {
		l.Auth = append(l.Auth, culvertv1.AuthMethod(culvertv1.AuthMethod_value["AUTH_METHOD_"+strings.ToUpper(m)]))
	}
	if f.Proxy != "" {
		l.Proxy = culvertv1.ProxyPolicy(culvertv1.ProxyPolicy_value["PROXY_POLICY_"+strings.ToUpper(strings.ReplaceAll(f.Proxy, "-", "_"))])
	}
	if f.SecretFile != nil {
		if l.Secret, err = a.readSecret(*f.SecretFile); err != nil {
			return nil, nil, err
		}
	}
	mask = f.given()
	more, err := f.ipsec(a, l)
	if err != nil {
		return nil, nil, err
	}
	return l, append(mask, more...), nil
}

func (f *lacFlags) given() (mask []string) {
	for _, x := range []struct {
		name  string
		given bool
	}{
		{"prefixes", f.Prefix != nil}, {"host_names", f.HostName != nil}, {"secret", f.SecretFile != nil},
		{"local_name", f.LocalName != nil}, {"window", f.Window != nil}, {"hello", f.Hello != nil},
		{"mru", f.MRU != nil}, {"auth", f.Auth != nil}, {"proxy", f.Proxy != ""}, {"echo_interval", f.EchoInterval != nil},
		{"echo_failures", f.EchoFailures != nil}, {"busy_result", f.BusyResult != nil},
		{"accept_unknown_mandatory", f.AcceptUnknownMandatory != nil}, {"float_peer", f.FloatPeer != nil},
		{"address", f.LACAddress != nil}, {"pool_by_group", f.PoolByGroup != nil}, {"hide_avps", f.HideAVPs != nil}, {"sequencing", f.Sequencing != nil},
		{"line_pattern", f.LinePattern != nil}, {"ignore_df", f.IgnoreDF != nil},
		{"reorder_packets", f.ReorderPackets != nil}, {"reorder_time", f.ReorderTime != nil},
		{"failover", f.Failover != nil}, {"recovery_time", f.RecoveryTime != nil},
		{"max_tunnels", f.MaxTunnels != nil}, {"max_sessions", f.MaxSessions != nil},
	} {
		if x.given {
			mask = append(mask, x.name)
		}
	}
	return mask
}

// readSecret reads from a file, so that no secret is seen in the process list.
func (a *app) readSecret(file string) (string, error) {
	var b []byte
	var err error
	if file == "-" {
		b, err = io.ReadAll(io.LimitReader(a.in, 64<<10))
	} else {
		b, err = os.ReadFile(file)
	}
	if err != nil {
		return "", usagef("--secret-file: %v", err)
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if secret == "" {
		return "", usagef("--secret-file: %s is empty; \"lac change NAME --reset secret\" takes a secret away", file)
	}
	return secret, nil
}

func duration(d *time.Duration) *durationpb.Duration {
	if d == nil {
		return nil
	}
	return durationpb.New(*d)
}

// value is what p points to, or zero.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
