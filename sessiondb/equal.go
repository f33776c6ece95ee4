package sessiondb

import (
	"bytes"
	"slices"
	"time"
)

// SameTime compares times as stores keep them: to the microsecond, and the
// zero time equal only to itself.
func SameTime(a, b time.Time) bool {
	return a.IsZero() == b.IsZero() && (a.IsZero() || a.UnixMicro() == b.UnixMicro())
}

// Equal compares all that a store keeps.
func (t *Tunnel) Equal(o *Tunnel) bool {
	return t.Key == o.Key && t.Node == o.Node && t.Peer == o.Peer && t.PeerID == o.PeerID &&
		t.PeerName == o.PeerName && t.Profile == o.Profile &&
		t.PeerWindow == o.PeerWindow && t.Ns == o.Ns && t.Nr == o.Nr &&
		SameTime(t.Since, o.Since) && bytes.Equal(t.State, o.State)
}

// Equal compares all that a store keeps.
func (s *Session) Equal(o *Session) bool {
	return s.Key == o.Key && s.Node == o.Node && s.PeerID == o.PeerID &&
		s.AcctSessionID == o.AcctSessionID && s.User == o.User &&
		s.Profile == o.Profile && s.LAC == o.LAC &&
		s.CallingStation == o.CallingStation && s.CalledStation == o.CalledStation &&
		s.CallSerial == o.CallSerial &&
		s.Address == o.Address && slices.Equal(s.Routes, o.Routes) &&
		SameTime(s.Since, o.Since) && bytes.Equal(s.State, o.State) &&
		s.InOctets == o.InOctets && s.OutOctets == o.OutOctets &&
		s.InPackets == o.InPackets && s.OutPackets == o.OutPackets &&
		SameTime(s.Updated, o.Updated)
}

// Equal compares all that a store keeps.
func (e *Entry) Equal(o *Entry) bool {
	return e.Seq == o.Seq && e.Node == o.Node && e.Session == o.Session && bytes.Equal(e.Payload, o.Payload)
}

// Equal compares all that a store keeps.
func (o *Object) Equal(p *Object) bool {
	return o.Kind == p.Kind && o.Name == p.Name && bytes.Equal(o.Payload, p.Payload)
}
