package l2tp

import "slices"

// Clone returns a copy that shares nothing with m. All its octets are in one
// allocation.
func (m *Message) Clone() Message {
	c := *m
	c.line, c.scratch = nil, nil
	c.SpeedUpdates = slices.Clone(m.SpeedUpdates)
	c.SessionStates = slices.Clone(m.SessionStates)
	c.Extra = slices.Clone(m.Extra)
	if m.Line != nil {
		line := *m.Line
		c.Line = &line
	}
	total, count := 0, int(avpCount)+4+len(c.Extra)
	for i := range count {
		if field := c.octets(i); field != nil {
			total += len(*field)
		}
	}
	room := make([]byte, 0, total)
	for i := range count {
		if field := c.octets(i); field != nil && *field != nil {
			from := len(room)
			room = append(room, *field...)
			*field = room[from:len(room):len(room)]
		}
	}
	return c
}

// octets numbers all fields that are strings of octets: first by their AVP, then
// those inside other fields. It returns nil for a number that is none.
func (m *Message) octets(i int) *[]byte {
	switch n := i - int(avpCount); {
	case n < 0:
		return m.bytesField(AVP(i))
	case n == 0:
		return &m.Q931.Advisory
	case n == 1:
		return &m.PPPDisconnect.Message
	case n >= 4:
		return &m.Extra[n-4].Value
	case m.Line == nil:
		return nil
	case n == 2:
		return &m.Line.AgentCircuitID
	}
	return &m.Line.AgentRemoteID
}
