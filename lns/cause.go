package lns

import (
	"culvert/aaa"
	"culvert/proto/l2tp"
)

// Cause is why a session ended. It is decided once, by the first thing that
// ends the session, and becomes the CDN's result, the Acct-Terminate-Cause,
// the log line and the metric's label.
type Cause uint8

// The causes.
const (
	CauseNone Cause = iota
	CauseUserRequest
	CauseLACDisconnect
	CauseLACCarrierLost
	CauseTunnelDown
	CauseTunnelTimeout
	CauseEchoTimeout
	CauseAuthRejected
	CauseAuthTimeout
	CauseAuthUnavailable
	CauseNegotiationFailed
	CauseLoop
	CauseSessionTimeout
	CauseIdleTimeout
	CauseAdminReset
	CauseRADIUSDisconnect
	CauseShutdown
	CauseNoAddress
	CauseAddressInUse
	CauseReplaced
	CauseBusy
	CauseSetupTimeout
	CauseProtocolError
	CauseNodeRestart
	CauseIPsecDown
	CauseFailover
	CauseRecoveryFailed
	causeCount
)

// causeFacts is what a cause means to each of those who are told.
type causeFacts struct {
	name   string
	acct   aaa.TerminateCause
	result l2tp.ResultCode
	code   l2tp.ErrorCode
}

// causes has a row for every Cause; a test keeps it complete. Result codes are
// those of a CDN (RFC 2661 section 4.4.2): 1 loss of carrier, 2 general
// error, 3 administrative reasons. A LAC tries another LNS only on 2 with
// error code 7, so that goes out where another node would do better.
var causes = [causeCount]causeFacts{
	CauseNone:              {"none", aaa.CauseNASError, 2, l2tp.ErrorVendor},
	CauseUserRequest:       {"user-request", aaa.CauseUserRequest, 3, 0},
	CauseLACDisconnect:     {"lac-disconnect", aaa.CauseLostCarrier, 3, 0},
	CauseLACCarrierLost:    {"lac-carrier-lost", aaa.CauseLostCarrier, 1, 0},
	CauseTunnelDown:        {"tunnel-down", aaa.CauseLostCarrier, 3, 0},
	CauseTunnelTimeout:     {"tunnel-timeout", aaa.CauseLostService, 3, 0},
	CauseEchoTimeout:       {"echo-timeout", aaa.CauseLostCarrier, 1, 0},
	CauseAuthRejected:      {"auth-rejected", aaa.CauseUserError, 3, 0},
	CauseAuthTimeout:       {"auth-timeout", aaa.CauseUserError, 3, 0},
	CauseAuthUnavailable:   {"auth-unavailable", aaa.CauseNASError, 2, l2tp.ErrorTryAnother},
	CauseNegotiationFailed: {"negotiation-failed", aaa.CauseUserError, 3, 0},
	CauseLoop:              {"loop", aaa.CausePortError, 3, 0},
	CauseSessionTimeout:    {"session-timeout", aaa.CauseSessionTimeout, 3, 0},
	CauseIdleTimeout:       {"idle-timeout", aaa.CauseIdleTimeout, 3, 0},
	CauseAdminReset:        {"admin-reset", aaa.CauseAdminReset, 3, 0},
	CauseRADIUSDisconnect:  {"radius-disconnect", aaa.CauseAdminReset, 3, 0},
	CauseShutdown:          {"shutdown", aaa.CauseAdminReboot, 2, l2tp.ErrorTryAnother},
	CauseNoAddress:         {"no-address", aaa.CauseServiceUnavailable, 2, l2tp.ErrorTryAnother},
	CauseAddressInUse:      {"address-in-use", aaa.CauseServiceUnavailable, 3, 0},
	CauseReplaced:          {"replaced", aaa.CausePortPreempted, 3, 0},
	CauseBusy:              {"busy", aaa.CauseServiceUnavailable, 2, l2tp.ErrorTryAnother},
	CauseSetupTimeout:      {"setup-timeout", aaa.CauseUserError, 3, 0},
	CauseProtocolError:     {"protocol-error", aaa.CausePortError, 2, l2tp.ErrorVendor},
	CauseNodeRestart:       {"node-restart", aaa.CauseNASReboot, 3, 0},
	CauseIPsecDown:         {"ipsec-down", aaa.CauseLostService, 3, 0},
	CauseFailover:          {"failover", aaa.CauseLostCarrier, 3, 0},
	CauseRecoveryFailed:    {"recovery-failed", aaa.CauseLostService, 3, 0},
}

// String is the cause's name in logs, events and metric labels.
func (c Cause) String() string {
	if c >= causeCount {
		c = CauseNone
	}
	return causes[c].name
}

// Acct is the cause as accounting servers see it (RFC 2866 section 5.10).
func (c Cause) Acct() aaa.TerminateCause { return causes[c].acct }

// busy says whether the LAC would do better with another LNS, so that the
// profile's result code policy applies.
func (c Cause) busy() bool { return causes[c].code == l2tp.ErrorTryAnother }

// result is what the CDN says. A busy cause follows the LAC profile, since
// some LACs lock an LNS out on one code and fail over on another.
func (c Cause) result(p *LACProfile, message string) l2tp.Result {
	r := l2tp.Result{Code: causes[c].result, Error: causes[c].code, Message: message}
	if c.busy() && p != nil {
		r.Code, r.Error = p.BusyResult, 0
		if r.Code == l2tp.ResultGeneralError {
			r.Error = l2tp.ErrorTryAnother
		}
	}
	return r
}
