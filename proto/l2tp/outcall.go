package l2tp

// NewOutCall returns an idle outgoing call: the LNS asks a LAC to call a
// subscriber (RFC 2661 section 7.5). localID is not 0 and not in use. In either
// role Call's methods are the same as for an incoming call, with OCRQ, OCRP and
// OCCN in the place of ICRQ, ICRP and ICCN: the LNS dials, and the LAC says by
// Answer that the subscriber has answered.
func NewOutCall(role Role, localID uint16) Call {
	return Call{role: role, localID: localID, out: true}
}

// Outgoing says that the LNS asked for the call.
func (c *Call) Outgoing() bool { return c.out }

// Answer says that the bearer call of an outgoing call is up and its framing
// known, LAC only: occn is completed with its type and becomes fx.Send; nil means a
// minimal one. A bearer call that fails is Close's.
func (c *Call) Answer(occn *Message, fx *CallEffects) {
	if !c.out {
		fx.Reset()
		return
	}
	c.outStep(outAnswer, nil, occn, Result{}, fx)
}

// receiveOut is Receive for an outgoing call.
func (c *Call) receiveOut(m, answer *Message, fx *CallEffects) {
	switch m.Type {
	case MessageOCRQ:
		c.outStep(outOCRQ, m, answer, outOfPlaceCDN, fx)
	case MessageOCRP:
		c.outStep(outOCRP, m, nil, outOfPlaceCDN, fx)
	case MessageOCCN:
		c.outStep(outOCCN, m, nil, outOfPlaceCDN, fx)
	case MessageCDN:
		c.outStep(outCDN, m, nil, m.Result, fx)
	default:
		fx.Reset()
	}
}

// outStep looks its cell up in the table and does what it says.
func (c *Call) outStep(in outInput, m, answer *Message, r Result, fx *CallEffects) {
	fx.Reset()
	cell := outTable[c.role][c.state][in]
	c.state = cell.next
	c.act(cell.action, m, answer, r, in != outCDN, fx)
}
