package l2tp

// tunnelInput is what can happen to a control connection.
type tunnelInput uint8

const (
	inOpen     tunnelInput = iota // local open request
	inSCCRQ                       // an acceptable one, as are the next two
	inSCCRP                       //
	inSCCCN                       //
	inBadSCCRQ                    // version, authentication or content not acceptable
	inBadSCCRP                    //
	inBadSCCCN                    //
	inStopCCN                     // from the peer
	inCall                        // a call message
	inBad                         // a message that clears the control connection
	inClose                       // administrative close, or a failure here
	inTieWon                      // the peer's SCCRQ crossed ours, whose tie breaker wins
	inTieLost                     // or does not
	tunnelInputs
)

// tunnelAction is what a step of the control connection does.
type tunnelAction uint8

const (
	actIgnore    tunnelAction = iota
	actSendSCCRQ              //
	actSendSCCRP              //
	actSendSCCCN              // and up
	actUp                     //
	actCall                   // hand the call message to the owner
	actSendStop               // send StopCCN, clean up
	actCleanUp                // acknowledge, clean up
	actDiscard                // clean up, silently
)

// tunnelStep is one cell: what to do, and the state after it.
type tunnelStep struct {
	action tunnelAction
	next   TunnelState
}

// tunnelTable is RFC 2661 section 7.2.1. The RFC's idle is two states here:
// TunnelIdle before the connection, TunnelStopping after it, so that a StopCCN
// can be repeated and acknowledged (section 5.7). Cells that the RFC leaves out
// are a message out of place, which clears the connection. An SCCRQ for this
// very tunnel in wait-ctl-reply is such a cell; one that crosses ours goes to id 0,
// and its owner asks Collide, for the two connections are two Tunnels.
var tunnelTable = [...][tunnelInputs]tunnelStep{
	TunnelIdle: {
		inOpen:     {actSendSCCRQ, TunnelWaitReply},
		inSCCRQ:    {actSendSCCRP, TunnelWaitConn},
		inSCCRP:    {actSendStop, TunnelStopping},
		inSCCCN:    {actCleanUp, TunnelStopping},
		inBadSCCRQ: {actSendStop, TunnelStopping},
		inBadSCCRP: {actSendStop, TunnelStopping},
		inBadSCCCN: {actCleanUp, TunnelStopping},
		inStopCCN:  {actCleanUp, TunnelStopping},
		inCall:     {actCleanUp, TunnelStopping},
		inBad:      {actCleanUp, TunnelStopping},
		inClose:    {actCleanUp, TunnelStopping},
		inTieWon:   {actIgnore, TunnelIdle},
		inTieLost:  {actIgnore, TunnelIdle},
	},
	TunnelWaitReply: {
		inOpen:     {actIgnore, TunnelWaitReply},
		inSCCRQ:    {actSendStop, TunnelStopping},
		inSCCRP:    {actSendSCCCN, TunnelEstablished},
		inSCCCN:    {actSendStop, TunnelStopping},
		inBadSCCRQ: {actSendStop, TunnelStopping},
		inBadSCCRP: {actSendStop, TunnelStopping},
		inBadSCCCN: {actSendStop, TunnelStopping},
		inStopCCN:  {actCleanUp, TunnelStopping},
		inCall:     {actSendStop, TunnelStopping},
		inBad:      {actSendStop, TunnelStopping},
		inClose:    {actSendStop, TunnelStopping},
		inTieWon:   {actIgnore, TunnelWaitReply},
		inTieLost:  {actDiscard, TunnelStopping},
	},
	TunnelWaitConn: {
		inOpen:     {actIgnore, TunnelWaitConn},
		inSCCRQ:    {actSendStop, TunnelStopping},
		inSCCRP:    {actSendStop, TunnelStopping},
		inSCCCN:    {actUp, TunnelEstablished},
		inBadSCCRQ: {actSendStop, TunnelStopping},
		inBadSCCRP: {actSendStop, TunnelStopping},
		inBadSCCCN: {actSendStop, TunnelStopping},
		inStopCCN:  {actCleanUp, TunnelStopping},
		inCall:     {actSendStop, TunnelStopping},
		inBad:      {actSendStop, TunnelStopping},
		inClose:    {actSendStop, TunnelStopping},
		inTieWon:   {actIgnore, TunnelWaitConn},
		inTieLost:  {actIgnore, TunnelWaitConn},
	},
	TunnelEstablished: {
		inOpen:     {actIgnore, TunnelEstablished},
		inSCCRQ:    {actSendStop, TunnelStopping},
		inSCCRP:    {actSendStop, TunnelStopping},
		inSCCCN:    {actSendStop, TunnelStopping},
		inBadSCCRQ: {actSendStop, TunnelStopping},
		inBadSCCRP: {actSendStop, TunnelStopping},
		inBadSCCCN: {actSendStop, TunnelStopping},
		inStopCCN:  {actCleanUp, TunnelStopping},
		inCall:     {actCall, TunnelEstablished},
		inBad:      {actSendStop, TunnelStopping},
		inClose:    {actSendStop, TunnelStopping},
		inTieWon:   {actIgnore, TunnelEstablished},
		inTieLost:  {actIgnore, TunnelEstablished},
	},
	// Whatever still comes is acknowledged by Control and has no meaning.
	TunnelStopping: {
		inOpen:     {actIgnore, TunnelStopping},
		inSCCRQ:    {actIgnore, TunnelStopping},
		inSCCRP:    {actIgnore, TunnelStopping},
		inSCCCN:    {actIgnore, TunnelStopping},
		inBadSCCRQ: {actIgnore, TunnelStopping},
		inBadSCCRP: {actIgnore, TunnelStopping},
		inBadSCCCN: {actIgnore, TunnelStopping},
		inStopCCN:  {actIgnore, TunnelStopping},
		inCall:     {actIgnore, TunnelStopping},
		inBad:      {actIgnore, TunnelStopping},
		inClose:    {actIgnore, TunnelStopping},
		inTieWon:   {actIgnore, TunnelStopping},
		inTieLost:  {actIgnore, TunnelStopping},
	},
}

var tunnelStateNames = [...]string{
	TunnelIdle: "idle", TunnelWaitReply: "wait-ctl-reply", TunnelWaitConn: "wait-ctl-conn",
	TunnelEstablished: "established", TunnelStopping: "stopping",
}

// String returns the RFC's name of the state.
func (s TunnelState) String() string { return nameOf(tunnelStateNames[:], uint16(s)) }
