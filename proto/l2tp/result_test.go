package l2tp

import "testing"

func TestStrings(t *testing.T) {
	tests := []struct{ got, want string }{
		{ResultGeneralError.String(), "2"},
		{StopShutdown.StopCCN(), "requester is being shut down"},
		{CDNNoFraming.CDN(), "no appropriate framing"},
		{ResultCode(0).CDN(), "0"},
		{ResultCode(900).StopCCN(), "900"},
		{ErrorTryAnother.String(), "try another"},
		{ErrorCode(99).String(), "99"}, {TieWon.String(), "won"}, {TieBoth.String(), "both lost"}, {Tie(9).String(), "9"},
		{Result{Code: 2, Error: 7}.String(), "2/7"},
		{Result{Code: 2, Error: 7, Message: "full\n\xff"}.String(), `2/7 "full\n\xff"`},
		{Result{Code: 2, Error: 7}.CDN(), "general error: try another"},
		{Result{Code: 4, Message: "no"}.StopCCN(), `requester is not authorized "no"`},
		{Result{Code: 3}.CDN(), "administrative reasons"},
		{MessageICRQ.String(), "ICRQ"},
		{MessageCSURQ.String(), "CSURQ"},
		{MessageType(5).String(), "message 5"},
		{AVPHostName.String(), "Host Name"},
		{avpUnknown.String(), "AVP 255"},
		{TunnelWaitReply.String(), "wait-ctl-reply"},
		{CallWaitConnect.String(), "wait-connect"},
		{ReasonTimeout.String(), "timeout"},
		{Reason(0).String(), "0"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
	if AVPSpeedUpdateEnable.Attribute() != 98 || AVPRxSpeed.Attribute() != 38 || avpUnknown.Attribute() != 0xffff {
		t.Error("attribute numbers are wrong")
	}
	for a := range avpCount {
		if a != avpReserved20 && findAVP(a.Attribute()) != a {
			t.Errorf("%v is not found by its number", a)
		}
	}
}
