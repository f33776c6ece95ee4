package lns

import "testing"

// FuzzESPRoom asks for the room that is left by whatever algorithms charon may name: it fits,
// is the most that fits, and an unknown algorithm leaves no more than any known one.
func FuzzESPRoom(f *testing.F) {
	for name := range encryptions {
		f.Add(name, "", uint16(1500), false, false, false)
	}
	for name := range checks {
		f.Add("AES_CBC", name, uint16(1400), true, true, true)
	}
	f.Add("NEW_CIPHER", "NEW_HASH", uint16(576), false, true, false)
	f.Fuzz(func(t *testing.T, encryption, integrity string, path uint16, ipv6, encapsulated, tunnel bool) {
		e := ESP{Encryption: encryption, Integrity: integrity, Encapsulated: encapsulated, Tunnel: tunnel}
		room := e.Room(int(path), ipv6)
		worst := ESP{Encryption: "?", Integrity: "?", Encapsulated: encapsulated, Tunnel: tunnel}
		if least := worst.Room(int(path), ipv6); room < least {
			t.Fatalf("%+v leaves %d octets of %d, an unknown one %d", e, room, path, least)
		}
		if less := e.Room(int(path)-1, ipv6); less > room {
			t.Fatalf("%+v leaves %d octets of %d and %d of one less", e, room, path, less)
		}
		enc, known := encryptions[encryption]
		icv, ok := checks[encryption]
		if !ok && integrity != "" {
			icv, ok = checks[integrity], checks[integrity] != 0
		}
		if !known || !ok || room < 0 {
			return
		}
		if n := packetSize(room, enc.iv, enc.block, icv, ipv6, encapsulated, tunnel); n > int(path) {
			t.Fatalf("%+v: %d octets make a packet of %d, the path takes %d", e, room, n, path)
		}
		if n := packetSize(room+1, enc.iv, enc.block, icv, ipv6, encapsulated, tunnel); n <= int(path) {
			t.Fatalf("%+v: more than %d octets fit into %d", e, room, path)
		}
	})
}
