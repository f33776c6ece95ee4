package l2tp

import "testing"

func TestPPPDisconnectString(t *testing.T) {
	for want, d := range map[string]PPPDisconnect{
		"no information": {},
		"normal disconnection (protocol c021), at its peer":              {Code: 3, Protocol: 0xc021, Direction: 1},
		`authentication failed (protocol c223), at the sender "E=691\n"`: {Code: 16, Protocol: 0xc223, Direction: 2, Message: []byte("E=691\n")},
		"no address allowed, direction 9":                                {Code: 20, Direction: 9},
		`code 21 "\xff"`:                                                 {Code: 21, Message: []byte{0xff}},
		"code 65535":                                                     {Code: 65535},
	} {
		if got := d.String(); got != want {
			t.Errorf("%+v: %s, want %s", d, got, want)
		}
	}
}

// The AVP on the wire: RFC 3145 section 2.
func TestPPPDisconnectOnTheWire(t *testing.T) {
	m := Message{Type: MessageCDN, Result: Result{Code: CDNAdministrative}, PPPDisconnect: PPPDisconnect{
		Code: DisconnectNormal, Protocol: 0xc021, Direction: DirectionPeer, Message: []byte("bye"),
	}}
	m.Set(AVPResultCode, AVPPPPDisconnect)
	want := unhex(t, "800800000000000e"+"8008000000010003"+"000e0000002e0003c02101627965")
	if got := m.Append(nil); string(got) != string(want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	var back Message
	if err := ParseMessage(want, nil, &back); err != nil || back.PPPDisconnect.String() != m.PPPDisconnect.String() {
		t.Errorf("read %+v, %v", back.PPPDisconnect, err)
	}
}
