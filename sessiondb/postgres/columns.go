package postgres

import (
	"math"
	"net/netip"
	"strings"
	"time"

	"culvert/sessiondb"
)

// Rows go to the server as one array per column. Absent addresses and times
// are null.

func address(a netip.Addr) *netip.Addr {
	if !a.IsValid() {
		return nil
	}
	a = a.WithZone("")
	return &a
}

// port is null where the address is.
func port(a netip.AddrPort) *int32 {
	if !a.Addr().IsValid() {
		return nil
	}
	p := int32(a.Port())
	return &p
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// count clamps a counter to bigint.
func count(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// cidrs writes an array of type cidr[], which unnest would take apart.
func cidrs(prefixes []netip.Prefix) *string {
	if len(prefixes) == 0 {
		return nil
	}
	b := []byte{'{'}
	for _, p := range prefixes {
		if p.IsValid() {
			b = append(p.Masked().AppendTo(b), ',')
		}
	}
	text := strings.TrimSuffix(string(b), ",") + "}"
	return &text
}

// octets makes null of nothing.
func octets(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

// tunnelKeys are the columns of a tunnel's key.
type tunnelKeys struct {
	address  []netip.Addr
	port, id []int32
}

func (c *tunnelKeys) add(k sessiondb.TunnelKey) {
	c.address = append(c.address, k.Local.Addr())
	c.port = append(c.port, int32(k.Local.Port()))
	c.id = append(c.id, int32(k.ID))
}

// ends are the columns of how sessions ended.
type ends struct {
	at                                         []*time.Time
	cause                                      []string
	inOctets, outOctets, inPackets, outPackets []*int64
}

// add takes what is known of an end; unknown counters are null.
func (c *ends) add(e *sessiondb.End) {
	if e == nil {
		c.at, c.cause = append(c.at, nil), append(c.cause, "")
		c.inOctets, c.outOctets = append(c.inOctets, nil), append(c.outOctets, nil)
		c.inPackets, c.outPackets = append(c.inPackets, nil), append(c.outPackets, nil)
		return
	}
	c.at, c.cause = append(c.at, instant(e.At)), append(c.cause, escape(e.Cause))
	c.inOctets, c.outOctets = append(c.inOctets, number(e.InOctets)), append(c.outOctets, number(e.OutOctets))
	c.inPackets, c.outPackets = append(c.inPackets, number(e.InPackets)), append(c.outPackets, number(e.OutPackets))
}

func number(n uint64) *int64 {
	v := count(n)
	return &v
}

// sessionColumns are the columns of table sessions but node.
type sessionColumns struct {
	tunnelKeys
	sessionID, peerID                          []int32
	acct, user, profile                        []string
	lac                                        []*netip.Addr
	lacPort                                    []*int32
	calling, called                            []string
	serial                                     []int64
	address                                    []*netip.Addr
	routes                                     []*string
	started                                    []*time.Time
	state                                      [][]byte
	inOctets, outOctets, inPackets, outPackets []int64
	updated                                    []*time.Time
}

func (c *sessionColumns) add(s *sessiondb.Session) {
	c.tunnelKeys.add(s.Key.Tunnel)
	c.sessionID, c.peerID = append(c.sessionID, int32(s.Key.ID)), append(c.peerID, int32(s.PeerID))
	c.acct, c.user = append(c.acct, escape(s.AcctSessionID)), append(c.user, escape(s.User))
	c.profile = append(c.profile, escape(s.Profile))
	c.lac, c.lacPort = append(c.lac, address(s.LAC.Addr())), append(c.lacPort, port(s.LAC))
	c.calling, c.called = append(c.calling, escape(s.CallingStation)), append(c.called, escape(s.CalledStation))
	c.serial = append(c.serial, int64(s.CallSerial))
	c.address, c.routes = append(c.address, address(s.Address)), append(c.routes, cidrs(s.Routes))
	c.started, c.state = append(c.started, instant(s.Since)), append(c.state, octets(s.State))
	c.inOctets, c.outOctets = append(c.inOctets, count(s.InOctets)), append(c.outOctets, count(s.OutOctets))
	c.inPackets, c.outPackets = append(c.inPackets, count(s.InPackets)), append(c.outPackets, count(s.OutPackets))
	c.updated = append(c.updated, instant(s.Updated))
}

// args gives the columns in the order of table sessions, after node.
func (c *sessionColumns) args(node string) []any {
	return []any{escape(node), c.tunnelKeys.address, c.port, c.id, c.sessionID, c.peerID, c.acct, c.user, c.profile,
		c.lac, c.lacPort, c.calling, c.called, c.serial, c.address, c.routes, c.started, c.state,
		c.inOctets, c.outOctets, c.inPackets, c.outPackets, c.updated}
}
