package l2tp

import (
	"iter"
	"slices"
)

// Clone returns a copy that shares nothing with m. All its octets are in one
// allocation.
func (m *Message) Clone() (c Message) {
	m.CloneTo(&c)
	return c
}

// CloneTo is Clone into a message that there is already, whose content is lost.
func (m *Message) CloneTo(c *Message) {
	*c = *m
	c.line, c.scratch = nil, nil
	c.SpeedUpdates = slices.Clone(m.SpeedUpdates)
	c.SessionStates = slices.Clone(m.SessionStates)
	c.Extra = slices.Clone(m.Extra)
	if m.Line != nil {
		line := *m.Line
		c.Line = &line
	}
	total := 0
	for i := range c.strings() {
		total += len(*c.octets(i))
	}
	room := make([]byte, 0, total)
	for i := range c.strings() {
		if field := c.octets(i); *field != nil {
			from := len(room)
			room = append(room, *field...)
			*field = room[from:len(room):len(room)]
		}
	}
}

// strings yields the numbers of the fields that are strings of octets.
func (m *Message) strings() iter.Seq[int] {
	return func(yield func(int) bool) {
		for _, i := range fixedStrings {
			if (m.Line != nil || i < lineStrings) && !yield(i) {
				return
			}
		}
		for i := range m.Extra {
			if !yield(extraStrings + i) {
				return
			}
		}
	}
}

// Numbers of strings of octets that are in a Line, and in Extra.
const (
	lineStrings  = int(avpCount) + 2
	extraStrings = int(avpCount) + 4
)

// fixedStrings are the numbers of all such fields but those of Extra.
var fixedStrings = func() (list []int) {
	m := Message{Line: new(AccessLine)}
	for i := range extraStrings {
		if m.octets(i) != nil {
			list = append(list, i)
		}
	}
	return list
}()

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
