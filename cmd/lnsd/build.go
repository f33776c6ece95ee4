package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"culvert/aaa/ippool"
	"culvert/aaa/radius"
	"culvert/lns"
	"culvert/lns/cluster"
	"culvert/lns/dataplane"
	"culvert/lns/ipsec"
	"culvert/ops"
	"culvert/proto/l2tp"
)

// settings are the packages' configurations, made of a file and checked.
type settings struct {
	file       fileConfig
	node       string
	plane      dataplane.Config
	subscriber lns.SubscriberDefaults
	trace      lns.TraceConfig
	lacs       []lns.LACProfile
	radius     radius.Config
	dynauth    *radius.DynAuthConfig
	pools      ippool.Config
	database   string
	cluster    *cluster.Config // nil outside of a cluster
	ops        ops.Config
	ipsec      *ipsec.Config // nil where no LAC uses it
}

// build turns a file into settings. Its error lists everything that is wrong.
func build(s *source) (*settings, error) {
	c := &s.cfg
	b := &builder{}
	out := &settings{file: *c, node: c.Node}
	if out.node == "" {
		host, _ := os.Hostname()
		out.node, _, _ = strings.Cut(host, ".")
	}
	if len(out.node) == 0 || len(out.node) > 16 {
		b.bad("$.node", "%q has to be a name of 1 to 16 characters", out.node)
	}
	out.pools = b.pools(c.Pools)
	out.plane = b.plane(c, out.pools)
	out.subscriber = b.subscriber(&c.Subscriber)
	if c.Limits.MaxSettingUp < 0 || c.Limits.MaxSessions < 0 {
		b.bad("$.limits", "a bound cannot be negative; 0 is the default")
	}
	out.trace = lns.TraceConfig{Off: c.Trace.Off, Octets: c.Trace.Octets, Keep: c.Trace.Keep, KeepFor: time.Duration(c.Trace.KeepFor)}
	b.check("$.trace", out.trace.Validate())
	for i := range c.LACs {
		out.lacs = append(out.lacs, b.lac(fmt.Sprintf("$.lacs[%d]", i), &c.LACs[i]))
	}
	b.unique(c.LACs)
	out.ipsec = b.ipsec(c, out)
	out.radius = b.radius(out.node, &c.RADIUS)
	out.dynauth = b.dynauth(out.node, &c.RADIUS)
	out.database = b.secret("$.database.url", c.Database.URL, c.Database.URLFile)
	b.durability(&c.Database, out.database)
	out.cluster = b.cluster(out.node, &c.Cluster, out.plane.Listen, out.database)
	out.ops = b.ops(&c.API)
	b.log(&c.Log)
	if c.Shutdown != shutdownKeep && c.Shutdown != shutdownDrop {
		b.bad("$.shutdown", "%q is neither keep (SIGTERM leaves tunnels and sessions to the next start) nor drop (SIGTERM ends them)", c.Shutdown)
	}
	if c.Journal.Dir == "" {
		b.bad("$.journal.dir", "name a folder for this node's state, such as /var/lib/culvert/journal")
	}
	return out, s.place(errors.Join(b.errs...))
}

// builder collects what is wrong.
type builder struct{ errs []error }

func (b *builder) bad(key, format string, args ...any) {
	b.errs = append(b.errs, &problem{key, fmt.Errorf(format, args...)})
}

func (b *builder) check(key string, err error) {
	if err != nil {
		b.errs = append(b.errs, under(key, err))
	}
}

// secret is a secret written in the file or in a file of its own.
func (b *builder) secret(key string, s secret, file string) string {
	if file == "" {
		return string(s)
	}
	if s != "" {
		b.bad(key, "give either the value or the file, not both")
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		b.bad(key+"_file", "%w", err)
	}
	return strings.TrimRight(string(raw), "\r\n")
}

// The bounds of database.max_wait. Beyond the upper one LACs and subscribers
// retransmit what waits for its acknowledgement.
const (
	minConfirmWait = 10 * time.Millisecond
	maxConfirmWait = 2 * time.Second
)

func (b *builder) durability(c *databaseSection, url string) {
	switch c.Durability {
	case "node":
	case "cluster":
		if url == "" {
			b.bad("$.database.durability", "cluster needs a database; set database.url, or node")
		}
	default:
		b.bad("$.database.durability", "%q is neither node nor cluster", c.Durability)
	}
	if d := time.Duration(c.MaxWait); d < minConfirmWait || d > maxConfirmWait {
		b.bad("$.database.max_wait", "%v is not between %v and %v", d, minConfirmWait, maxConfirmWait)
	}
}

func (b *builder) plane(c *fileConfig, pools ippool.Config) dataplane.Config {
	p := dataplane.Config{
		Listen: values(c.L2TP.Listen), Shards: c.L2TP.Shards, SocketBuffer: c.L2TP.SocketBuffer,
		Device: c.Plane.Device, Address: c.Plane.Address.V, MTU: c.Plane.MTU,
	}
	if p.Shards == 0 {
		p.Shards = min(runtime.GOMAXPROCS(0), dataplane.MaxShards)
	}
	if !p.Address.IsValid() {
		p.Address = c.Subscriber.LocalAddress.V
	}
	if c.Plane.Mode != "userspace" && c.Plane.Mode != "memory" {
		b.bad("$.plane.mode", "%q is neither userspace nor memory", c.Plane.Mode)
	}
	if len(p.Listen) == 0 {
		b.bad("$.l2tp.listen", "name the addresses that LACs call, such as [192.0.2.1:1701]")
		return p
	}
	for _, pool := range pools.Pools {
		for _, r := range pool.Ranges {
			p.Routes = append(p.Routes, prefixes(r)...)
		}
	}
	b.check("$.plane", p.Validate())
	return p
}

// prefixes covers a range of addresses with prefixes, the largest that fit.
func prefixes(r ippool.Range) []netip.Prefix {
	var list []netip.Prefix
	for a := r.First; a.IsValid() && a.Compare(r.Last) <= 0; {
		bits := a.BitLen()
		for bits > 0 {
			p := netip.PrefixFrom(a, bits-1)
			if p.Masked().Addr() != a || last(p).Compare(r.Last) > 0 {
				break
			}
			bits--
		}
		p := netip.PrefixFrom(a, bits)
		list = append(list, p)
		a = last(p).Next()
	}
	return list
}

// last is the highest address of an IPv4 prefix.
func last(p netip.Prefix) netip.Addr {
	a := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		a[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(a)
}

func (b *builder) subscriber(c *subscriberSection) lns.SubscriberDefaults {
	d := lns.SubscriberDefaults{
		LocalAddress: c.LocalAddress.V, Interim: time.Duration(c.Interim),
		SessionTimeout: time.Duration(c.SessionTimeout), IdleTimeout: time.Duration(c.IdleTimeout),
		ClampMSS: c.ClampMSS == nil || *c.ClampMSS,
	}
	if !d.LocalAddress.Is4() {
		b.bad("$.subscriber.local_address", "name the IPv4 address of our end of every subscriber's link, such as 100.64.0.1")
	}
	if d.Interim != 0 && d.Interim < time.Minute {
		b.bad("$.subscriber.interim", "%v would flood the accounting server; 60s is the least (0s sends none)", d.Interim)
	}
	d.DNS = b.pair("$.subscriber.dns", values(c.DNS))
	d.NBNS = b.pair("$.subscriber.nbns", values(c.NBNS))
	return d
}

// pair is a primary and a secondary server.
func (b *builder) pair(key string, list []netip.Addr) (out [2]netip.Addr) {
	if len(list) > 2 {
		b.bad(key, "%d servers; IPCP has room for two", len(list))
		list = list[:2]
	}
	for i, a := range list {
		if !a.Is4() {
			b.bad(fmt.Sprintf("%s[%d]", key, i), "%v is not an IPv4 address", a)
		}
		out[i] = a
	}
	return out
}

func (b *builder) lac(key string, c *lacSection) lns.LACProfile {
	p := lns.DefaultLACProfile()
	p.Name, p.Prefixes, p.HostNames = c.Name, values(c.Prefixes), c.HostNames
	p.Secret, p.LocalName = b.secret(key+".secret", c.Secret, c.SecretFile), c.LocalName
	override(&p.Window, c.Window)
	override(&p.MRU, c.MRU)
	override(&p.EchoFailures, c.EchoFailures)
	override(&p.Hello, (*time.Duration)(c.Hello))
	override(&p.EchoInterval, (*time.Duration)(c.EchoInterval))
	override(&p.BusyResult, (*l2tp.ResultCode)(c.BusyResult))
	if c.Auth != nil {
		p.Auth = c.Auth
	}
	if c.Proxy != "" {
		p.Proxy = c.Proxy
	}
	p.AcceptUnknownMandatory, p.FloatPeer, p.HideAVPs = c.AcceptUnknownMandatory, c.FloatPeer, c.HideAVPs
	p.PoolByGroup, p.Address = c.PoolByGroup, c.Address.V
	p.LinePattern, p.IgnoreDF = c.LinePattern, c.IgnoreDF
	if c.Failover != "" {
		p.Failover = c.Failover
	}
	override(&p.RecoveryTime, (*time.Duration)(c.RecoveryTime))
	if c.Sequencing != "" {
		p.Sequencing = c.Sequencing
	}
	p.ReorderPackets = c.ReorderPackets
	override(&p.ReorderTime, (*time.Duration)(c.ReorderTime))
	p.MaxTunnels, p.MaxSessions = c.MaxTunnels, c.MaxSessions
	p.IPsec = b.lacIPsec(key+".ipsec", c.IPsec)
	b.check(key, p.Validate())
	return p
}

func override[T any](field *T, v *T) {
	if v != nil {
		*field = *v
	}
}

func (b *builder) unique(lacs []lacSection) {
	seen := map[string]int{}
	for i, l := range lacs {
		if j, ok := seen[l.Name]; ok && l.Name != "" {
			b.bad(fmt.Sprintf("$.lacs[%d].name", i), "%q is the name of lacs[%d] too", l.Name, j)
		}
		seen[l.Name] = i
	}
}

func (b *builder) pools(list []poolSection) ippool.Config {
	var c ippool.Config
	for i, p := range list {
		key := fmt.Sprintf("$.pools[%d]", i)
		c.Pools = append(c.Pools, ippool.Pool{
			Name: p.Name, SkipEdges: p.SkipEdges,
			Ranges: b.ranges(key+".ranges", p.Ranges), Exclude: b.ranges(key+".exclude", p.Exclude),
		})
	}
	if len(b.errs) == 0 {
		b.check("$.pools", c.Validate())
	}
	return c
}

func (b *builder) ranges(key string, list []string) []ippool.Range {
	var out []ippool.Range
	for i, s := range list {
		r, err := ippool.ParseRange(s)
		if err != nil {
			b.check(fmt.Sprintf("%s[%d]", key, i), err)
			continue
		}
		out = append(out, r)
	}
	return out
}

func (b *builder) ops(c *apiSection) ops.Config {
	o := ops.Config{
		Address: c.Address, Certificate: c.Certificate, Key: c.Key, ClientCA: c.ClientCA,
		PlainLoopback: c.PlainLoopback, Socket: c.Socket, SocketGroup: c.SocketGroup,
		HTTP: c.HTTP, RemoteProfiling: c.RemoteProfile,
	}
	if c.SocketMode != "" {
		mode, err := strconv.ParseUint(c.SocketMode, 8, 32)
		if err != nil {
			b.bad("$.api.socket_mode", "%q is not an octal file mode such as \"0660\"", c.SocketMode)
		}
		o.SocketMode = os.FileMode(mode)
	}
	for i, r := range c.Roles {
		role, err := ops.ParseRole(r.Role)
		if err != nil {
			b.bad(fmt.Sprintf("$.api.roles[%d].role", i), "%w", err)
			continue
		}
		o.Roles = append(o.Roles, ops.RoleRule{Role: role, CommonName: r.CommonName, Unit: r.Unit})
	}
	b.check("$.api", o.Validate())
	return o
}
