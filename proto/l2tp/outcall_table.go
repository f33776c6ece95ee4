package l2tp

// outInput is what can happen to an outgoing call.
type outInput uint8

const (
	outDial   outInput = iota // LNS: the tunnel is open, ask for the call
	outOCRQ                   // an acceptable one
	outOCRP                   // an acceptable one
	outOCCN                   //
	outBad                    // an OCRQ (LAC) or OCRP (LNS) that is refused
	outAnswer                 // LAC: the bearer call is answered, framing is detected
	outCDN                    //
	outClose                  // local close request; LAC: the bearer call fails or is lost
	outInputs
)

// outTable is RFC 2661 section 7.5.1 (LAC) and 7.5.2 (LNS). As in callTable, the
// RFC's idle is CallIdle before the call and CallDown after it, and cells of
// wait-tunnel are in CallIdle. Cells that the RFC leaves out are a message out of place.
var outTable = [2][callStates][outInputs]callStep{
	RoleLAC: {
		CallIdle: {
			outDial:   {callIgnore, CallIdle},
			outOCRQ:   {callSendOCRP, CallWaitAnswer},
			outOCRP:   {callSendCDN, CallDown},
			outOCCN:   {callCleanUp, CallDown},
			outBad:    {callSendCDN, CallDown},
			outAnswer: {callIgnore, CallIdle},
			outCDN:    {callCleanUp, CallDown},
			outClose:  {callCleanUp, CallDown},
		},
		CallWaitReply:   outIgnoreAll(CallWaitReply),   // not a state of the LAC
		CallWaitConnect: outIgnoreAll(CallWaitConnect), // not a state of the LAC
		CallEstablished: outEstablished,
		CallDown:        outIgnoreAll(CallDown),
		CallWaitAnswer: {
			outDial:   {callIgnore, CallWaitAnswer},
			outOCRQ:   {callSendCDN, CallDown},
			outOCRP:   {callSendCDN, CallDown},
			outOCCN:   {callSendCDN, CallDown},
			outBad:    {callSendCDN, CallDown},
			outAnswer: {callSendOCCN, CallEstablished},
			outCDN:    {callCleanUp, CallDown},
			outClose:  {callSendCDN, CallDown},
		},
	},
	RoleLNS: {
		CallIdle: {
			outDial:   {callSendOCRQ, CallWaitReply},
			outOCRQ:   {callIgnore, CallIdle},
			outOCRP:   {callCleanUp, CallDown},
			outOCCN:   {callCleanUp, CallDown},
			outBad:    {callIgnore, CallIdle},
			outAnswer: {callIgnore, CallIdle},
			outCDN:    {callCleanUp, CallDown},
			outClose:  {callCleanUp, CallDown},
		},
		CallWaitReply: {
			outDial:   {callIgnore, CallWaitReply},
			outOCRQ:   {callSendCDN, CallDown},
			outOCRP:   {callTakeOCRP, CallWaitConnect},
			outOCCN:   {callSendCDN, CallDown},
			outBad:    {callSendCDN, CallDown},
			outAnswer: {callIgnore, CallWaitReply},
			outCDN:    {callCleanUp, CallDown},
			outClose:  {callSendCDN, CallDown},
		},
		CallWaitConnect: {
			outDial:   {callIgnore, CallWaitConnect},
			outOCRQ:   {callSendCDN, CallDown},
			outOCRP:   {callSendCDN, CallDown},
			outOCCN:   {callUp, CallEstablished},
			outBad:    {callSendCDN, CallDown},
			outAnswer: {callIgnore, CallWaitConnect},
			outCDN:    {callCleanUp, CallDown},
			outClose:  {callSendCDN, CallDown},
		},
		CallEstablished: outEstablished,
		CallDown:        outIgnoreAll(CallDown),
		CallWaitAnswer:  outIgnoreAll(CallWaitAnswer), // not a state of the LNS
	},
}

// outEstablished is the same at both ends.
var outEstablished = [outInputs]callStep{
	outDial:   {callIgnore, CallEstablished},
	outOCRQ:   {callSendCDN, CallDown},
	outOCRP:   {callSendCDN, CallDown},
	outOCCN:   {callSendCDN, CallDown},
	outBad:    {callSendCDN, CallDown},
	outAnswer: {callIgnore, CallEstablished},
	outCDN:    {callCleanUp, CallDown},
	outClose:  {callSendCDN, CallDown},
}

func outIgnoreAll(s CallState) (row [outInputs]callStep) {
	for i := range row {
		row[i] = callStep{callIgnore, s}
	}
	return row
}
