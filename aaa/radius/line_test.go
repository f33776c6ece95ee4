package radius_test

import (
	"strings"
	"testing"

	"culvert/aaa"
)

// FreeRADIUS, by its own dictionaries, reads what is told of the line and the group.
func TestFreeRADIUSAccessLine(t *testing.T) {
	f, c, _ := startFreeRADIUS(t)
	line := &aaa.Line{
		CircuitID: "olt-7 eth 3/21", RemoteID: strings.Repeat("r", 300), Encapsulation: &[3]byte{1, 1, 0}, Interworking: true,
		Values: []aaa.LineValue{{Type: 129, Value: 20_000_000}, {Type: 130, Value: 10_000_000_000}, {Type: 142, Value: 8}, {Type: aaa.LineAccessType, Value: 5}},
	}
	for _, k := range []aaa.UsageKind{aaa.UsageStart, aaa.UsageStop} {
		u := usage(k, "n1-5-a2")
		u.Identity.Line, u.Identity.PrivateGroup = line, "vrf-7"
		if err := account(t, c, u); err != nil {
			t.Fatal(err)
		}
	}
	req := pap("ann", "right")
	req.Identity.Line, req.Identity.PrivateGroup = line, "vrf-7"
	if _, err := ask(t, c, req); err != nil {
		t.Fatal(err)
	}
	got := f.Details()
	if len(got) != 2 {
		t.Fatalf("%d records in the detail file", len(got))
	}
	compare(t, "Start", got[0], map[string][]string{
		"ADSL-Agent-Circuit-Id": {"0x" + hexOf("olt-7 eth 3/21")}, "ADSL-Agent-Remote-Id": {"0x" + hexOf(strings.Repeat("r", 247))},
		"Actual-Data-Rate-Upstream": {"20000000"}, "Actual-Data-Rate-Downstream": {"4294967295"},
		"Actual-Interleaving-Delay-Downstream": {"8"}, "Access-Loop-Encapsulation": {"0x020100"},
		"Tunnel-Private-Group-Id:0": {"vrf-7"},
	})
	compare(t, "Stop", got[1], map[string][]string{
		"Tunnel-Private-Group-Id:0": {"vrf-7"}, "ADSL-Agent-Circuit-Id": nil, "Actual-Data-Rate-Upstream": nil,
	})
}

func hexOf(s string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, c := range []byte(s) {
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}
