package main

import (
	"time"
)

// runCmd are the flags of "lacsim run".
type runCmd struct {
	LNS        []string `name:"lns" required:"" placeholder:"HOST[:PORT]" help:"LNS to call, by address; port 1701 unless given. Tunnels are spread over several."`
	Source     []string `placeholder:"ADDR[:PORT]" help:"Local address, prefix (10.9.0.0/28: all its hosts) and port to call from. Default: any address, a port that the kernel chooses."`
	SourcePort int      `name:"source-ports" default:"1" help:"Sockets to open for each source without a port."`
	SerialOpen bool     `name:"serial-open" help:"Open one tunnel at a time from each socket. l2tpns needs it: it takes a second SCCRQ of an address and port for a retransmission of the first."`
	LACs       int      `name:"lacs" default:"1" help:"Tunnels."`
	Sessions   int      `aliases:"subscribers" default:"1" help:"Sessions in each tunnel."`
	First      int      `default:"1" help:"Number of the first session, for the templates."`

	Rate         float64       `help:"Calls placed in a second; 0: as many as the LNS's windows and --in-flight permit."`
	InFlight     int           `name:"in-flight" default:"100" help:"Calls being set up at a time, and tunnels being opened."`
	SetupTimeout time.Duration `default:"30s" help:"Give a call up that is not up by then."`
	Hold         time.Duration `help:"Hang each session up after so long; 0: once all are dialled and all packets answered."`
	Stay         bool          `help:"Keep sessions up until SIGINT, SIGTERM, --duration or 'hangup' on --stdin."`
	Duration     time.Duration `help:"Hang everything up after so long."`
	Redial       bool          `help:"Dial sessions again that ended or failed, as long as the run lasts."`
	RedialDelay  time.Duration `default:"1s" help:"How long a session stays down before it is dialled again."`
	Hangup       string        `enum:"cdn,lcp,stopccn" default:"cdn" help:"How sessions end: cdn, lcp (Terminate-Request) or stopccn."`

	User     string `default:"user%d@isp" help:"User name; %d (or %06d) is the session's number."`
	Password string `default:"secret" help:"Password, a template like --user."`
	Auth     string `enum:"pap,chap,mschapv2,eap,eap-md5,eap-mschapv2,any,none" default:"any" help:"Authentication that subscribers agree to: pap, chap, mschapv2, eap (by whichever of the following the server asks for), eap-md5, eap-mschapv2, any (of all but EAP) or none."`
	MRU      uint16 `name:"mru" default:"1492" help:"MRU in LCP; 0 says nothing."`
	Compress bool   `help:"Ask for ACFC and PFC, and use them where the LNS does."`
	NoDNS    bool   `name:"no-dns" help:"Do not ask for DNS servers."`

	Secret      string        `help:"Tunnel secret; with one, the LNS is challenged too."`
	HostName    string        `default:"lac%d" help:"Host Name of a tunnel, a template of its number."`
	Window      uint16        `default:"128" help:"Receive window offered to the LNS."`
	Hello       time.Duration `default:"60s" help:"Silence before a HELLO; 0 sends none."`
	Failover    bool          `help:"Offer failover (RFC 4951), and answer an LNS that recovers a tunnel; 'fail' on --stdin has these LACs fail."`
	Recovery    time.Duration `name:"recovery-time" default:"60s" help:"How long an LNS is asked to wait for the recovery of a tunnel that failed here."`
	Calling     string        `name:"calling-number" default:"%010d" help:"Calling Number, a template of the session's number; empty: none."`
	Called      string        `name:"called-number" help:"Called Number; empty: none."`
	TxSpeed     uint32        `default:"100000000" help:"Connect speed to the subscriber in bit/s."`
	RxSpeed     uint32        `help:"Connect speed from the subscriber in bit/s; 0: not said."`
	Proxy       string        `enum:"none,lcp,auth" default:"none" help:"Proxy AVPs in the ICCN: none, lcp, or auth (LCP and authentication)."`
	ProxyFault  string        `name:"proxy-fault" enum:"none,mru,no-auth,loop,cut,half" default:"none" help:"What is wrong with the proxy AVPs, to see what the LNS's policy makes of it: mru (2000 was agreed on), no-auth (no authentication was), loop (the same magic number both ways), cut (an option ends in its midst) or half (nothing of the subscriber's request)."`
	SpeedEvery  time.Duration `name:"speed-every" placeholder:"TIME" help:"Tell the LNS another connect speed of every line so often (CSUN, RFC 5515), and answer its requests for it."`
	ErrorsEvery time.Duration `name:"errors-every" placeholder:"TIME" help:"Tell the LNS of errors on every line so often (WEN); the RFC wants no less than 60s."`
	LineDelay   time.Duration `name:"line-delay" help:"Round trip of the subscribers' lines: frames of the LNS wait so long before they are answered."`
	Sequenced   bool          `help:"Ask for sequence numbers in data messages."`

	Traffic    string        `enum:"none,ping,udp" default:"none" help:"Packets through every session that is up: none, ping or udp."`
	Target     string        `help:"Address that answers (udp: ADDR:PORT, see 'lacsim echo'), 'peer' for the LNS's address in IPCP, or 'sessions': each session sends UDP to the next. Default: peer for ping, sessions for udp."`
	Packets    int           `default:"1" help:"Packets that each session sends; 0: as long as it is up."`
	PacketRate float64       `default:"1" help:"Packets in a second from each session."`
	Size       int           `default:"64" help:"Size of these IP packets in octets (56 to 1500)."`
	Wait       time.Duration `default:"2s" help:"How long an answer may take before its packet counts as lost."`

	Workers    int           `default:"1" help:"Threads to spread the tunnels over."`
	Seed       uint64        `default:"1" help:"Seed of magic numbers, challenges and the like."`
	JSON       string        `name:"json" placeholder:"FILE" help:"Write the report as JSON; - is stdout."`
	Ready      string        `name:"ready-file" placeholder:"FILE" help:"Write the counters as JSON to FILE when every session has been dialled and all packets answered or lost."`
	AllowEnded bool          `name:"allow-ended" help:"Sessions and tunnels that the LNS ends are no failure."`
	Stdin      bool          `help:"Take commands from stdin, a line each: status, packets, fail (lose every tunnel's control channel, and recover it by RFC 4951), hangup. Its end hangs up."`
	CPUProfile string        `name:"cpuprofile" placeholder:"FILE" help:"Write a CPU profile."`
	Quiet      bool          `short:"q" help:"No progress on stderr."`
	Interval   time.Duration `default:"1s" help:"Time between progress lines."`
}
