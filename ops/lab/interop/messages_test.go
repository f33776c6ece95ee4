package interop

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/proto/l2tp"
)

// Messages that the peers of the suite send seldom or never, as Wireshark decodes
// them: each want is in its dissection, and nothing in it is malformed.
var rareMessages = []struct {
	name string
	m    l2tp.Message
	set  []l2tp.AVP
	want []string
}{
	{"CDN with a PPP disconnect cause", l2tp.Message{
		Type: l2tp.MessageCDN, AssignedSessionID: 7, Result: l2tp.Result{Code: l2tp.CDNAdministrative},
		PPPDisconnect: l2tp.PPPDisconnect{Code: l2tp.DisconnectAuthFailed, Protocol: 0xc223, Direction: l2tp.DirectionPeer, Message: []byte("auth-rejected")},
	}, []l2tp.AVP{l2tp.AVPResultCode, l2tp.AVPAssignedSessionID, l2tp.AVPPPPDisconnect}, []string{
		"Disconnect Code: 16", "Control Protocol Number: 49699", "Direction: at peer (1)", "Message: auth-rejected",
	}},
	{"OCRQ", l2tp.Message{
		Type: l2tp.MessageOCRQ, AssignedSessionID: 7, CallSerial: 3, MinimumBPS: 9600, MaximumBPS: 64000,
		BearerType: 3, FramingType: 3, CalledNumber: []byte("02075550123"), SubAddress: []byte("42"),
	}, []l2tp.AVP{l2tp.AVPAssignedSessionID, l2tp.AVPCallSerial, l2tp.AVPMinimumBPS, l2tp.AVPMaximumBPS, l2tp.AVPBearerType, l2tp.AVPFramingType, l2tp.AVPCalledNumber, l2tp.AVPSubAddress}, []string{
		"Outgoing_Call_Request (7)", "Minimum BPS: 9600", "Maximum BPS: 64000", "Called Number: 02075550123", "Sub-Address: 42",
	}},
	{"OCRP", l2tp.Message{Type: l2tp.MessageOCRP, AssignedSessionID: 8}, []l2tp.AVP{l2tp.AVPAssignedSessionID}, []string{
		"Outgoing_Call_Reply (8)", "Assigned Session ID: 8",
	}},
	{"OCCN", l2tp.Message{Type: l2tp.MessageOCCN, TxSpeed: 64000, RxSpeed: 32000, FramingType: 1},
		[]l2tp.AVP{l2tp.AVPTxSpeed, l2tp.AVPRxSpeed, l2tp.AVPFramingType}, []string{
			"Outgoing_Call_Connected (9)", "Connect Speed: 64000", "Rx Connect Speed: 32000",
		}},
	{"SLI", l2tp.Message{Type: l2tp.MessageSLI, ACCM: l2tp.ACCM{Send: 0x000a0000, Receive: 0xffffffff}}, []l2tp.AVP{l2tp.AVPACCM}, []string{
		"Set_Link_Info (16)", "Send ACCM: 655360", "Receive ACCM: 4294967295",
	}},
	{"WEN", l2tp.Message{Type: l2tp.MessageWEN, Errors: l2tp.CallErrors{CRC: 1, Framing: 2, HardwareOverruns: 3, BufferOverruns: 4, Timeouts: 5, Alignment: 6}},
		[]l2tp.AVP{l2tp.AVPCallErrors}, []string{
			"WAN_Error_Notify (15)", "CRC Errors: 1", "Hardware Overruns: 3", "Alignment Errors: 6",
		}},
	{"CSUN", l2tp.Message{Type: l2tp.MessageCSUN, SpeedUpdates: []l2tp.SpeedUpdate{{SessionID: 7, Tx: 80_000_000, Rx: 20_000_000}}}, nil, []string{
		"Connect-Speed-Update-Notification (28)", "Remote Session ID: 7", "Current TX Connect Speed: 80000000", "Current RX Connect Speed: 20000000",
	}},
	{"CSURQ", l2tp.Message{Type: l2tp.MessageCSURQ, SpeedUpdates: []l2tp.SpeedUpdate{{SessionID: 7}}}, nil, []string{
		"Connect-Speed-Update-Request (29)", "Remote Session ID: 7",
	}},
	{"ICRQ with an access line", l2tp.Message{Type: l2tp.MessageICRQ, AssignedSessionID: 7, CallSerial: 3, SpeedUpdateEnable: true, Line: accessLine()},
		[]l2tp.AVP{l2tp.AVPAssignedSessionID, l2tp.AVPCallSerial, l2tp.AVPSpeedUpdateEnable}, []string{
			"Agent Circuit ID: olt 7", "Actual Data Rate Upstream: 129000", "Actual Data Rate Downstream: 130000", "Actual Interleaving Delay Downstream: 142000", "Connect Speed Update Enable (98)",
		}},
	{"SCCRQ with failover", l2tp.Message{Type: l2tp.MessageSCCRQ, ProtocolVersion: l2tp.ProtocolVersion1, HostName: []byte("lns1"), AssignedTunnelID: 7,
		Failover: l2tp.Failover{Control: true, Data: true, RecoveryTime: time.Minute}},
		[]l2tp.AVP{l2tp.AVPProtocolVersion, l2tp.AVPHostName, l2tp.AVPAssignedTunnelID, l2tp.AVPFailoverCapability}, []string{
			"Start_Control_Request (1)", "Mandatory: False", "Length: 12", "Type: Failover Capability (76)",
		}},
	{"SCCRQ of a recovery tunnel", l2tp.Message{Type: l2tp.MessageSCCRQ, ProtocolVersion: l2tp.ProtocolVersion1, HostName: []byte("lns1"), AssignedTunnelID: 8,
		TieBreaker: 9, Recovery: l2tp.Recovery{Tunnel: 7, Remote: 70}},
		[]l2tp.AVP{l2tp.AVPProtocolVersion, l2tp.AVPHostName, l2tp.AVPAssignedTunnelID, l2tp.AVPTieBreaker, l2tp.AVPTunnelRecovery}, []string{
			"Start_Control_Request (1)", "Length: 16", "Type: Tunnel Recovery (77)",
		}},
	{"SCCRP of a recovery tunnel", l2tp.Message{Type: l2tp.MessageSCCRP, ProtocolVersion: l2tp.ProtocolVersion1, HostName: []byte("lac1"), AssignedTunnelID: 80,
		SuggestedSequence: l2tp.SuggestedSequence{Ns: 3, Nr: 100}},
		[]l2tp.AVP{l2tp.AVPProtocolVersion, l2tp.AVPHostName, l2tp.AVPAssignedTunnelID, l2tp.AVPSuggestedSequence}, []string{
			"Start_Control_Reply (2)", "Length: 12", "Type: Suggested Control Sequence (78)",
		}},
	{"FSQ", l2tp.Message{Type: l2tp.MessageFSQ, SessionStates: []l2tp.SessionState{{Session: 71, Remote: 70}, {Session: 72, Remote: 80}}}, nil, []string{
		"Failover_Session_Query_Message (21)", "Mandatory: False", "Type: Failover Session State (79)", "Length: 16",
	}},
	{"FSR", l2tp.Message{Type: l2tp.MessageFSR, SessionStates: []l2tp.SessionState{{Session: 70, Remote: 71}, {Remote: 72}}}, nil, []string{
		"Failover_Session_Response_Message (22)", "Type: Failover Session State (79)",
	}},
	{"ICCN with group and sequencing", l2tp.Message{Type: l2tp.MessageICCN, TxSpeed: 1, FramingType: 2, PrivateGroup: []byte("vrf-7"), SequencingRequired: true},
		[]l2tp.AVP{l2tp.AVPTxSpeed, l2tp.AVPFramingType, l2tp.AVPPrivateGroup, l2tp.AVPSequencingRequired}, []string{
			"Private Group ID: 7672662d37", "Sequencing Required (39)",
		}},
}

func accessLine() *l2tp.AccessLine {
	l := &l2tp.AccessLine{AgentCircuitID: []byte("olt 7"), AgentRemoteID: []byte("DEU.QSC"), Encapsulation: [3]byte{1, 1, 0}, Type: 5, Interworking: true}
	l.Set(l2tp.LineAgentCircuitID, l2tp.LineAgentRemoteID, l2tp.LineAccessLoop, l2tp.LineType, l2tp.LineInterworking)
	for a := l2tp.LineActualUp; a <= l2tp.LineActualDelayDown; a++ {
		l.SetRate(a, 1000*uint64(a))
	}
	return l
}

// TestRareMessages has Wireshark decode them.
func TestRareMessages(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		if os.Getenv("CI") == "true" && os.Getuid() == 0 {
			t.Fatal("tshark is not installed")
		}
		t.Skip("tshark is not installed; on Debian: apt-get install tshark")
	}
	file := filepath.Join(t.TempDir(), "rare.pcap")
	out := pcapHeader()
	for i := range rareMessages {
		x := &rareMessages[i]
		x.m.Set(x.set...)
		b := x.m.Append(l2tp.ControlHeader(17, 7, uint16(i), 0).Append(nil))
		l2tp.PutLength(b)
		out = appendPacket(out, b)
	}
	if err := os.WriteFile(file, out, 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := output(time.Minute, "tshark", "-n", "-r", file, "-V", "-O", "l2tp")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ = strings.Cut(text, "Frame 1:") // before it tshark may warn of root
	frames := strings.Split(text, "\nFrame ")
	if len(frames) != len(rareMessages) {
		t.Fatalf("tshark sees %d packets, want %d:\n%s", len(frames), len(rareMessages), text)
	}
	for i, x := range rareMessages {
		t.Run(x.name, func(t *testing.T) {
			for _, bad := range []string{"Malformed", "Expert Info", "Unknown", "not consistent"} {
				// Wireshark names the AVPs of RFC 4951, and leaves their values to the reader.
				if strings.Contains(strings.ReplaceAll(frames[i], "[Expert Info (Warning/Undecoded): Vendor-Specific AVP data]", ""), bad) {
					t.Errorf("tshark says %q", bad)
				}
			}
			for _, w := range x.want {
				if !strings.Contains(frames[i], w) {
					t.Errorf("there is no %q", w)
				}
			}
			if t.Failed() || testing.Verbose() {
				t.Log(frames[i])
			}
		})
	}
}

// pcapHeader is that of a capture of raw IP packets.
func pcapHeader() []byte {
	const linkRaw = 101
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	b = binary.LittleEndian.AppendUint32(b, 2|4<<16)
	b = append(b, make([]byte, 8)...)
	b = binary.LittleEndian.AppendUint32(b, 65535)
	return binary.LittleEndian.AppendUint32(b, linkRaw)
}

// appendPacket appends a UDP datagram from port 1701 to port 1701.
func appendPacket(dst, payload []byte) []byte {
	n := 20 + 8 + len(payload)
	dst = append(dst, make([]byte, 8)...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	dst = binary.BigEndian.AppendUint16(append(dst, 0x45, 0), uint16(n))
	dst = append(dst, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7)
	dst = binary.BigEndian.AppendUint16(dst, 1701)
	dst = binary.BigEndian.AppendUint16(dst, 1701)
	dst = append(binary.BigEndian.AppendUint16(dst, uint16(8+len(payload))), 0, 0)
	return append(dst, payload...)
}
