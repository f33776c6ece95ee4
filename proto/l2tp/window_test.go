package l2tp

import (
	"errors"
	"testing"
	"time"
)

// Receive Window Size (RFC 2661 section 4.4.3) in an SCCRQ: what it says, and what is made of it.
func TestReceiveWindowSize(t *testing.T) {
	for _, c := range []struct {
		name   string
		avp    string
		err    error
		window uint16
	}{
		{"absent", "", nil, 4},
		{"0", "8008 0000 000a 0000", ErrAVPValue, 0},
		{"0 with the M bit clear", "0008 0000 000a 0000", nil, 4},
		{"1", "8008 0000 000a 0001", nil, 1},
		{"M bit clear", "0008 0000 000a 0007", nil, 7},
		{"32767", "8008 0000 000a 7fff", nil, 32767},
		{"65535", "8008 0000 000a ffff", nil, 32767},
		{"one octet", "8007 0000 000a 01", ErrAVPLength, 0},
	} {
		m := Message{Type: MessageSCCRQ, ProtocolVersion: ProtocolVersion1, HostName: []byte("lac"), AssignedTunnelID: 9}
		m.Set(AVPProtocolVersion, AVPHostName, AVPAssignedTunnelID)
		body := append(m.Append(nil), unhex(t, spaceless(c.avp))...)
		var fx Effects
		x := NewTunnel(RoleLNS, 1, &TunnelConfig{HostName: "lns"})
		h := ControlHeader(0, 0, 0, 0).Append(nil)
		h = append(h, body...)
		PutLength(h)
		if err := x.Receive(0, h, &fx); err != nil {
			t.Fatal(err)
		}
		if c.err == nil {
			if x.State() != TunnelWaitConn || x.PeerWindow() != c.window {
				t.Errorf("%s: state %v, window %d, want %d", c.name, x.State(), x.PeerWindow(), c.window)
			}
			continue
		}
		if len(fx.Events) != 1 || !errors.Is(fx.Events[0].Err, c.err) || fx.Events[0].Result.Code != ResultGeneralError {
			t.Errorf("%s: events %+v", c.name, fx.Events)
		}
		var stop Message
		_, answer, _ := ParseHeader(fx.Packets[0])
		if ParseMessage(answer, nil, &stop); stop.Type != MessageStopCCN || stop.Result.Error != errorCode(c.err) {
			t.Errorf("%s: answered by %v %v", c.name, stop.Type, stop.Result)
		}
	}
}

func spaceless(s string) (out string) {
	for _, c := range s {
		if c != ' ' {
			out += string(c)
		}
	}
	return out
}

// Whatever a peer's window, it is filled and never exceeded.
func TestEveryPeerWindow(t *testing.T) {
	for _, window := range []uint16{1, 2, 3, 5, 128, 1000, 32767, 32768, 65535} {
		cfg := ControlConfig{SendQueue: 1 << 18}
		c := NewControl(&cfg)
		c.SetPeer(7, window)
		most := int(min(window, maxPeerWindow))
		var fx Effects
		total := 3*most + 10
		for range total {
			if err := c.Send(0, 1, helloBody, &fx); err != nil {
				t.Fatal(err)
			}
		}
		seen, filled := 0, false
		for rounds := 0; c.Unacked() > 0; rounds++ {
			flight := len(fx.Packets)
			filled = filled || flight == most
			if seen += flight; flight == 0 || flight > most || rounds > total {
				t.Fatalf("window %d: %d messages under way in round %d", window, flight, rounds)
			}
			fx.Reset()
			c.Receive(time.Duration(rounds), ControlHeader(1, 0, 0, uint16(seen)), nil, &fx)
		}
		if !filled || seen != total || c.Retransmissions() != 0 {
			t.Errorf("window %d: filled %v, %d of %d sent, %d again", window, filled, seen, total, c.Retransmissions())
		}
	}
}
