package lns

import (
	"fmt"
	"strconv"

	"culvert/aaa"
	"culvert/proto/l2tp"
)

// identify builds what AAA is told about a call from its ICRQ. The user's
// name is not known yet.
func (sh *shard) identify(s *session, m *l2tp.Message) *aaa.Identity {
	f := s.facts
	who := &aaa.Identity{
		AcctSessionID:    sh.srv.acctSessionID(s.owner),
		NASPort:          uint32(s.owner),
		NASPortID:        portID(s, m),
		CallingStation:   string(m.CallingNumber),
		CalledStation:    string(m.CalledNumber),
		ConnectInfo:      connectInfo("", m),
		TunnelClient:     f.peer.Load().Addr(),
		TunnelServer:     f.local.Addr(),
		TunnelClientName: f.peerName,
		TunnelServerName: f.profile.LocalName,
		TunnelAssignment: f.assignment,
		TunnelConnection: strconv.FormatUint(uint64(m.CallSerial), 10),
		LAC:              f.profile.Name,
	}
	if who.TunnelServerName == "" {
		who.TunnelServerName = sh.srv.cfg.Node
	}
	return who
}

// acctSessionID is unique for ever: node, epoch of the journal, counter. Ids of
// one life sort in the order of their calls.
func (s *Server) acctSessionID(owner uint64) string {
	return fmt.Sprintf("%s-%04x-%08x", s.cfg.Node, s.epoch, owner)
}

// portID is the line's name: what the profile finds in the Calling Number, what
// the access node calls it, else the ids.
func portID(s *session, m *l2tp.Message) string {
	if line := s.facts.profile.line; line != nil {
		if found := line.FindSubmatch(m.CallingNumber); found != nil {
			return string(found[min(1, len(found)-1)])
		}
	}
	if m.Line.Has(l2tp.LineAgentCircuitID) {
		return string(m.Line.AgentCircuitID)
	}
	return fmt.Sprintf("l2tp %d.%d", s.key.Tunnel, s.key.Session)
}

// connectInfo puts the speeds of an ICRQ or ICCN in words, as in RFC 2869
// section 5.11; without any it keeps what was known before. A receive speed
// that is absent equals the transmit speed (RFC 2661 section 4.4.4).
func connectInfo(before string, m *l2tp.Message) string {
	tx := m.TxSpeed
	if tx == 0 {
		return before
	}
	rx := m.RxSpeed
	if rx == 0 {
		rx = tx
	}
	return strconv.FormatUint(tx, 10) + "/" + strconv.FormatUint(rx, 10)
}
