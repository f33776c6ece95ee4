package main

import (
	"net/netip"
	"time"

	machine "culvert/sessiondb/cluster"
)

// fileConfig is the configuration file. Each section becomes the Config of
// one package (build.go); what a section leaves out has that package's default.
type fileConfig struct {
	// Node names this node; the default is the host's name.
	Node       string            `yaml:"node"`
	L2TP       l2tpSection       `yaml:"l2tp"`
	Plane      planeSection      `yaml:"plane"`
	Subscriber subscriberSection `yaml:"subscriber"`
	Limits     limitsSection     `yaml:"limits"`
	Trace      traceSection      `yaml:"trace"`
	LACs       []lacSection      `yaml:"lacs"`
	IPsec      ipsecSection      `yaml:"ipsec"`
	RADIUS     radiusSection     `yaml:"radius"`
	Pools      []poolSection     `yaml:"pools"`
	Journal    journalSection    `yaml:"journal"`
	Database   databaseSection   `yaml:"database"`
	Cluster    clusterSection    `yaml:"cluster"`
	API        apiSection        `yaml:"api"`
	Log        logSection        `yaml:"log"`
	// Shutdown is what SIGTERM does: "keep" ends this process alone, and the next start goes
	// on with tunnels and sessions; "drop" ends them too.
	Shutdown string `yaml:"shutdown"`
}

// The values of shutdown.
const (
	shutdownKeep = "keep"
	shutdownDrop = "drop"
)

type l2tpSection struct {
	// Listen are the addresses that LACs call.
	Listen []text[netip.AddrPort] `yaml:"listen"`
	// Shards is the number of workers; 0 is one for each CPU.
	Shards int `yaml:"shards"`
	// SocketBuffer is what each socket may queue each way, in octets.
	SocketBuffer int `yaml:"socket_buffer"`
}

type planeSection struct {
	// Mode is "userspace" (UDP sockets and a TUN device) or "memory"
	// (UDP sockets and an echo responder in place of the core: needs no rights).
	Mode    string           `yaml:"mode"`
	Device  string           `yaml:"device"`
	Address text[netip.Addr] `yaml:"address"`
	MTU     int              `yaml:"mtu"`
}

type subscriberSection struct {
	LocalAddress   text[netip.Addr]   `yaml:"local_address"`
	DNS            []text[netip.Addr] `yaml:"dns"`
	NBNS           []text[netip.Addr] `yaml:"nbns"`
	Interim        span               `yaml:"interim"`
	SessionTimeout span               `yaml:"session_timeout"`
	IdleTimeout    span               `yaml:"idle_timeout"`
	ClampMSS       *bool              `yaml:"clamp_mss"`
}

type limitsSection struct {
	MaxSettingUp int `yaml:"max_setting_up"`
	MaxSessions  int `yaml:"max_sessions"`
}

type traceSection struct {
	// Off keeps nothing of what sessions do.
	Off bool `yaml:"off"`
	// Octets bounds what is kept of a session, Keep and KeepFor what is remembered of those that ended.
	Octets  int  `yaml:"octets"`
	Keep    int  `yaml:"keep"`
	KeepFor span `yaml:"keep_for"`
}

type lacSection struct {
	Name                   string               `yaml:"name"`
	Prefixes               []text[netip.Prefix] `yaml:"prefixes"`
	HostNames              []string             `yaml:"host_names"`
	Secret                 secret               `yaml:"secret"`
	SecretFile             string               `yaml:"secret_file"`
	LocalName              string               `yaml:"local_name"`
	Window                 *uint16              `yaml:"window"`
	Hello                  *span                `yaml:"hello"`
	MRU                    *uint16              `yaml:"mru"`
	Auth                   []string             `yaml:"auth"`
	Proxy                  string               `yaml:"proxy"`
	EchoInterval           *span                `yaml:"echo_interval"`
	EchoFailures           *int                 `yaml:"echo_failures"`
	BusyResult             *uint16              `yaml:"busy_result"`
	AcceptUnknownMandatory bool                 `yaml:"accept_unknown_mandatory"`
	FloatPeer              bool                 `yaml:"float_peer"`
	Address                text[netip.AddrPort] `yaml:"address"`
	PoolByGroup            bool                 `yaml:"pool_by_group"`
	HideAVPs               bool                 `yaml:"hide_avps"`
	LinePattern            string               `yaml:"line_pattern"`
	IgnoreDF               bool                 `yaml:"ignore_df"`
	Failover               string               `yaml:"failover"`
	RecoveryTime           *span                `yaml:"recovery_time"`
	Sequencing             string               `yaml:"sequencing"`
	ReorderPackets         int                  `yaml:"reorder_packets"`
	ReorderTime            *span                `yaml:"reorder_time"`
	MaxTunnels             int                  `yaml:"max_tunnels"`
	MaxSessions            int                  `yaml:"max_sessions"`
	IPsec                  *lacIPsecSection     `yaml:"ipsec"`
}

type radiusSection struct {
	NASIdentifier string            `yaml:"nas_identifier"`
	NASAddress    text[netip.Addr]  `yaml:"nas_address"`
	Auth          groupSection      `yaml:"auth"`
	Acct          groupSection      `yaml:"acct"`
	Disconnect    disconnectSection `yaml:"disconnect"`
	// Lab starts a RADIUS responder inside of this process that knows
	// everybody with the given password. Never for subscribers.
	Lab labSection `yaml:"lab"`
}

type groupSection struct {
	// Mode is "order" or "balance".
	Mode    string          `yaml:"mode"`
	Servers []serverSection `yaml:"servers"`
}

type serverSection struct {
	Name          string               `yaml:"name"`
	Address       text[netip.AddrPort] `yaml:"address"`
	Source        text[netip.Addr]     `yaml:"source"`
	Secret        secret               `yaml:"secret"`
	SecretFile    string               `yaml:"secret_file"`
	Timeout       span                 `yaml:"timeout"`
	Retries       int                  `yaml:"retries"`
	DeadTime      span                 `yaml:"dead_time"`
	NoProbe       bool                 `yaml:"no_probe"`
	Priority      int                  `yaml:"priority"`
	Weight        int                  `yaml:"weight"`
	InFlight      int                  `yaml:"in_flight"`
	Queue         int                  `yaml:"queue"`
	MaxWait       span                 `yaml:"max_wait"`
	AllowUnsigned bool                 `yaml:"allow_unsigned"`
}

type disconnectSection struct {
	Listen           text[netip.AddrPort] `yaml:"listen"`
	Clients          []clientSection      `yaml:"clients"`
	RequireTimestamp bool                 `yaml:"require_timestamp"`
	RequireSignature bool                 `yaml:"require_message_authenticator"`
}

type clientSection struct {
	Prefix     text[netip.Prefix] `yaml:"prefix"`
	Secret     secret             `yaml:"secret"`
	SecretFile string             `yaml:"secret_file"`
}

type labSection struct {
	Password string `yaml:"password"`
}

type poolSection struct {
	Name      string   `yaml:"name"`
	Ranges    []string `yaml:"ranges"`
	Exclude   []string `yaml:"exclude"`
	SkipEdges bool     `yaml:"skip_edges"`
}

type journalSection struct {
	// Dir is the folder of the node's journal.
	Dir string `yaml:"dir"`
}

type databaseSection struct {
	// URL is a libpq connection string; URLFile a file with one in it.
	URL     secret `yaml:"url"`
	URLFile string `yaml:"url_file"`
	// Migrate lets the daemon bring the schema up to date when it connects.
	Migrate  bool  `yaml:"migrate"`
	MaxConns int32 `yaml:"max_conns"`
	// Durability is "node" (the database is written behind) or "cluster" (a
	// LAC gets the acknowledgement of a new tunnel or session when the
	// database has it, or after MaxWait).
	Durability string `yaml:"durability"`
	MaxWait    span   `yaml:"max_wait"`
	// History is how long ended sessions stay in the database.
	History span `yaml:"history"`
}

type apiSection struct {
	Address       string        `yaml:"address"`
	Certificate   string        `yaml:"certificate"`
	Key           string        `yaml:"key"`
	ClientCA      string        `yaml:"client_ca"`
	Roles         []roleSection `yaml:"roles"`
	PlainLoopback bool          `yaml:"plain_loopback"`
	Socket        string        `yaml:"socket"`
	SocketMode    string        `yaml:"socket_mode"`
	SocketGroup   string        `yaml:"socket_group"`
	HTTP          string        `yaml:"http"`
	RemoteProfile bool          `yaml:"remote_profiling"`
}

type roleSection struct {
	Role       string `yaml:"role"`
	CommonName string `yaml:"common_name"`
	Unit       string `yaml:"unit"`
}

type logSection struct {
	// Level is debug, info, warn or error; Format is text or json.
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// defaults is a lab on one machine: loopback only, no database.
func defaults() fileConfig {
	return fileConfig{
		Shutdown:   shutdownKeep,
		Plane:      planeSection{Mode: "userspace", Device: "culvert0"},
		Subscriber: subscriberSection{Interim: span(10 * time.Minute)},
		Database:   databaseSection{Durability: "node", MaxWait: span(time.Second), History: span(90 * 24 * time.Hour)},
		Cluster:    clusterSection{Lease: span(machine.DefaultLease), Counters: span(10 * time.Second)},
		Journal:    journalSection{Dir: "/var/lib/culvert/journal"},
		API:        apiSection{Socket: "/run/culvert/lnsd.sock", HTTP: "127.0.0.1:9107"},
		Log:        logSection{Level: "info", Format: "text"},
	}
}
