package l2tp

// callInput is what can happen to an incoming call.
type callInput uint8

const (
	callDial  callInput = iota // LAC: the tunnel is open, place the call
	callICRQ                   // an acceptable one
	callICRP                   //
	callICCN                   //
	callBad                    // LNS: an ICRQ that is refused
	callCDN                    //
	callClose                  // local close request, or loss of carrier
	callInputs
)

// callAction is what a step of a call does.
type callAction uint8

const (
	callIgnore   callAction = iota
	callSendICRQ            //
	callSendICRP            //
	callSendICCN            // and up
	callUp                  //
	callSendCDN             // send CDN, clean up
	callCleanUp             //
	callSendOCRQ            //
	callSendOCRP            //
	callTakeOCRP            // learn the LAC's id
	callSendOCCN            // and up
)

// callStep is one cell: what to do, and the state after it.
type callStep struct {
	action callAction
	next   CallState
}

// callTable is RFC 2661 section 7.4.1 (LAC) and 7.4.2 (LNS). The RFC's idle is
// two states here: CallIdle before the call and CallDown after it. In CallDown
// everything is ignored: what still comes has crossed our CDN or the peer's.
// Cells of the RFC's wait-tunnel are in CallIdle: the owner waits for the
// tunnel, then dials. Cells that the RFC leaves out, such as an ICRQ to a LAC,
// are a message out of place.
var callTable = [2][CallDown + 1][callInputs]callStep{
	RoleLAC: {
		CallIdle: {
			callDial:  {callSendICRQ, CallWaitReply},
			callICRQ:  {callIgnore, CallIdle},
			callICRP:  {callCleanUp, CallDown},
			callICCN:  {callCleanUp, CallDown},
			callBad:   {callIgnore, CallIdle},
			callCDN:   {callCleanUp, CallDown},
			callClose: {callCleanUp, CallDown},
		},
		CallWaitReply: {
			callDial:  {callIgnore, CallWaitReply},
			callICRQ:  {callSendCDN, CallDown},
			callICRP:  {callSendICCN, CallEstablished},
			callICCN:  {callCleanUp, CallDown},
			callBad:   {callSendCDN, CallDown},
			callCDN:   {callCleanUp, CallDown},
			callClose: {callSendCDN, CallDown},
		},
		CallWaitConnect: ignoreAll(CallWaitConnect), // not a state of the LAC
		CallEstablished: {
			callDial:  {callIgnore, CallEstablished},
			callICRQ:  {callSendCDN, CallDown},
			callICRP:  {callSendCDN, CallDown},
			callICCN:  {callSendCDN, CallDown},
			callBad:   {callSendCDN, CallDown},
			callCDN:   {callCleanUp, CallDown},
			callClose: {callSendCDN, CallDown},
		},
		CallDown: ignoreAll(CallDown),
	},
	RoleLNS: {
		CallIdle: {
			callDial:  {callIgnore, CallIdle},
			callICRQ:  {callSendICRP, CallWaitConnect},
			callICRP:  {callSendCDN, CallDown},
			callICCN:  {callCleanUp, CallDown},
			callBad:   {callSendCDN, CallDown},
			callCDN:   {callCleanUp, CallDown},
			callClose: {callCleanUp, CallDown},
		},
		CallWaitReply: ignoreAll(CallWaitReply), // not a state of the LNS
		CallWaitConnect: {
			callDial:  {callIgnore, CallWaitConnect},
			callICRQ:  {callSendCDN, CallDown},
			callICRP:  {callSendCDN, CallDown},
			callICCN:  {callUp, CallEstablished},
			callBad:   {callSendCDN, CallDown},
			callCDN:   {callCleanUp, CallDown},
			callClose: {callSendCDN, CallDown},
		},
		CallEstablished: {
			callDial:  {callIgnore, CallEstablished},
			callICRQ:  {callSendCDN, CallDown},
			callICRP:  {callSendCDN, CallDown},
			callICCN:  {callSendCDN, CallDown},
			callBad:   {callSendCDN, CallDown},
			callCDN:   {callCleanUp, CallDown},
			callClose: {callSendCDN, CallDown},
		},
		CallDown: ignoreAll(CallDown),
	},
}

func ignoreAll(s CallState) (row [callInputs]callStep) {
	for i := range row {
		row[i] = callStep{callIgnore, s}
	}
	return row
}

var callStateNames = [...]string{
	CallIdle: "idle", CallWaitReply: "wait-reply", CallWaitConnect: "wait-connect",
	CallEstablished: "established", CallDown: "down", CallWaitAnswer: "wait-cs-answer",
}

// String returns the RFC's name of the state.
func (s CallState) String() string { return nameOf(callStateNames[:], uint16(s)) }
