package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"culvert/aaa/radius/radtest"
	"culvert/lac/lactest"
)

// startWithFreeRADIUS runs lnsd with a FreeRADIUS behind it, and a LAC profile
// for each host name with the keys that profiles gives.
func startWithFreeRADIUS(t *testing.T, users string, profiles map[string]string) (*lactest.Server, *radtest.FreeRADIUS) {
	t.Helper()
	f := radtest.StartFreeRADIUS(t, radtest.FreeRADIUSConfig{Secret: "radius", Users: users, Record: true, EAP: "md5"})
	s := runLNSD(t, func(dir string, listen netip.AddrPort) []string {
		var lacs strings.Builder
		for name, keys := range profiles {
			fmt.Fprintf(&lacs, "\n  - {name: %s, host_names: [%s], %s}", name, name, keys)
		}
		config := filepath.Join(dir, "lnsd.yaml")
		text := fmt.Sprintf(`
node: test
l2tp: {listen: ["%v"], shards: 2}
plane: {mode: memory}
subscriber: {local_address: 10.128.0.1}
lacs: %s
radius:
  auth: {servers: [{name: r, address: "%v", secret: radius, timeout: 10s}]}
  acct: {servers: [{name: r, address: "%v", secret: radius}]}
pools: [{name: p, ranges: [10.128.1.0/24]}]
journal: {dir: %s/journal}
api: {socket: %s/lnsd.sock, http: "127.0.0.1:0"}
`, listen, lacs.String(), f.Auth, f.Acct, dir, dir)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{"--config", config}
	})
	return s, f
}

// TestProxiedCredentialsReachFreeRADIUS: what a LAC's subscribers answered to
// the LAC is what FreeRADIUS judges. It takes CHAP only with the identifier and
// the challenge that were the LAC's; under "always" they are ours.
func TestProxiedCredentialsReachFreeRADIUS(t *testing.T) {
	s, f := startWithFreeRADIUS(t, "DEFAULT\tCleartext-Password := \"secret\"\n", map[string]string{
		"accept": "proxy: accept, mru: 1400", "on-mismatch": "proxy: on-mismatch", "strict": "proxy: strict",
		"always": "proxy: always", "mismatch": "proxy: on-mismatch, mru: 1400", "unfit": "proxy: strict, mru: 1400",
	})
	untilAnswered(t, s, "--host-name", "always")
	for _, c := range []struct {
		profile string
		up      uint64
		// kept: the LAC's authentication is the one that is judged.
		kept bool
	}{
		{"accept", 8, true}, {"on-mismatch", 8, true}, {"strict", 8, true},
		{"always", 8, false}, {"mismatch", 8, false}, {"unfit", 0, false},
	} {
		for _, auth := range []string{"pap", "chap"} {
			before := len(f.Requests())
			args := []string{"--host-name", c.profile, "--proxy", "auth", "--auth", auth, "--sessions", "8"}
			r := simulate(t, s, args...)
			if r.Sessions.Up != c.up {
				t.Errorf("%s, %s: %d calls came up, want %d: %v", c.profile, auth, r.Sessions.Up, c.up, r.Failures)
			}
			asked := f.Requests()[before:]
			if uint64(len(asked)) != c.up {
				t.Errorf("%s, %s: FreeRADIUS was asked %d times", c.profile, auth, len(asked))
			}
			for _, q := range asked {
				if got := len(q["CHAP-Challenge"]) == 1; got != (auth == "chap") {
					t.Errorf("%s, %s: FreeRADIUS was asked with %v", c.profile, auth, q)
				}
			}
			if c.up == 0 {
				continue
			}
			r = simulate(t, s, append(args, "--password", "wrong")...)
			if r.Sessions.Up != 0 || r.Sessions.Failed != 8 {
				t.Errorf("%s, %s, wrong password: %+v", c.profile, auth, r.Sessions)
			}
			checkIdentifiers(t, f.Requests()[before:], c.kept, auth)
		}
	}
}

// checkIdentifiers: a LAC's CHAP identifiers are drawn at random by lacsim, ours
// begin at 1 with each call.
func checkIdentifiers(t *testing.T, asked []map[string][]string, kept bool, auth string) {
	t.Helper()
	if auth != "chap" {
		return
	}
	ids := map[string]bool{}
	for _, q := range asked {
		if v := q["CHAP-Password"]; len(v) == 1 && len(v[0]) > 4 {
			ids[v[0][:4]] = true
		}
	}
	if len(ids) == 0 || kept != (len(ids) > 1) {
		t.Errorf("CHAP identifiers %v: those of the LAC: %v, want %v", ids, len(ids) > 1, kept)
	}
}

// TestEAPAgainstFreeRADIUS is EAP from the subscriber through lnsd to FreeRADIUS, which offers MD5: the
// others ask for MS-CHAPv2 by Nak. A subscriber without EAP gets the profile's next method.
func TestEAPAgainstFreeRADIUS(t *testing.T) {
	s, f := startWithFreeRADIUS(t, "DEFAULT\tCleartext-Password := \"secret\"\n", map[string]string{
		"eap": "auth: [eap, chap]", "only": "auth: [eap]", "small": "auth: [eap], mru: 1200",
	})
	untilAnswered(t, s, "--host-name", "eap", "--auth", "chap")
	for _, c := range []struct {
		profile, auth string
		// requests is how many each call takes; 0 where no call comes up.
		requests int
		mtu      string
	}{
		{"eap", "eap-md5", 2, "1492"},
		{"eap", "eap-mschapv2", 4, "1492"},
		{"eap", "eap", 2, "1492"},
		{"eap", "chap", 1, ""},
		{"small", "eap-mschapv2", 4, "1200"},
		{"only", "chap", 0, ""},
	} {
		before, sessions := len(f.Requests()), 20
		args := []string{"--host-name", c.profile, "--auth", c.auth, "--sessions", fmt.Sprint(sessions)}
		r := simulate(t, s, append(args, "--traffic", "ping")...)
		asked := f.Requests()[before:]
		if want := min(c.requests, 1) * sessions; int(r.Sessions.Up) != want || int(r.Packets.Answered) != want {
			t.Errorf("%s, %s: %d calls came up and %d pings were answered, want %d: %v", c.profile, c.auth, r.Sessions.Up, r.Packets.Answered, want, r.Failures)
		}
		if len(asked) != c.requests*sessions {
			t.Errorf("%s, %s: FreeRADIUS was asked %d times, want %d for each call", c.profile, c.auth, len(asked), c.requests)
		}
		for _, q := range asked {
			if got := strings.Join(q["Framed-MTU"], " "); got != c.mtu || len(q["Acct-Session-Id"]) != 1 {
				t.Errorf("%s, %s: FreeRADIUS was asked with %v", c.profile, c.auth, q)
			}
		}
		if c.requests > 1 {
			if r := simulate(t, s, append(args, "--password", "wrong")...); r.Sessions.Up != 0 || int(r.Sessions.Failed) != sessions {
				t.Errorf("%s, %s, wrong password: %+v", c.profile, c.auth, r.Sessions)
			}
		}
	}
}
