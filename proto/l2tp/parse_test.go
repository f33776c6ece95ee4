package l2tp

import (
	"bytes"
	"errors"
	"testing"
)

// TestParseCapture reads what xl2tpd 1.3.18 sends.
func TestParseCapture(t *testing.T) {
	m := parse(t, unhex(t, "800800000000000180160000002413f16cb837fae99916bda38aad85813b8008000000020100800a0000000300000003"+
		"800a00000004000000000008000000060690800800000007766d00130000000878656c6572616e63652e636f6d"+
		"800800000009aadf80080000000a000880160000000b858f2bb3034f158d811c876f119b1e92"))
	if m.Type != MessageSCCRQ || m.ProtocolVersion != ProtocolVersion1 || m.FramingCap != 3 || m.BearerCap != 0 ||
		m.FirmwareRevision != 0x690 || string(m.HostName) != "vm" || string(m.VendorName) != "xelerance.com" ||
		m.AssignedTunnelID != 0xaadf || m.ReceiveWindow != 8 || len(m.Challenge) != 16 || len(m.RandomVector) != 16 {
		t.Errorf("SCCRQ: %+v", m)
	}
	m = parse(t, unhex(t, "800800000000000a801600000024921339afd7eb974766f31494858a148b80080000000eaeec800a0000000f00000001800a0000001200000000"))
	if m.Type != MessageICRQ || m.AssignedSessionID != 0xaeec || m.CallSerial != 1 || !m.Has(AVPBearerType) || m.BearerType != 0 {
		t.Errorf("ICRQ: %+v", m)
	}
	m = parse(t, unhex(t, "800800000000000c8016000000240f8da9a56d292e941ff9ded5c29119e3800a0000001800000000800a0000001300000001000a0000002600000000"))
	if m.Type != MessageICCN || !m.Has(AVPTxSpeed) || !m.Has(AVPRxSpeed) || m.FramingType != FramingSync {
		t.Errorf("ICCN: %+v", m)
	}
	m = parse(t, unhex(t, "800800000000000e8016000000240059e1635c71a86818478eb2ba8ce433800a000000010001000080080000000eaeec"))
	if m.Type != MessageCDN || m.Result != (Result{Code: CDNLostCarrier}) {
		t.Errorf("CDN: %+v", m)
	}
}

func TestParseLenient(t *testing.T) {
	id := avp(8, 0, 14, "\x00\x07")
	tests := []struct {
		name  string
		body  []byte
		check func(m *Message) bool
	}{
		{"minimal ICRQ", body(MessageICRQ, id), func(m *Message) bool { return m.AssignedSessionID == 7 }},
		{"M clear on a known AVP", body(MessageICRQ, avp(0, 0, 14, "\x00\x07")), func(m *Message) bool { return m.AssignedSessionID == 7 }},
		{"M set on an optional AVP", body(MessageICRQ, id, avp(8, 0, 25, "\x00\x00\x00\x09")), func(m *Message) bool { return m.PhysicalChannel == 9 }},
		{"the first of two counts", body(MessageICRQ, id, avp(8, 0, 14, "\x00\x08")), func(m *Message) bool { return m.AssignedSessionID == 7 }},
		{"unknown, skipped", body(MessageICRQ, avp(0, 0, 200, "x"), avp(0, 9, 1, "cisco"), id), func(m *Message) bool {
			return m.AssignedSessionID == 7 && len(m.Extra) == 2 && string(m.Extra[1].Value) == "cisco" && m.Extra[1].Vendor == 9
		}},
		{"reserved attribute 20", body(MessageICRQ, id, avp(0, 0, 20, "x")), func(m *Message) bool { return len(m.Extra) == 1 }},
		{"reserved bits, skipped", body(MessageICRQ, id, avp(1, 0, 15, "\x00\x00\x00\x01")), func(m *Message) bool { return !m.Has(AVPCallSerial) }},
		{"malformed with M clear, skipped", body(MessageICRQ, id, avp(0, 0, 15, "\x01")), func(m *Message) bool { return !m.Has(AVPCallSerial) }},
		{"hidden without a secret, M clear", body(MessageICRQ, id, avp(4, 0, 15, "12345678")), func(m *Message) bool { return !m.Has(AVPCallSerial) }},
		{"empty strings", body(MessageICRQ, id, avp(8, 0, 21, ""), avp(8, 0, 22, "")), func(m *Message) bool {
			return m.Has(AVPCalledNumber) && len(m.CalledNumber) == 0
		}},
		{"64-bit speeds win, first", body(MessageICCN, avp(0, 0, 74, "\x00\x00\x00\x02\x00\x00\x00\x00"), avp(8, 0, 24, "\xff\xff\xff\xff")),
			func(m *Message) bool { return m.TxSpeed == 2<<32 }},
		{"64-bit speeds win, last", body(MessageICCN, avp(8, 0, 38, "\xff\xff\xff\xff"), avp(0, 0, 75, "\x00\x00\x00\x02\x00\x00\x00\x00")),
			func(m *Message) bool { return m.RxSpeed == 2<<32 }},
		{"result without error code", body(MessageCDN, avp(8, 0, 1, "\x00\x03"), id), func(m *Message) bool { return m.Result == Result{Code: 3} }},
		{"result with half an error code", body(MessageCDN, avp(8, 0, 1, "\x00\x03\x00"), id), func(m *Message) bool { return m.Result == Result{Code: 3} }},
		{"CDN with nothing", body(MessageCDN), func(m *Message) bool { return m.Type == MessageCDN }},
		{"rate of 4 octets", body(MessageICRQ, id, avp(0, 3561, 130, "\x00\x01\x00\x00")), func(m *Message) bool {
			v, ok := m.Line.Rate(LineActualDown)
			return ok && v == 65536
		}},
		{"line AVP of the wrong length, M clear", body(MessageICRQ, id, avp(0, 3561, 144, "x")), func(m *Message) bool { return !m.Line.Has(LineAccessLoop) }},
		{"unknown line AVPs", body(MessageICRQ, id, avp(0, 3561, 143, "x"), avp(0, 3561, 257, "x")), func(m *Message) bool {
			return m.Line == nil && len(m.Extra) == 2
		}},
		{"unknown type with M clear", append([]byte{0, 8, 0, 0, 0, 0, 0, 99}, 1, 2, 3), func(m *Message) bool { return m.Type == 99 && !m.Type.Known() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if m := parse(t, tt.body); !tt.check(m) {
				t.Errorf("%+v, line %+v", m, m.Line)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	id := avp(8, 0, 14, "\x00\x07")
	sccrq := func(more ...[]byte) []byte {
		return body(MessageSCCRQ, append([][]byte{avp(8, 0, 2, "\x01\x00"), avp(8, 0, 7, "h")}, more...)...)
	}
	tests := []struct {
		name    string
		body    []byte
		err     error
		code    ErrorCode
		tunnel  bool
		unknown bool
		text    string
	}{
		{"empty", nil, ErrNoType, ErrorValue, true, false, "l2tp: message 0: first AVP is not the Message Type"},
		{"type not first", id, ErrNoType, ErrorValue, true, false, ""},
		{"type hidden", avp(12, 0, 0, "\x00\x01"), ErrNoType, ErrorValue, true, false, ""},
		{"type too long", avp(8, 0, 0, "\x00\x01\x00"), ErrNoType, ErrorValue, true, false, ""},
		{"type of a vendor", avp(8, 9, 0, "\x00\x01"), ErrNoType, ErrorValue, true, false, ""},
		{"unknown type", body(99), ErrUnknownType, ErrorUnknownAVP, true, false, "l2tp: message 99: Message Type: unknown message type with the M bit set"},
		{"unknown type 13", body(13), ErrUnknownType, ErrorUnknownAVP, true, false, ""},
		{"unknown AVP, session", body(MessageICRQ, id, avp(8, 0, 200, "x")), ErrAVPUnknown, ErrorUnknownAVP, false, true,
			"l2tp: ICRQ: AVP 200 of vendor 0: unknown AVP with the M bit set"},
		{"unknown AVP, tunnel", sccrq(avp(8, 0, 9, "\x00\x07"), avp(8, 9, 1, "x")), ErrAVPUnknown, ErrorUnknownAVP, true, true,
			"l2tp: SCCRQ: AVP 1 of vendor 9: unknown AVP with the M bit set"},
		{"unknown AVP, then a worse fault", body(MessageICRQ, avp(8, 0, 200, "x"), avp(8, 0, 14, "")), ErrAVPLength, ErrorLength, false, false,
			"l2tp: ICRQ: Assigned Session ID: AVP value has the wrong length"},
		{"reserved bits with M", body(MessageICRQ, id, avp(9, 0, 15, "1234")), ErrAVPUnknown, ErrorUnknownAVP, false, true, ""},
		{"too short", body(MessageICRQ, id, avp(8, 0, 15, "123")), ErrAVPLength, ErrorLength, false, false, ""},
		{"too long", body(MessageICRQ, id, avp(8, 0, 15, "12345")), ErrAVPLength, ErrorLength, false, false, ""},
		{"line AVP of the wrong length", body(MessageICRQ, id, avp(8, 3561, 130, "12345")), ErrAVPLength, ErrorLength, false, false, ""},
		{"line number of the wrong length", body(MessageICRQ, id, avp(8, 3561, 144, "1234")), ErrAVPLength, ErrorLength, false, false, ""},
		{"length below 6", body(MessageICRQ, id, []byte{0, 5, 0, 0, 0, 1, 0}), ErrAVPFraming, ErrorLength, false, false,
			"l2tp: ICRQ: AVP does not fit the message"},
		{"length beyond the end", body(MessageHello, []byte{0, 7, 0, 0, 0, 1}), ErrAVPFraming, ErrorLength, true, false, ""},
		{"rest of an AVP", body(MessageICRQ, id, []byte{0x80, 8, 0}), ErrAVPFraming, ErrorLength, false, false, ""},
		{"hidden without a secret", body(MessageICRQ, id, avp(12, 0, 15, "12345678")), ErrNoSecret, ErrorVendor, false, false, ""},
		{"SCCRQ without a tunnel id", sccrq(), ErrAVPMissing, ErrorVendor, true, false, "l2tp: SCCRQ: Assigned Tunnel ID: required AVP is missing"},
		{"SCCRQ with tunnel id 0", sccrq(avp(8, 0, 9, "\x00\x00")), ErrAVPValue, ErrorValue, true, false, ""},
		{"ICRQ without a session id", body(MessageICRQ), ErrAVPMissing, ErrorVendor, false, false, ""},
		{"ICRP with session id 0", body(MessageICRP, avp(8, 0, 14, "\x00\x00")), ErrAVPValue, ErrorValue, false, false, ""},
		{"WEN without errors", body(MessageWEN), ErrAVPMissing, ErrorVendor, false, false, ""},
		{"SLI without ACCM", body(MessageSLI), ErrAVPMissing, ErrorVendor, false, false, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var m Message
			err := ParseMessage(tt.body, nil, &m)
			var bad *MessageError
			if !errors.As(err, &bad) || !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if bad.Tunnel != tt.tunnel || bad.UnknownAVP != tt.unknown || bad.Result.Code != ResultGeneralError || bad.Result.Error != tt.code {
				t.Errorf("got %+v", bad)
			}
			if tt.text != "" && err.Error() != tt.text {
				t.Errorf("text %q, want %q", err, tt.text)
			}
		})
	}
}

// TestParseGoesOn checks that what stands beside a fault is still read.
func TestParseGoesOn(t *testing.T) {
	var m Message
	err := ParseMessage(body(MessageICRQ, avp(8, 7, 7, "?"), avp(8, 0, 15, "12"), avp(8, 0, 14, "\x00\x07")), nil, &m)
	if !errors.Is(err, ErrAVPLength) || m.AssignedSessionID != 7 {
		t.Errorf("%v, session id %d", err, m.AssignedSessionID)
	}
	many := bytes.Repeat(avp(0, 7, 7, "?"), 1000)
	if err := ParseMessage(body(MessageHello, many), nil, &m); err != nil || len(m.Extra) != maxExtra {
		t.Errorf("%d unknown AVPs kept, %v", len(m.Extra), err)
	}
	updates := bytes.Repeat(avp(0, 0, 97, "123456789012"), 1000)
	if err := ParseMessage(body(MessageCSUN, updates), nil, &m); err != nil || len(m.SpeedUpdates) != 1000 {
		t.Errorf("%d speed updates, %v", len(m.SpeedUpdates), err)
	}
	if m.Reset(); cap(m.SpeedUpdates) != 0 {
		t.Error("the memory of an extraordinary message is kept")
	}
}
