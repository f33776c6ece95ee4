package lns

import (
	"errors"
	"fmt"

	"culvert/lns/dataplane"
	"culvert/lns/link"
	"culvert/proto/l2tp"
)

// The values of LACProfile.Sequencing: when data messages of its calls are numbered
// (RFC 2661 section 5.4). A LAC that wants numbers (Sequencing Required AVP) always gets
// them; without that the LNS decides, and the LAC does as the latest data message does.
const (
	// SequencingRequired numbers nothing but what a LAC wants numbered.
	SequencingRequired = "required"
	// SequencingNegotiation numbers until PPP is up, and again when it renegotiates, as
	// the RFC recommends: PPP's negotiation minds its order, IP does not.
	SequencingNegotiation = "negotiation"
	// SequencingAlways numbers from the first data message to the last.
	SequencingAlways = "always"
)

// checkSequencing says what is wrong with a profile's numbering of data messages.
func (p *LACProfile) checkSequencing() error {
	var errs []error
	switch p.Sequencing {
	case "", SequencingRequired, SequencingNegotiation, SequencingAlways:
	default:
		errs = append(errs, fmt.Errorf("sequencing: %q is not one of %s, %s, %s", p.Sequencing, SequencingRequired, SequencingNegotiation, SequencingAlways))
	}
	if p.ReorderPackets < 0 || p.ReorderPackets > dataplane.MaxReorderPackets {
		errs = append(errs, fmt.Errorf("reorder_packets: %d is not between 0 and %d (0 waits for none)", p.ReorderPackets, dataplane.MaxReorderPackets))
	}
	if p.ReorderPackets > 0 && (p.ReorderTime < dataplane.MinReorderTime || p.ReorderTime > dataplane.MaxReorderTime) {
		errs = append(errs, fmt.Errorf("reorder_time: %v is not between %v and %v", p.ReorderTime, dataplane.MinReorderTime, dataplane.MaxReorderTime))
	}
	return errors.Join(errs...)
}

// sequencing is what a session keeps of its numbering. Most sessions have none.
type sequencing struct {
	*dataplane.Sequence
	// required: the LAC wants numbers, and the LNS may not leave them out.
	required bool
}

// newSequencing is the numbering of a call that its ICCN, or OCCN, connects; nil for none.
// A LAC that numbers its data unasked is minded only where the profile says anything
// of order: elsewhere what it sends is taken as it comes.
func newSequencing(p *LACProfile, m *l2tp.Message) *sequencing {
	own := p.Sequencing == SequencingNegotiation || p.Sequencing == SequencingAlways
	if !m.SequencingRequired && !own && p.ReorderPackets == 0 {
		return nil
	}
	c := dataplane.SequenceConfig{Packets: p.ReorderPackets, Time: p.ReorderTime}
	return &sequencing{Sequence: dataplane.NewSequence(c, m.SequencingRequired || own), required: m.SequencingRequired}
}

// number switches a session's numbering on or off, where that is for the LNS to do and
// the profile wants it.
func (s *session) number() {
	q := s.sequence
	if q != nil && !q.required && s.facts.profile.Sequencing == SequencingNegotiation {
		q.Number(s.link.Phase() != link.PhaseUp)
	}
}

// inOrder says whether a data message is to be acted on. The plane has minded the
// numbers of what it hands over of sessions that it knows.
func (s *session) inOrder(h *l2tp.Header) bool {
	return s.sequence == nil || !h.HasSequence || s.state == stateUp || s.sequence.Accept(h.Ns)
}

// planeSequence is the numbering that the plane shares, nil for none.
func (s *session) planeSequence() *dataplane.Sequence {
	if s.sequence == nil {
		return nil
	}
	return s.sequence.Sequence
}

// SequencingInfo is what an operator may see of a session's numbering of data messages.
type SequencingInfo struct {
	// Required: the LAC wants numbers. Numbered: what is sent now has them.
	Required, Numbered bool
	dataplane.SequenceStats
}

// sequencingInfo is nil for a session without numbering.
func (s *session) sequencingInfo() *SequencingInfo {
	if s.sequence == nil {
		return nil
	}
	return &SequencingInfo{Required: s.sequence.required, Numbered: s.sequence.Numbered(), SequenceStats: s.sequence.Stats()}
}
