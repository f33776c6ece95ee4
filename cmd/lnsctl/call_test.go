package main

import (
	"testing"
	"time"

	"culvert/lns"
	"culvert/ops/opstest"
)

func TestCallAndSpeed(t *testing.T) {
	node := opstest.Sample(2)
	play(t, serve(t, node), nil, []step{
		{"call 0815 --lac north --max-bps 64000", exitOK, "session lns1-00000007-0000ffff: north is calling 0815\n", ""},
		{"call 0815 --lac north -o json", exitOK, `"outgoing": true`, ""},
		{"call 0815", exitUsage, "", "--lac"},
		{"call 0815 --lac west", exitNotFound, "", "west"},
		{"call 0815 --lac south", exitFailed, "", "set its address"},
		{"call 0815 --lac north --min-bps 5 --max-bps 4", exitUsage, "", "minimum_bps"},
		{"session speed lns1-00000007-00000001", exitOK, "was asked; it told 80000000/20000000 before", ""},
		{"session speed lns1-00000007-00000002", exitFailed, "", "does not report its line's speed"},
		{"session speed nobody", exitNotFound, "", "nobody"},
		{"session show lns1-00000007-00000001", exitOK, "Actual rate down  80,000,000 bit/s", ""},
		{"session show lns1-00000007-00000001", exitOK, "on, the LAC requires it; from the LAC 7 late, 12 lost, 3,456 reordered", ""},
		{"session show lns1-00000007-00000001", exitOK, "17 CRC, 2 framing, 0 hardware overruns", ""},
	})
}

func TestLACNumbersAndAddress(t *testing.T) {
	node := opstest.Sample(0)
	play(t, serve(t, node), nil, []step{
		{"lac change north --sequencing negotiation --reorder-packets 16 --reorder-time 20ms --hide-avps --pool-by-group --lac-address 198.51.100.7", exitOK, "changed", ""},
		{"lac show north", exitOK, "until PPP is up; 16 packets or 20ms wait for a missing one", ""},
		{"lac show north", exitOK, "or one opened to 198.51.100.7:1701", ""},
		{"lac change north --reorder-packets 300", exitUsage, "", "lac.reorder_packets: 300 is not between 0 and 256"},
		{"lac change north --sequencing sometimes", exitUsage, "", "--sequencing must be one of"},
		{"lac change north --lac-address nowhere", exitUsage, "", "lac.address: \"nowhere\" is no address"},
		{"lac change south --hide-avps", exitUsage, "", "lac.hide_avps: AVPs are hidden with the tunnel's secret"},
		{"lac change north --reset address --reset sequencing", exitOK, "changed", ""},
		{"lac show north", exitOK, "where the LAC requires it; 16 packets", ""},
	})
	for _, p := range node.LACs() {
		if p.Name == "north" && (p.Sequencing != lns.SequencingRequired || p.ReorderPackets != 16 || p.ReorderTime != 20*time.Millisecond || !p.HideAVPs || !p.PoolByGroup || p.Address.IsValid()) {
			t.Errorf("got %+v", p)
		}
	}
}
