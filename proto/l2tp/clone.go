package l2tp

import "slices"

// Clone returns a copy that shares nothing with m. All its octets are in one
// allocation.
func (m *Message) Clone() Message {
	c := *m
	c.line, c.scratch = nil, nil
	c.SpeedUpdates = slices.Clone(m.SpeedUpdates)
	c.Extra = slices.Clone(m.Extra)
	if m.Line != nil {
		line := *m.Line
		c.Line = &line
	}
	total := 0
	c.eachSlice(func(b *[]byte) { total += len(*b) })
	if total == 0 {
		return c
	}
	room := make([]byte, 0, total)
	c.eachSlice(func(b *[]byte) {
		if *b == nil {
			return
		}
		from := len(room)
		room = append(room, *b...)
		*b = room[from:len(room):len(room)]
	})
	return c
}

// eachSlice calls f on every field that is a string of octets.
func (m *Message) eachSlice(f func(*[]byte)) {
	for a := range avpCount {
		if field := m.bytesField(a); field != nil && len(*field) > 0 {
			f(field)
		}
	}
	f(&m.Q931.Advisory)
	f(&m.PPPDisconnect.Message)
	if m.Line != nil {
		f(&m.Line.AgentCircuitID)
		f(&m.Line.AgentRemoteID)
	}
	for i := range m.Extra {
		f(&m.Extra[i].Value)
	}
}
