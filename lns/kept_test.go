package lns

import (
	"encoding/hex"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/lns/link"
	"culvert/sessiondb"
)

// fullKept has every field set.
func fullKept() keptSession {
	u := aaa.Usage{Kind: aaa.UsageStart, Identity: aaa.Identity{AcctSessionID: "lns1-0001-00000001", User: "alice", NASPort: 1}, Method: aaa.MethodCHAP}
	usage, _ := aaa.AppendUsage(nil, &u)
	a := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	return keptSession{
		usage: usage,
		link: link.Saved{
			Method: link.MethodCHAP, Magic: 0xdeadbeef, PeerMRU: 1492, PeerACCM: 0xa0000, ACFC: true, PFC: true, AuthID: 7,
			Network: link.Network{
				Local: a("100.64.0.1"), Peer: a("100.64.1.9"), MTU: 1480,
				DNS: [2]netip.Addr{a("9.9.9.9"), a("149.112.112.112")}, NBNS: [2]netip.Addr{a("10.0.0.1"), a("10.0.0.2")},
			},
		},
		session: 24 * time.Hour, idle: 10 * time.Minute, interim: 5 * time.Minute, sequenced: true,
		clock: keptClock{boot: 1 << 63, at: time.Hour, since: -time.Minute, nextInterim: 2 * time.Hour, check: 3 * time.Hour}, idleOctets: 12345,
		facts: 3, said: "bob", renamed: true,
	}
}

func fullTunnel() keptTunnel {
	return keptTunnel{una: 65535, vendor: "a vendor", sa: &SA{Mark: 7, Profile: "lac", Identity: "CN=lac", Remote: netip.MustParseAddrPort("192.0.2.9:4500")}}
}

var updateKept = flag.Bool("update-kept", false, "write testdata/kept for the newest versions; never for one that was released")

// TestKeptRecords has states as each version wrote them, which must be readable for ever.
func TestKeptRecords(t *testing.T) {
	session, tunnel := fullKept(), fullTunnel()
	heldSession, heldTunnel := session, tunnel
	heldSession.clock.held, heldTunnel.held, heldTunnel.fresh, heldTunnel.last = 59*time.Minute, 1_800_000_000_000_000_000, 70, true
	clockTunnel := heldTunnel
	clockTunnel.clock = keptClock{boot: 1 << 63, at: time.Hour, held: 59 * time.Minute}
	if *updateKept {
		for name, b := range map[string][]byte{"session-v2": session.append(nil), "tunnel-v1": tunnel.append(nil), "session-v1": session.usage,
			"session-v2-held": heldSession.append(nil), "tunnel-v1-held": heldTunnel.append(nil), "tunnel-v1-held-clock": clockTunnel.append(nil)} {
			if err := os.WriteFile(filepath.Join("testdata", "kept", name+".hex"), []byte(hex.EncodeToString(b)+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join("testdata", "kept", name+".hex"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if got, err := parseKeptSession(read("session-v1")); !errors.Is(err, errClosable) || !reflect.DeepEqual(got, keptSession{usage: session.usage}) {
		t.Errorf("session-v1: %+v, %v", got, err)
	}
	if got, err := parseKeptSession(read("session-v2")); err != nil || !reflect.DeepEqual(got, session) {
		t.Errorf("session-v2: %+v, %v; want %+v", got, err, session)
	}
	if got, err := parseKeptSession(read("session-v2-held")); err != nil || !reflect.DeepEqual(got, heldSession) {
		t.Errorf("session-v2-held: %+v, %v; want %+v", got, err, heldSession)
	}
	if got, err := parseKeptTunnel(read("tunnel-v1-held")); err != nil || !reflect.DeepEqual(got, heldTunnel) {
		t.Errorf("tunnel-v1-held: %+v, %v; want %+v", got, err, heldTunnel)
	}
	if got, err := parseKeptTunnel(read("tunnel-v1-held-clock")); err != nil || !reflect.DeepEqual(got, clockTunnel) {
		t.Errorf("tunnel-v1-held-clock: %+v, %v; want %+v", got, err, clockTunnel)
	}
	if got, err := parseKeptTunnel(read("tunnel-v1")); err != nil || !reflect.DeepEqual(got, tunnel) {
		t.Errorf("tunnel-v1: %+v, %v; want %+v", got, err, tunnel)
	}
}

// TestKeptByOthers has states of programs that are newer, or of none.
func TestKeptByOthers(t *testing.T) {
	session := fullKept()
	good := session.append(nil)
	more := appendOctets(appendNumber(good, 63, 99), 62, "something new")
	if got, err := parseKeptSession(more); err != nil || !reflect.DeepEqual(got, session) {
		t.Errorf("fields of a newer version: %+v, %v", got, err)
	}
	var newer *NewerStateError
	if _, err := parseKeptSession(append([]byte{sessionStateVersion + 1}, good[1:]...)); !errors.As(err, &newer) || newer.Known != sessionStateVersion {
		t.Errorf("a newer version: %v", err)
	}
	for name, b := range map[string][]byte{
		"empty": {}, "version 0": {0}, "cut": good[:len(good)-1], "a long number": {2, 0xff, 0xff},
		"octets for a number": appendOctets([]byte{2}, tagMTU, "x"), "a number for octets": appendNumber([]byte{2}, tagUsage, 5),
		"MTU": appendNumber([]byte{2}, tagMTU, 1<<16), "address": appendOctets([]byte{2}, tagPeer, "12345"), "flag": appendNumber([]byte{2}, tagACFC, 2),
	} {
		if _, err := parseKeptSession(b); !errors.Is(err, sessiondb.ErrCorrupt) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// addKept gives a fuzz target the states of all versions that were written down.
func addKept(f *testing.F, pattern string) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "kept", pattern))
	if err != nil || len(files) == 0 {
		f.Fatalf("no states as %s: %v", pattern, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		b, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			f.Fatalf("%s: %v", name, err)
		}
		f.Add(b)
	}
}

func FuzzKeptSession(f *testing.F) {
	addKept(f, "session-*.hex")
	s := fullKept()
	f.Add(s.append(nil))
	f.Add(s.usage)
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parseKeptSession(b)
		if err != nil {
			return
		}
		again, err := parseKeptSession(v.append(nil))
		if err != nil || !reflect.DeepEqual(normal(v), normal(again)) {
			t.Errorf("%+v came back as %+v, %v", v, again, err)
		}
	})
}

// normal does not tell no octets from none.
func normal(k keptSession) keptSession {
	if len(k.usage) == 0 {
		k.usage = nil
	}
	return k
}

func FuzzKeptTunnel(f *testing.F) {
	addKept(f, "tunnel-*.hex")
	f.Add(fullTunnel().append(nil))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parseKeptTunnel(b)
		if err != nil {
			return
		}
		if again, err := parseKeptTunnel(v.append(nil)); err != nil || again.una != v.una || again.vendor != v.vendor || (again.sa == nil) != (v.sa == nil) {
			t.Errorf("%+v came back as %+v, %v", v, again, err)
		}
	})
}
