package ppp

// State is a state of the automaton (RFC 1661 section 4.2).
type State uint8

// The states, with the RFC's numbers.
const (
	Initial State = iota
	Starting
	Closed
	Stopped
	Closing
	Stopping
	ReqSent
	AckRcvd
	AckSent
	Opened
	numStates
)

// String gives the state's name in the RFC.
func (s State) String() string {
	return [...]string{"Initial", "Starting", "Closed", "Stopped", "Closing", "Stopping",
		"Req-Sent", "Ack-Rcvd", "Ack-Sent", "Opened", "unknown"}[min(s, numStates)]
}

// Event is an event of the automaton (RFC 1661 section 4.3).
type Event uint8

// The events, in the table's order. TOPlus and TOMinus come from Timeout
// only; the good and bad Configure-Request and Code- or Protocol-Reject are
// told apart by their receiver.
const (
	Up Event = iota
	Down
	Open
	Close
	TOPlus
	TOMinus
	RCRPlus
	RCRMinus
	RCA
	RCN
	RTR
	RTA
	RUC
	RXJPlus
	RXJMinus
	RXR
	numEvents
)

// String gives the event's name in the RFC's table.
func (e Event) String() string {
	return [...]string{"Up", "Down", "Open", "Close", "TO+", "TO-", "RCR+", "RCR-", "RCA", "RCN",
		"RTR", "RTA", "RUC", "RXJ+", "RXJ-", "RXR", "unknown"}[min(e, numEvents)]
}

// Actions is a set of actions (RFC 1661 section 4.4). Wherever the table
// lists more than one, their order is that of the bits, from the lowest.
type Actions uint16

// The actions. The automaton does IRC and ZRC itself; the others are its owner's.
const (
	TLD Actions = 1 << iota // This-Layer-Down
	IRC                     // Initialize-Restart-Count
	ZRC                     // Zero-Restart-Count
	SCR                     // Send-Configure-Request
	STR                     // Send-Terminate-Request
	SCA                     // Send-Configure-Ack
	SCN                     // Send-Configure-Nak, or -Reject
	STA                     // Send-Terminate-Ack
	SCJ                     // Send-Code-Reject
	SER                     // Send-Echo-Reply
	TLS                     // This-Layer-Started
	TLF                     // This-Layer-Finished
	TLU                     // This-Layer-Up
)

// transition is one cell of the table.
type transition struct {
	actions Actions
	next    State
	// valid is unset where the RFC prints a dash: the event cannot happen.
	valid bool
}

// to is a cell that only changes the state, do one that acts as well.
func to(next State) transition                  { return transition{next: next, valid: true} }
func do(actions Actions, next State) transition { return transition{actions, next, true} }

// table is the table of RFC 1661 section 4.1. Its options are settled so:
// r (restart) and p (passive) are not taken; x, the crossed connection, is
// as printed.
var table = [numEvents][numStates]transition{
	Up: {Initial: to(Closed), Starting: do(IRC|SCR, ReqSent)},
	Down: {
		Closed: to(Initial), Stopped: do(TLS, Starting), Closing: to(Initial), Stopping: to(Starting),
		ReqSent: to(Starting), AckRcvd: to(Starting), AckSent: to(Starting), Opened: do(TLD, Starting),
	},
	Open: {
		do(TLS, Starting), to(Starting), do(IRC|SCR, ReqSent), to(Stopped), to(Stopping), to(Stopping),
		to(ReqSent), to(AckRcvd), to(AckSent), to(Opened),
	},
	Close: {
		to(Initial), do(TLF, Initial), to(Closed), to(Closed), to(Closing), to(Closing),
		do(IRC|STR, Closing), do(IRC|STR, Closing), do(IRC|STR, Closing), do(TLD|IRC|STR, Closing),
	},
	TOPlus: {
		Closing: do(STR, Closing), Stopping: do(STR, Stopping),
		ReqSent: do(SCR, ReqSent), AckRcvd: do(SCR, ReqSent), AckSent: do(SCR, AckSent),
	},
	TOMinus: {
		Closing: do(TLF, Closed), Stopping: do(TLF, Stopped),
		ReqSent: do(TLF, Stopped), AckRcvd: do(TLF, Stopped), AckSent: do(TLF, Stopped),
	},
	RCRPlus: {
		Closed: do(STA, Closed), Stopped: do(IRC|SCR|SCA, AckSent), Closing: to(Closing), Stopping: to(Stopping),
		ReqSent: do(SCA, AckSent), AckRcvd: do(SCA|TLU, Opened), AckSent: do(SCA, AckSent), Opened: do(TLD|SCR|SCA, AckSent),
	},
	RCRMinus: {
		Closed: do(STA, Closed), Stopped: do(IRC|SCR|SCN, ReqSent), Closing: to(Closing), Stopping: to(Stopping),
		ReqSent: do(SCN, ReqSent), AckRcvd: do(SCN, AckRcvd), AckSent: do(SCN, ReqSent), Opened: do(TLD|SCR|SCN, ReqSent),
	},
	RCA: {
		Closed: do(STA, Closed), Stopped: do(STA, Stopped), Closing: to(Closing), Stopping: to(Stopping),
		ReqSent: do(IRC, AckRcvd), AckRcvd: do(SCR, ReqSent), AckSent: do(IRC|TLU, Opened), Opened: do(TLD|SCR, ReqSent),
	},
	RCN: {
		Closed: do(STA, Closed), Stopped: do(STA, Stopped), Closing: to(Closing), Stopping: to(Stopping),
		ReqSent: do(IRC|SCR, ReqSent), AckRcvd: do(SCR, ReqSent), AckSent: do(IRC|SCR, AckSent), Opened: do(TLD|SCR, ReqSent),
	},
	RTR: {
		Closed: do(STA, Closed), Stopped: do(STA, Stopped), Closing: do(STA, Closing), Stopping: do(STA, Stopping),
		ReqSent: do(STA, ReqSent), AckRcvd: do(STA, ReqSent), AckSent: do(STA, ReqSent), Opened: do(TLD|ZRC|STA, Stopping),
	},
	RTA: {
		Closed: to(Closed), Stopped: to(Stopped), Closing: do(TLF, Closed), Stopping: do(TLF, Stopped),
		ReqSent: to(ReqSent), AckRcvd: to(ReqSent), AckSent: to(AckSent), Opened: do(TLD|SCR, ReqSent),
	},
	RUC: {
		Closed: do(SCJ, Closed), Stopped: do(SCJ, Stopped), Closing: do(SCJ, Closing), Stopping: do(SCJ, Stopping),
		ReqSent: do(SCJ, ReqSent), AckRcvd: do(SCJ, AckRcvd), AckSent: do(SCJ, AckSent), Opened: do(SCJ, Opened),
	},
	RXJPlus: {
		Closed: to(Closed), Stopped: to(Stopped), Closing: to(Closing), Stopping: to(Stopping),
		ReqSent: to(ReqSent), AckRcvd: to(ReqSent), AckSent: to(AckSent), Opened: to(Opened),
	},
	RXJMinus: {
		Closed: do(TLF, Closed), Stopped: do(TLF, Stopped), Closing: do(TLF, Closed), Stopping: do(TLF, Stopped),
		ReqSent: do(TLF, Stopped), AckRcvd: do(TLF, Stopped), AckSent: do(TLF, Stopped), Opened: do(TLD|IRC|STR, Stopping),
	},
	RXR: {
		Closed: to(Closed), Stopped: to(Stopped), Closing: to(Closing), Stopping: to(Stopping),
		ReqSent: to(ReqSent), AckRcvd: to(AckRcvd), AckSent: to(AckSent), Opened: do(SER, Opened),
	},
}
