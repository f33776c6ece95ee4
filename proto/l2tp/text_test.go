package l2tp

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Messages as text, for transcripts: "ICRQ session=7 calling=\"0123\"".

var avpKeys = map[AVP]string{
	AVPProtocolVersion: "version", AVPFramingCap: "framings", AVPBearerCap: "bearers", AVPTieBreaker: "tie",
	AVPFirmwareRevision: "firmware", AVPHostName: "host", AVPVendorName: "vendor", AVPAssignedTunnelID: "tunnel",
	AVPReceiveWindow: "window", AVPChallenge: "challenge", AVPChallengeResponse: "response", AVPAssignedSessionID: "session",
	AVPCallSerial: "serial", AVPBearerType: "bearer", AVPFramingType: "framing", AVPCalledNumber: "called",
	AVPCallingNumber: "calling", AVPTxSpeed: "tx", AVPRxSpeed: "rx", AVPResultCode: "result", AVPACCM: "accm",
	AVPFailoverCapability: "failover", AVPTunnelRecovery: "recovers", AVPSuggestedSequence: "suggested", AVPSessionState: "states",
}

// textOf writes a message as text.
func textOf(m *Message) string {
	s := m.Type.String()
	for a := range avpCount {
		if m.Has(a) {
			s += " " + avpKeys[a] + "=" + valueOf(m, a)
		}
	}
	for _, r := range m.Extra {
		s += fmt.Sprintf(" raw=%d/%d/%s", r.Vendor, r.Attribute, octetsOf(r.Value))
	}
	return s
}

func valueOf(m *Message, a AVP) string {
	if f := m.bytesField(a); f != nil {
		return octetsOf(*f)
	}
	if f := m.uint16Field(a); f != nil {
		return strconv.Itoa(int(*f))
	}
	if f := m.uint32Field(a); f != nil {
		return strconv.Itoa(int(*f))
	}
	switch a {
	case AVPTieBreaker:
		return strconv.FormatUint(m.TieBreaker, 10)
	case AVPResultCode:
		return strings.Replace(m.Result.String(), " ", ":", 1)
	case AVPTxSpeed:
		return strconv.FormatUint(m.TxSpeed, 10)
	case AVPRxSpeed:
		return strconv.FormatUint(m.RxSpeed, 10)
	case AVPFailoverCapability:
		return failoverText(m.Failover)
	case AVPTunnelRecovery:
		return fmt.Sprint(m.Recovery.Tunnel, "/", m.Recovery.Remote)
	case AVPSuggestedSequence:
		return fmt.Sprint(m.SuggestedSequence.Ns, "/", m.SuggestedSequence.Nr)
	case AVPSessionState:
		var list []string
		for _, s := range m.SessionStates {
			list = append(list, fmt.Sprint(s.Session, "/", s.Remote))
		}
		return strings.Join(list, ",")
	}
	return "?"
}

func octetsOf(b []byte) string {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return "0x" + hex.EncodeToString(b)
		}
	}
	return strconv.Quote(string(b))
}

// words splits text at spaces that are not inside quotes.
func words(s string) (out []string) {
	quoted := false
	return strings.FieldsFunc(s, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	})
}

// messageOf reads a message from words. Keys that are not AVPs go to other.
func messageOf(t *testing.T, typ string, pairs []string, other func(key, value string)) *Message {
	t.Helper()
	m := new(Message)
	for i := MessageType(0); i < 64; i++ {
		if i.String() == typ {
			m.Type = i
		}
	}
	if n, err := strconv.Atoi(typ); err == nil {
		m.Type = MessageType(n)
	}
	for _, p := range pairs {
		key, value, _ := strings.Cut(p, "=")
		if !setText(t, m, key, value) {
			other(key, value)
		}
	}
	return m
}

func setText(t *testing.T, m *Message, key, value string) bool {
	t.Helper()
	if key == "raw" { // flags/vendor/attribute/value
		f := strings.SplitN(value, "/", 4)
		m.Extra = append(m.Extra, RawAVP{
			Mandatory: f[0] == "M", Vendor: uint16(number(t, f[1])), Attribute: uint16(number(t, f[2])), Value: octetsFrom(t, f[3]),
		})
		return true
	}
	for a, k := range avpKeys {
		if k != key || value == "right" || value == "wrong" {
			continue
		}
		m.Set(a)
		if f := m.bytesField(a); f != nil {
			*f = octetsFrom(t, value)
		} else if f := m.uint16Field(a); f != nil {
			*f = uint16(number(t, value))
		} else if f := m.uint32Field(a); f != nil {
			*f = uint32(number(t, value))
		} else if a == AVPResultCode {
			m.Result = resultFrom(t, value)
		} else if a == AVPTxSpeed {
			m.TxSpeed = number(t, value)
		} else if a == AVPTieBreaker {
			m.TieBreaker = number(t, value)
		} else if a == AVPFailoverCapability {
			m.Failover = failoverFrom(t, value)
		} else if a == AVPTunnelRecovery {
			m.Recovery.Tunnel, m.Recovery.Remote = pairFrom(t, value)
		} else if a == AVPSuggestedSequence {
			m.SuggestedSequence.Ns, m.SuggestedSequence.Nr = pairFrom(t, value)
		} else if a == AVPSessionState {
			for s := range strings.SplitSeq(value, ",") {
				var x SessionState
				x.Session, x.Remote = pairFrom(t, s)
				m.SessionStates = append(m.SessionStates, x)
			}
		}
		return true
	}
	return false
}

func resultFrom(t *testing.T, s string) Result {
	t.Helper()
	numbers, text, _ := strings.Cut(s, ":")
	code, cause, _ := strings.Cut(numbers, "/")
	r := Result{Code: ResultCode(number(t, code))}
	if cause != "" {
		r.Error = ErrorCode(number(t, cause))
	}
	if text != "" {
		r.Message = string(octetsFrom(t, text))
	}
	return r
}

func octetsFrom(t *testing.T, s string) []byte {
	t.Helper()
	if h, ok := strings.CutPrefix(s, "0x"); ok {
		return unhex(t, h)
	}
	u, err := strconv.Unquote(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return []byte(u)
}

func number(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// pairFrom reads "1/2".
func pairFrom(t *testing.T, s string) (a, b uint16) {
	t.Helper()
	x, y, _ := strings.Cut(s, "/")
	return uint16(number(t, x)), uint16(number(t, y))
}

// failoverFrom reads "CD/90000": the bits, and milliseconds.
func failoverFrom(t *testing.T, s string) Failover {
	t.Helper()
	bits, ms, _ := strings.Cut(s, "/")
	return Failover{
		Control: strings.Contains(bits, "C"), Data: strings.Contains(bits, "D"),
		RecoveryTime: time.Duration(number(t, ms)) * time.Millisecond,
	}
}

func failoverText(f Failover) string {
	bits := ""
	if f.Control {
		bits += "C"
	}
	if f.Data {
		bits += "D"
	}
	return fmt.Sprint(bits, "/", f.RecoveryTime.Milliseconds())
}
