package opstest

import (
	"fmt"
	"net/netip"
	"time"

	"culvert/aaa"
	"culvert/lns"
	"culvert/lns/dataplane"
	"culvert/proto/l2tp"
)

// Began is when everything in a sample node began.
var Began = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)

// Sample gives a node with two LAC profiles, three tunnels (two of them with
// one id, on different local addresses) and sessions in the first two.
func Sample(sessions int) *Node {
	n := NewNode()
	north := lns.DefaultLACProfile()
	north.Name, north.Secret = "north", "not to be seen"
	north.Prefixes = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	south := lns.DefaultLACProfile()
	south.Name, south.Hello, south.MaxSessions = "south", 0, 8000
	south.Prefixes = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/25"), netip.MustParsePrefix("2001:db8:5::/48")}
	south.HostNames = []string{"lac-s1", "lac-s2"}
	n.lacs = []lns.LACProfile{south, north}
	n.Add(sampleTunnels(sessions), sampleSessions(sessions))
	return n
}

func sampleTunnels(sessions int) []lns.TunnelInfo {
	t := func(local, peer, name, profile string, id uint16, sessions int) lns.TunnelInfo {
		return lns.TunnelInfo{
			Local: netip.MustParseAddrPort(local), Peer: netip.MustParseAddrPort(peer), ID: id, PeerID: 4000 + id,
			PeerName: name, PeerVendor: "Culvert test", Profile: profile, State: l2tp.TunnelEstablished.String(), Since: Began,
			Sessions: sessions, Ns: 31, Nr: 57, Window: 64, Retransmissions: 2,
		}
	}
	failing := t("192.0.2.1:1701", "198.51.100.7:1701", "lac-n1", "north", 17, (sessions+1)/2)
	failing.Failover = l2tp.Failover{Control: true, Data: true, RecoveryTime: 90 * time.Second}
	failing.Failed = &lns.FailoverInfo{Kind: "recovered", At: Began.Add(time.Hour), Asked: 3, Cleared: 1}
	return []lns.TunnelInfo{
		failing,
		t("192.0.2.2:1701", "203.0.113.9:1701", "lac-s1", "south", 17, sessions/2),
		t("192.0.2.1:1701", "198.51.100.8:1701", "lac-n2", "north", 9, 0),
	}
}

// sampleSessions alternate between the first two tunnels; the last of three or more is not up yet.
func sampleSessions(count int) []lns.SessionInfo {
	list := make([]lns.SessionInfo, count)
	for i := range list {
		s := &list[i]
		*s = lns.SessionInfo{
			ID:    fmt.Sprintf("lns1-00000007-%08x", i+1),
			Local: netip.MustParseAddrPort("192.0.2.1:1701"), Peer: netip.MustParseAddrPort("198.51.100.7:1701"),
			Tunnel: 17, Session: uint16(i + 1), PeerTunnel: 4017, PeerSession: uint16(2000 + i),
			Profile: "north", User: fmt.Sprintf("user%d@example.net", i+1), State: "up", Method: aaa.MethodCHAP,
			Address:        netip.AddrFrom4([4]byte{100, 64, byte((i + 1) >> 8), byte(i + 1)}),
			CallingStation: fmt.Sprintf("0113496%04d", i), CalledStation: "08450000001",
			ConnectInfo: "80000000/20000000", CallSerial: uint32(90000 + i), MRU: 1500, MTU: 1492,
			Since: Began.Add(time.Duration(i) * time.Minute), SessionTimeout: 24 * time.Hour, Interim: 5 * time.Minute,
			Counters: dataplane.Counters{
				InOctets: 123_456_789, InPackets: 250_000, OutOctets: uint64(4_700_000_000 + i), OutPackets: 3_900_000, Spoofed: 3,
			},
		}
		if i == 0 {
			s.PrivateGroup = "vrf-7"
			s.Line = &aaa.Line{
				CircuitID: "olt-7 eth 3/21", RemoteID: "DEU.QSC.0815", Encapsulation: &[3]byte{1, 1, 0},
				Values: []aaa.LineValue{{Type: 129, Value: 20_000_000}, {Type: 130, Value: 80_000_000}, {Type: 140, Value: 8}, {Type: aaa.LineAccessType, Value: 5}},
			}
			s.CallErrors = &l2tp.CallErrors{CRC: 17, Framing: 2}
			s.Sequencing = &lns.SequencingInfo{Required: true, Numbered: true, SequenceStats: dataplane.SequenceStats{Late: 7, Lost: 12, Reordered: 3456}}
		}
		if i%2 == 1 {
			s.Local, s.Peer = netip.MustParseAddrPort("192.0.2.2:1701"), netip.MustParseAddrPort("203.0.113.9:1701")
			s.Profile = "south"
			s.Routes = []netip.Prefix{netip.MustParsePrefix("10.20.0.0/24")}
		}
	}
	if count > 2 {
		s := &list[count-1]
		s.State, s.Method, s.Address, s.MTU = "authenticating", aaa.MethodNone, netip.Addr{}, 0
		s.User, s.Counters, s.SessionTimeout, s.Interim = "", dataplane.Counters{}, 0, 0
	}
	return list
}
