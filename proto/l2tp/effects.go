package l2tp

// Effects collects what one or more steps want done. The caller sends Packets
// and acts on Events, in their order, then calls Reset and uses it again; once
// it has grown, steps allocate nothing.
type Effects struct {
	// Packets are whole datagrams for the peer. They alias the Effects and are
	// valid until Reset.
	Packets [][]byte
	// Events are what the owner of the tunnel is told.
	Events []Event

	// arena holds the packets' bytes. When it grows, packets made before stay
	// where they are.
	arena []byte
}

// Reset forgets packets and events and keeps the memory.
func (fx *Effects) Reset() {
	fx.Packets = fx.Packets[:0]
	fx.Events = fx.Events[:0]
	fx.arena = fx.arena[:0]
}

// EventKind says what an Event tells.
type EventKind uint8

// Kinds of events.
const (
	// EventUp: the control connection is established. Calls may be sent. For the
	// LNS, Message is the SCCCN; for the LAC, the SCCRP.
	EventUp EventKind = iota + 1
	// EventDown: the control connection has ended and so have all its sessions,
	// silently; see Result, Local and Reason. It comes once per Tunnel, and
	// nothing follows it. The Tunnel lingers until Done.
	EventDown
	// EventMessage: a call message (OCRQ to SLI), FSQ, FSR, CSUN or CSURQ came in, in
	// order.
	EventMessage
	// EventBadMessage: a call message came in that must end its session; Err says
	// why. Where SessionID is not 0, the owner ends that session by a CDN with
	// Result. Where it is 0, in an ICRQ, the Tunnel has answered already.
	EventBadMessage
)

// Reason says why a control connection has ended.
type Reason uint8

// Reasons of EventDown.
const (
	ReasonLocal    Reason = iota + 1 // Stop was called
	ReasonPeer                       // the peer sent StopCCN
	ReasonTimeout                    // the peer does not acknowledge
	ReasonAuth                       // challenge and response do not match, or are missing
	ReasonVersion                    // the peer speaks another protocol version
	ReasonProtocol                   // a message that is malformed or out of place
	ReasonOverflow                   // the send queue is full: the peer acknowledges too slowly
	ReasonTie                        // the peer's SCCRQ crossed ours and won (Tunnel.Collide)
	ReasonRecovery                   // its recovery failed (Tunnel.Abandon, RFC 4951)
)

var reasonNames = [...]string{
	ReasonLocal: "local", ReasonPeer: "peer", ReasonTimeout: "timeout", ReasonAuth: "authentication",
	ReasonVersion: "version", ReasonProtocol: "protocol error", ReasonOverflow: "send queue full", ReasonTie: "tie breaker",
	ReasonRecovery: "recovery failed",
}

// String returns the reason in a word or two.
func (r Reason) String() string { return nameOf(reasonNames[:], uint16(r)) }

// Event is one thing the owner of a tunnel is told.
type Event struct {
	Kind EventKind
	// Local: EventDown was decided here, not by the peer's StopCCN.
	Local  bool
	Reason Reason
	// SessionID is the id in the header of the message: ours, or 0 in an ICRQ.
	SessionID uint16
	// Result is what the StopCCN said, whoever sent it, or what the CDN should say
	// (EventBadMessage).
	Result Result
	// Err is what was wrong, where something was: always a *MessageError for
	// EventBadMessage; may be nil for EventDown.
	Err error
	// Message aliases the datagram given to Receive; Clone it to keep it. It is
	// valid until the datagram's buffer is reused or the Effects are Reset,
	// whichever comes first.
	Message Message
}

// packet adds a datagram made of a control header and a body.
func (fx *Effects) packet(h Header, body []byte) {
	from := len(fx.arena)
	fx.arena = append(h.Append(fx.arena), body...)
	p := fx.arena[from:len(fx.arena):len(fx.arena)]
	PutLength(p)
	fx.Packets = append(fx.Packets, p)
}

// event adds an event and returns it to be filled in. It keeps the buffers of
// the Message that the place held before. The pointer is good until the next
// event.
func (fx *Effects) event() *Event {
	n := len(fx.Events)
	if n == cap(fx.Events) {
		fx.Events = append(fx.Events, Event{})
		return &fx.Events[n]
	}
	fx.Events = fx.Events[:n+1]
	e := &fx.Events[n]
	e.Message.Reset()
	e.Kind, e.Local, e.Reason, e.SessionID, e.Result, e.Err = 0, false, 0, 0, Result{}, nil
	return e
}

// drop takes back the last event.
func (fx *Effects) drop() { fx.Events = fx.Events[:len(fx.Events)-1] }

// reuse takes the place after the last event as it stands, with the Message
// that was parsed into it and then dropped.
func (fx *Effects) reuse() *Event {
	fx.Events = fx.Events[:len(fx.Events)+1]
	return &fx.Events[len(fx.Events)-1]
}
