package lns

import (
	"net/netip"
	"time"

	"culvert/aaa"
	"culvert/lns/dataplane"
	"culvert/proto/l2tp"
)

// TunnelInfo is a copy of what an operator may see of a tunnel.
type TunnelInfo struct {
	Local, Peer     netip.AddrPort
	ID, PeerID      uint16
	PeerName        string
	PeerVendor      string
	Profile         string
	State           string
	Since           time.Time
	Sessions        int
	Ns, Nr          uint16
	Window          uint16
	Retransmissions uint32
	// Failover is what both ends have said that they can do (RFC 4951), zero for nothing; Failed
	// is the tunnel's latest failure, nil where there was none.
	Failover l2tp.Failover
	Failed   *FailoverInfo
	// SA is the SA that the tunnel runs in, nil in clear. It is immutable.
	SA *SA
}

// SessionInfo is a copy of what an operator may see of a session.
type SessionInfo struct {
	// ID is the Acct-Session-Id, by which every call names a session.
	ID              string
	Local, Peer     netip.AddrPort
	Tunnel, Session uint16
	PeerTunnel      uint16
	PeerSession     uint16
	Profile         string
	User            string
	// State is one of "dialling", "lcp", "authenticating", "network", "up", "closing".
	State          string
	Method         aaa.Method
	Address        netip.Addr
	Routes         []netip.Prefix
	CallingStation string
	CalledStation  string
	ConnectInfo    string
	// Outgoing says that the LNS asked for the call.
	Outgoing bool
	// PrivateGroup is the Private Group ID AVP; Line what the LAC tells of the access
	// line and CallErrors what went wrong on it, nil where it tells nothing.
	PrivateGroup   string
	Line           *aaa.Line
	CallErrors     *l2tp.CallErrors
	CallSerial     uint32
	MRU, MTU       uint16
	Since          time.Time
	SessionTimeout time.Duration
	IdleTimeout    time.Duration
	Interim        time.Duration
	Counters       dataplane.Counters
	// Sequencing is nil where data messages are not numbered.
	Sequencing *SequencingInfo
}

// Selector names sessions. Empty fields match all; at least one is set
// wherever something is ended by it.
type Selector struct {
	ID      string
	User    string
	Address netip.Addr
	// Calling is the Calling Number, exactly.
	Calling string
	Profile string
	// Tunnel, with Local, names one tunnel; Peer is the LAC's address.
	Local  netip.AddrPort
	Tunnel uint16
	Peer   netip.Addr
}

// EventKind says what happened.
type EventKind string

// The kinds of events.
const (
	EventTunnelUp      EventKind = "tunnel-up"
	EventTunnelDown    EventKind = "tunnel-down"
	EventSessionUp     EventKind = "session-up"
	EventSessionDown   EventKind = "session-down"
	EventSessionReject EventKind = "session-reject"
)

// Event is one thing that happened, for those who watch.
type Event struct {
	At   time.Time
	Kind EventKind
	// Cause is set for tunnel-down, session-down and session-reject.
	Cause string
	// Detail is a sentence for people: the server's Reply-Message, the LAC's error message.
	Detail string
	// Session is filled as far as it is known; for tunnel events only
	// Local, Peer, Tunnel, PeerTunnel and Profile are.
	Session SessionInfo
}

// Status says how the node is.
type Status struct {
	Node      string
	Version   string
	Started   time.Time
	Epoch     uint32
	Draining  bool
	Shards    int
	Listeners []netip.AddrPort
	// Tunnels and Sessions count what is established; SettingUp the calls that are not yet.
	Tunnels, Sessions, SettingUp int
	// Plane says which data plane runs ("userspace", "memory").
	Plane string
}
