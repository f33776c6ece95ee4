package l2tp

import "strconv"

// Vendor ids of the AVPs known here.
const (
	VendorIETF     uint16 = 0
	VendorDSLForum uint16 = 3561 // RFC 5515
)

// AVP names one attribute that a Message may hold. It is an index, not the
// number on the wire; see Attribute for that.
type AVP uint8

// The AVPs of RFC 2661, in the order of their attribute types, then those of
// later RFCs.
const (
	AVPMessageType AVP = iota
	AVPResultCode
	AVPProtocolVersion
	AVPFramingCap
	AVPBearerCap
	AVPTieBreaker
	AVPFirmwareRevision
	AVPHostName
	AVPVendorName
	AVPAssignedTunnelID
	AVPReceiveWindow
	AVPChallenge
	AVPQ931Cause
	AVPChallengeResponse
	AVPAssignedSessionID
	AVPCallSerial
	AVPMinimumBPS
	AVPMaximumBPS
	AVPBearerType
	AVPFramingType
	avpReserved20
	AVPCalledNumber
	AVPCallingNumber
	AVPSubAddress
	AVPTxSpeed
	AVPPhysicalChannel
	AVPInitialLCP
	AVPLastSentLCP
	AVPLastReceivedLCP
	AVPProxyAuthType
	AVPProxyAuthName
	AVPProxyAuthChallenge
	AVPProxyAuthID
	AVPProxyAuthResponse
	AVPCallErrors
	AVPACCM
	AVPRandomVector
	AVPPrivateGroup
	AVPRxSpeed
	AVPSequencingRequired
	AVPPPPDisconnect      // 46, RFC 3145
	AVPTxSpeed64          // 74, RFC 3931 and RFC 5515
	AVPRxSpeed64          // 75
	AVPFailoverCapability // 76, RFC 4951
	AVPTunnelRecovery     // 77
	AVPSuggestedSequence  // 78
	AVPSessionState       // 79; may be there many times
	AVPSpeedUpdate        // 97, RFC 5515; may be there many times
	AVPSpeedUpdateEnable  // 98
	avpCount
	avpUnknown AVP = 0xff
)

// Attribute returns the attribute type of the AVP on the wire, under
// VendorIETF.
func (a AVP) Attribute() uint16 {
	if a < avpCount {
		return avps[a].attribute
	}
	return 0xffff
}

// String returns the RFC's name of the AVP.
func (a AVP) String() string {
	if a < avpCount {
		return avps[a].name
	}
	return "AVP " + strconv.Itoa(int(a))
}

// avpSpec is what is known of an AVP before looking at its value.
type avpSpec struct {
	attribute uint16
	name      string
	// min and max bound the value's length in octets.
	min, max int
	// mandatory is the M bit as the RFC wants it sent. It is not checked on
	// receipt: peers get it wrong both ways, and for a known AVP it says only
	// what a malformed value means.
	mandatory bool
	// hide says that the RFC lets the AVP be hidden.
	hide bool
}

// maxValue is the longest value that the 10-bit length of an AVP can hold.
const maxValue = maxAVP - avpHeader

const (
	avpHeader = 6
	maxAVP    = 1023
)

const (
	must, may   = true, false // the M bit
	clear, hide = false, true // the H bit
)

var avps = [avpCount]avpSpec{
	AVPMessageType:        {0, "Message Type", 2, 2, must, clear},
	AVPResultCode:         {1, "Result Code", 2, maxValue, must, clear},
	AVPProtocolVersion:    {2, "Protocol Version", 2, 2, must, clear},
	AVPFramingCap:         {3, "Framing Capabilities", 4, 4, must, hide},
	AVPBearerCap:          {4, "Bearer Capabilities", 4, 4, must, hide},
	AVPTieBreaker:         {5, "Tie Breaker", 8, 8, may, clear},
	AVPFirmwareRevision:   {6, "Firmware Revision", 2, 2, may, hide},
	AVPHostName:           {7, "Host Name", 0, maxValue, must, clear},
	AVPVendorName:         {8, "Vendor Name", 0, maxValue, may, hide},
	AVPAssignedTunnelID:   {9, "Assigned Tunnel ID", 2, 2, must, hide},
	AVPReceiveWindow:      {10, "Receive Window Size", 2, 2, must, clear},
	AVPChallenge:          {11, "Challenge", 1, maxValue, must, hide},
	AVPQ931Cause:          {12, "Q.931 Cause Code", 3, maxValue, must, clear},
	AVPChallengeResponse:  {13, "Challenge Response", 16, 16, must, hide},
	AVPAssignedSessionID:  {14, "Assigned Session ID", 2, 2, must, hide},
	AVPCallSerial:         {15, "Call Serial Number", 4, 4, must, hide},
	AVPMinimumBPS:         {16, "Minimum BPS", 4, 4, must, hide},
	AVPMaximumBPS:         {17, "Maximum BPS", 4, 4, must, hide},
	AVPBearerType:         {18, "Bearer Type", 4, 4, must, hide},
	AVPFramingType:        {19, "Framing Type", 4, 4, must, hide},
	avpReserved20:         {20, "Reserved", 0, maxValue, may, clear},
	AVPCalledNumber:       {21, "Called Number", 0, maxValue, must, hide},
	AVPCallingNumber:      {22, "Calling Number", 0, maxValue, must, hide},
	AVPSubAddress:         {23, "Sub-Address", 0, maxValue, must, hide},
	AVPTxSpeed:            {24, "(Tx) Connect Speed", 4, 4, must, hide},
	AVPPhysicalChannel:    {25, "Physical Channel ID", 4, 4, may, hide},
	AVPInitialLCP:         {26, "Initial Received LCP CONFREQ", 0, maxValue, may, hide},
	AVPLastSentLCP:        {27, "Last Sent LCP CONFREQ", 0, maxValue, may, hide},
	AVPLastReceivedLCP:    {28, "Last Received LCP CONFREQ", 0, maxValue, may, hide},
	AVPProxyAuthType:      {29, "Proxy Authen Type", 2, 2, may, hide},
	AVPProxyAuthName:      {30, "Proxy Authen Name", 0, maxValue, may, hide},
	AVPProxyAuthChallenge: {31, "Proxy Authen Challenge", 0, maxValue, may, hide},
	AVPProxyAuthID:        {32, "Proxy Authen ID", 2, 2, may, hide},
	AVPProxyAuthResponse:  {33, "Proxy Authen Response", 0, maxValue, may, hide},
	AVPCallErrors:         {34, "Call Errors", 26, 26, must, hide},
	AVPACCM:               {35, "ACCM", 10, 10, must, hide},
	AVPRandomVector:       {36, "Random Vector", 0, maxValue, must, clear},
	AVPPrivateGroup:       {37, "Private Group ID", 0, maxValue, may, hide},
	AVPRxSpeed:            {38, "Rx Connect Speed", 4, 4, may, hide},
	AVPSequencingRequired: {39, "Sequencing Required", 0, 0, must, clear},
	AVPPPPDisconnect:      {46, "PPP Disconnect Cause Code", 5, maxValue, may, hide},
	AVPTxSpeed64:          {74, "Tx Connect Speed BPS", 8, 8, may, hide},
	AVPRxSpeed64:          {75, "Rx Connect Speed BPS", 8, 8, may, hide},
	AVPFailoverCapability: {76, "Failover Capability", 6, 6, may, hide},
	AVPTunnelRecovery:     {77, "Tunnel Recovery", 10, 10, must, clear},
	AVPSuggestedSequence:  {78, "Suggested Control Sequence", 6, 6, may, hide},
	AVPSessionState:       {79, "Failover Session State", 10, 10, must, hide},
	AVPSpeedUpdate:        {97, "Connect Speed Update", 12, 12, may, hide},
	AVPSpeedUpdateEnable:  {98, "Connect Speed Update Enable", 0, 0, may, hide},
}

// findAVP returns the index of an IETF attribute type, or avpUnknown.
func findAVP(attribute uint16) AVP {
	switch {
	case attribute == avps[avpReserved20].attribute:
		return avpUnknown
	case attribute <= avps[AVPSequencingRequired].attribute:
		return AVP(attribute)
	}
	for a := AVPPPPDisconnect; a < avpCount; a++ {
		if avps[a].attribute == attribute {
			return a
		}
	}
	return avpUnknown
}
