package l2tp

import "strconv"

// ResultCode is the first number of the Result Code AVP (RFC 2661 section
// 4.4.2). StopCCN and CDN number their codes apart; only ResultGeneralError
// means the same in both.
type ResultCode uint16

// ResultGeneralError says that the Error Code names the trouble, in StopCCN
// and in CDN.
const ResultGeneralError ResultCode = 2

// Result codes of StopCCN.
const (
	StopGeneral       ResultCode = 1 // general request to clear the control connection
	StopExists        ResultCode = 3 // control connection already exists
	StopNotAuthorized ResultCode = 4 // requester is not authorized
	StopVersion       ResultCode = 5 // protocol version not supported; the error code is the highest supported
	StopShutdown      ResultCode = 6 // requester is being shut down
	StopFSM           ResultCode = 7 // finite state machine error
)

// Result codes of CDN.
const (
	CDNLostCarrier     ResultCode = 1  // call disconnected due to loss of carrier
	CDNAdministrative  ResultCode = 3  // call disconnected for administrative reasons
	CDNNoFacilities    ResultCode = 4  // lack of facilities, temporary
	CDNNoFacilitiesEnd ResultCode = 5  // lack of facilities, permanent
	CDNInvalidDest     ResultCode = 6  // invalid destination
	CDNNoCarrier       ResultCode = 7  // no carrier detected
	CDNBusy            ResultCode = 8  // busy signal
	CDNNoDialTone      ResultCode = 9  // no dial tone
	CDNTimeout         ResultCode = 10 // not established within the time allotted by the LAC
	CDNNoFraming       ResultCode = 11 // connected, but no appropriate framing was detected
)

// ErrorCode is the second number of the Result Code AVP, common to StopCCN and
// CDN. It has meaning when the result code is ResultGeneralError.
type ErrorCode uint16

// Error codes of RFC 2661 section 4.4.2.
const (
	ErrorNone       ErrorCode = 0
	ErrorNoControl  ErrorCode = 1 // no control connection exists yet
	ErrorLength     ErrorCode = 2 // length is wrong
	ErrorValue      ErrorCode = 3 // value out of range, or reserved field not zero
	ErrorResources  ErrorCode = 4 // insufficient resources now
	ErrorSessionID  ErrorCode = 5 // the session id is invalid in this context
	ErrorVendor     ErrorCode = 6 // a generic vendor-specific error
	ErrorTryAnother ErrorCode = 7 // try another LNS
	ErrorUnknownAVP ErrorCode = 8 // unknown AVP with the M bit set
)

// Result is the decoded Result Code AVP.
type Result struct {
	Code  ResultCode
	Error ErrorCode
	// Message is the peer's text as it came: it may be empty, very long, and
	// not UTF-8. Quote it before showing it.
	Message string
}

// StopCCN returns the meaning of the code in a StopCCN.
func (c ResultCode) StopCCN() string { return nameOf(stopNames[:], uint16(c)) }

// CDN returns the meaning of the code in a CDN.
func (c ResultCode) CDN() string { return nameOf(cdnNames[:], uint16(c)) }

// String returns the number; what it means depends on the message it came in,
// see StopCCN and CDN.
func (c ResultCode) String() string { return strconv.Itoa(int(c)) }

// String returns the RFC's meaning of the code.
func (c ErrorCode) String() string { return nameOf(errorNames[:], uint16(c)) }

// StopCCN describes the result as that of a StopCCN, with the peer's text
// quoted.
func (r Result) StopCCN() string { return r.describe(r.Code.StopCCN()) }

// CDN describes the result as that of a CDN, with the peer's text quoted.
func (r Result) CDN() string { return r.describe(r.Code.CDN()) }

// String returns the numbers as in "2/7", and the peer's text quoted.
func (r Result) String() string {
	s := strconv.Itoa(int(r.Code)) + "/" + strconv.Itoa(int(r.Error))
	if r.Message != "" {
		s += " " + strconv.Quote(r.Message)
	}
	return s
}

func (r Result) describe(code string) string {
	if r.Code == ResultGeneralError || r.Error != ErrorNone {
		code += ": " + r.Error.String()
	}
	if r.Message != "" {
		code += " " + strconv.Quote(r.Message)
	}
	return code
}

func nameOf(names []string, n uint16) string {
	if int(n) < len(names) && names[n] != "" {
		return names[n]
	}
	return strconv.Itoa(int(n))
}

var stopNames = [...]string{
	1: "general request to clear control connection",
	2: "general error",
	3: "control connection already exists",
	4: "requester is not authorized",
	5: "protocol version not supported",
	6: "requester is being shut down",
	7: "finite state machine error",
}

var cdnNames = [...]string{
	1:  "loss of carrier",
	2:  "general error",
	3:  "administrative reasons",
	4:  "lack of facilities, temporary",
	5:  "lack of facilities, permanent",
	6:  "invalid destination",
	7:  "no carrier detected",
	8:  "busy signal",
	9:  "no dial tone",
	10: "not established in time",
	11: "no appropriate framing",
}

var errorNames = [...]string{
	0: "no general error",
	1: "no control connection",
	2: "wrong length",
	3: "value out of range",
	4: "insufficient resources",
	5: "invalid session id",
	6: "vendor-specific error",
	7: "try another",
	8: "unknown mandatory AVP",
}
