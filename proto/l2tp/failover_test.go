package l2tp

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

// TestFailoverAVPs has the AVPs of RFC 4951 on the wire, octet by octet, and what is
// made of bad ones.
func TestFailoverAVPs(t *testing.T) {
	sccrq := Message{
		Type: MessageSCCRQ, ProtocolVersion: ProtocolVersion1, HostName: []byte("x"), AssignedTunnelID: 5,
		Failover: Failover{Control: true, RecoveryTime: time.Minute}, Recovery: Recovery{Tunnel: 0x1122, Remote: 0x3344},
		SuggestedSequence: SuggestedSequence{Ns: 3, Nr: 100},
	}
	for _, c := range []struct {
		name string
		avp  AVP
		want string
	}{
		{"capability", AVPFailoverCapability, "000c0000004c00010000ea60"},
		{"recovery", AVPTunnelRecovery, "80100000004d00000000112200003344"},
		{"sequence", AVPSuggestedSequence, "000c0000004e000000030064"},
	} {
		m := sccrq
		m.present = 0
		m.Set(c.avp)
		if got := m.Append(nil)[8:]; !reflect.DeepEqual(got, unhex(t, c.want)) {
			t.Errorf("%s: %x, want %s", c.name, got, c.want)
		}
	}
	fsr := Message{Type: MessageFSR, SessionStates: []SessionState{{0, 7}}}
	if got := fsr.Append(nil); !reflect.DeepEqual(got, unhex(t, "000800000000001680100000004f00000000000000000007")) {
		t.Errorf("FSR: %x", got)
	}
	sccrq.Set(AVPProtocolVersion, AVPHostName, AVPAssignedTunnelID)
	plain := sccrq.Append(nil)
	for _, c := range []struct {
		name string
		avp  []byte
		err  error
		has  AVP
	}{
		{"capability of nothing", avp(0, 0, 76, "\x00\x00\x00\x00\x00\x00"), nil, AVPMessageType},
		{"short capability", avp(0, 0, 76, "\x00\x03"), nil, AVPMessageType},
		{"short mandatory capability", avp(8, 0, 76, "\x00\x03"), ErrAVPLength, AVPMessageType},
		{"reserved bits", avp(0, 0, 76, "\xff\xff\x00\x00\x00\x01"), nil, AVPFailoverCapability},
		{"hidden recovery", avp(12, 0, 77, "0123456789"), ErrAVPHidden, AVPMessageType},
		{"short recovery", avp(8, 0, 77, "012345678"), ErrAVPLength, AVPMessageType},
		{"long sequence", avp(0, 0, 78, "0123456789"), nil, AVPMessageType},
	} {
		var m Message
		err := ParseMessage(append(plain[:len(plain):len(plain)], c.avp...), []byte("s"), &m)
		if c.err == nil && err != nil || c.err != nil && !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
		for _, a := range []AVP{AVPFailoverCapability, AVPTunnelRecovery, AVPSuggestedSequence} {
			if m.Has(a) != (a == c.has) {
				t.Errorf("%s: %v is there: %v", c.name, a, m.Has(a))
			}
		}
	}
}

// TestAnswerFSQ has RFC 4951 section 3.3, step III, and its appendix C.
func TestAnswerFSQ(t *testing.T) {
	ours := map[uint16]uint16{71: 70, 72: 80, 73: 0} // 73 has no id of the peer yet
	peerOf := func(id uint16) (uint16, bool) { p, ok := ours[id]; return p, ok }
	for _, c := range []struct {
		name     string
		ask, say []SessionState
		stale    []uint16
	}{
		{"both have it", []SessionState{{70, 71}}, []SessionState{{71, 70}}, nil},
		{"unknown here", []SessionState{{70, 99}}, []SessionState{{0, 70}}, nil},
		{"appendix C: by another id", []SessionState{{70, 72}}, []SessionState{{0, 70}}, []uint16{72}},
		{"not connected", []SessionState{{0, 73}}, []SessionState{{0, 0}}, nil},
		{"many", []SessionState{{70, 71}, {80, 72}, {1, 0}}, []SessionState{{71, 70}, {72, 80}, {0, 1}}, nil},
	} {
		say, stale := AnswerFSQ(&Message{SessionStates: c.ask}, peerOf)
		if !reflect.DeepEqual(say, c.say) || !reflect.DeepEqual(stale, c.stale) {
			t.Errorf("%s: %v, stale %v; want %v, %v", c.name, say, stale, c.say, c.stale)
		}
	}
}

// TestSendStates splits what does not fit one message.
func TestSendStates(t *testing.T) {
	tun, fx := NewTunnel(RoleLNS, 22, &TunnelConfig{}), Effects{}
	tun.Restore(0, Never, SavedTunnel{PeerID: 9, PeerWindow: 100})
	tun.Reset(0, 4, 5, &fx)
	states := make([]SessionState, 2*statesPerMessage+1)
	for i := range states {
		states[i] = SessionState{uint16(i + 1), uint16(i + 1001)}
	}
	if err := tun.SendStates(0, MessageFSQ, states, &fx); err != nil {
		t.Fatal(err)
	}
	if tun.Unacked() != 3 || len(fx.Packets[0]) > 1000 {
		t.Fatalf("%d messages, the first with %d octets", tun.Unacked(), len(fx.Packets[0]))
	}
	if err := NewTunnel(RoleLNS, 22, &TunnelConfig{}).SendStates(0, MessageFSQ, states, &fx); err != ErrDown {
		t.Error(err)
	}
}
