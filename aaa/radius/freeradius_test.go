package radius_test

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"culvert/aaa"
	"culvert/aaa/radius"
	"culvert/aaa/radius/radtest"
)

const users = `
ann	Cleartext-Password := "right"
	Framed-IP-Address = 198.51.100.9,
	Framed-Pool = "gold",
	Framed-MTU = 1492,
	Framed-Route = "203.0.113.0/29 198.51.100.9 1",
	Framed-Route += "192.168.7.0 198.51.100.9 1",
	Session-Timeout = 86400,
	Idle-Timeout = 900,
	Acct-Interim-Interval = 300,
	Class = 0x0001ff,
	Class += 0x676f6c64,
	MS-Primary-DNS-Server = 192.0.2.53,
	MS-Secondary-DNS-Server = 192.0.2.54,
	MS-Primary-NBNS-Server = 192.0.2.55,
	Reply-Message = "hello ",
	Reply-Message += "ann",
	User-Name = "ann@isp"
bob	Cleartext-Password := "right"
	Framed-IP-Address = 255.255.255.254,
	ERX-Address-Pool-Name = "silver",
	ERX-Primary-Dns = 192.0.2.1,
	ERX-Secondary-Dns = 192.0.2.2
`

func startFreeRADIUS(t *testing.T) (*radtest.FreeRADIUS, *radius.Client, *logBuffer) {
	t.Helper()
	f := radtest.StartFreeRADIUS(t, radtest.FreeRADIUSConfig{Secret: secret, Users: users})
	auth, acct := quick(f.Auth), quick(f.Acct)
	auth.Timeout, acct.Timeout = time.Second, time.Second
	c, log := newClient(t, []radius.Server{auth}, []radius.Server{acct})
	return f, c, log
}

func TestFreeRADIUSAuthorize(t *testing.T) {
	_, c, _ := startFreeRADIUS(t)
	want := &aaa.Grant{
		User: "ann@isp", Address: netip.MustParseAddr("198.51.100.9"), Pool: "gold", MTU: 1492,
		Routes:         []netip.Prefix{netip.MustParsePrefix("203.0.113.0/29"), netip.MustParsePrefix("192.168.7.0/24")},
		SessionTimeout: 24 * time.Hour, IdleTimeout: 15 * time.Minute, Interim: 5 * time.Minute,
		Class:        [][]byte{{0, 1, 0xff}, []byte("gold")},
		DNS:          [2]netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("192.0.2.54")},
		NBNS:         [2]netip.Addr{netip.MustParseAddr("192.0.2.55")},
		ReplyMessage: "hello ann",
	}
	for name, req := range map[string]aaa.Request{"PAP": pap("ann", "right"), "CHAP": chap("ann", "right"), "MS-CHAPv2": mschap(t, "ann", "right")} {
		g, err := ask(t, c, req)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if req.Method == aaa.MethodMSCHAPv2 {
			if !strings.HasPrefix(g.MSCHAPSuccess, "S=") || len(g.MSCHAPSuccess) < 42 {
				t.Errorf("success string %q", g.MSCHAPSuccess)
			}
			g.MSCHAPSuccess = ""
		}
		if g.Server == "" {
			t.Errorf("%s: nobody says which server it was", name)
		}
		g.Server = ""
		if !reflect.DeepEqual(g, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, g, want)
		}
	}
	g, err := ask(t, c, pap("bob", "right"))
	if err != nil || g.Address.IsValid() || g.Pool != "silver" || g.DNS[1].String() != "192.0.2.2" {
		t.Errorf("bob: %+v, %v", g, err)
	}
	for name, req := range map[string]aaa.Request{"PAP": pap("ann", "wrong"), "CHAP": chap("ann", "wrong"), "MS-CHAPv2": mschap(t, "ann", "wrong")} {
		var rej *aaa.RejectError
		if _, err := ask(t, c, req); !errors.As(err, &rej) {
			t.Errorf("%s: got %v, want a rejection", name, err)
		} else if name == "MS-CHAPv2" && !strings.HasPrefix(rej.MSCHAPError, "E=691") {
			t.Errorf("MS-CHAP-Error is %q", rej.MSCHAPError)
		}
	}
}

func TestFreeRADIUSAccounting(t *testing.T) {
	f, c, _ := startFreeRADIUS(t)
	for _, k := range []aaa.UsageKind{aaa.UsageStart, aaa.UsageInterim, aaa.UsageStop} {
		if err := account(t, c, usage(k, "n1-5-a1")); err != nil {
			t.Fatal(err)
		}
	}
	got := f.Details()
	if len(got) != 3 {
		t.Fatalf("%d records in the detail file", len(got))
	}
	common := map[string][]string{
		"Acct-Session-Id": {"n1-5-a1"}, "User-Name": {"ann"}, "Class": {"0x0001", "0x74776f"}, "Framed-IP-Address": {"198.51.100.9"},
		"Framed-Route": {"203.0.113.0/29 0.0.0.0 1"}, "NAS-Identifier": {"lns-1"}, "NAS-IP-Address": {"127.0.0.1"}, "NAS-Port": {"4711"},
		"NAS-Port-Type": {"Virtual"}, "NAS-Port-Id": {"olt-7/3/21"}, "Service-Type": {"Framed-User"}, "Framed-Protocol": {"PPP"},
		"Called-Station-Id": {"0845"}, "Calling-Station-Id": {"02075550123"}, "Connect-Info": {"80000000/20000000"}, "Acct-Authentic": {"RADIUS"},
		"Tunnel-Type:0": {"L2TP"}, "Tunnel-Medium-Type:0": {"IPv4"}, "Tunnel-Client-Endpoint:0": {"192.0.2.7"}, "Tunnel-Server-Endpoint:0": {"192.0.2.1"},
		"Tunnel-Client-Auth-Id:0": {"lac-1"}, "Tunnel-Server-Auth-Id:0": {"lns-1"}, "Tunnel-Assignment-Id:0": {"17"}, "Acct-Tunnel-Connection": {"99812"},
		"Acct-Delay-Time": {"7"},
	}
	counters := map[string][]string{
		"Acct-Session-Time": {"90"}, "Acct-Input-Octets": {"6"}, "Acct-Input-Gigawords": {"5"}, "Acct-Output-Octets": {"8"},
		"Acct-Output-Gigawords": {"7"}, "Acct-Input-Packets": {"9"}, "Acct-Output-Packets": {"10"},
	}
	for i, status := range []string{"Start", "Interim-Update", "Stop"} {
		compare(t, status, got[i], map[string][]string{"Acct-Status-Type": {status}})
		compare(t, status, got[i], common)
		if status == "Start" {
			if len(got[i]["Acct-Session-Time"]) != 0 {
				t.Error("a Start has counters")
			}
			continue
		}
		compare(t, status, got[i], counters)
	}
	compare(t, "Stop", got[2], map[string][]string{"Acct-Terminate-Cause": {"Lost-Carrier"}})
	if len(got[0]["Event-Timestamp"]) != 1 {
		t.Error("no Event-Timestamp")
	}
}

func compare(t *testing.T, what string, got, want map[string][]string) {
	t.Helper()
	for name, v := range want {
		if !reflect.DeepEqual(got[name], v) {
			t.Errorf("%s: %s is %q, want %q", what, name, got[name], v)
		}
	}
}

// A server that answers without Message-Authenticator is named in the log, and
// can be allowed.
func TestFreeRADIUSUnsigned(t *testing.T) {
	f := radtest.StartFreeRADIUS(t, radtest.FreeRADIUSConfig{Secret: secret, Users: users, Unsigned: true})
	strict, lax := quick(f.Auth), quick(f.Auth)
	lax.AllowUnsigned = true
	c, log := newClient(t, []radius.Server{strict}, nil)
	_, err := ask(t, c, pap("ann", "right"))
	wantUnavailable(t, err)
	if !log.has("without Message-Authenticator") || c.Stats()[0].Unsigned == 0 {
		t.Errorf("stats %+v", c.Stats()[0])
	}
	c, _ = newClient(t, []radius.Server{lax}, nil)
	if _, err := ask(t, c, pap("ann", "right")); err != nil {
		t.Error(err)
	}
}

// FreeRADIUS ends and comes back: Status-Server notices, on both ports.
func TestFreeRADIUSReturns(t *testing.T) {
	f := radtest.StartFreeRADIUS(t, radtest.FreeRADIUSConfig{Secret: secret, Users: users})
	auth, acct := quick(f.Auth), quick(f.Acct)
	auth.DeadTime, acct.DeadTime = time.Hour, time.Hour
	c, log := newClient(t, []radius.Server{auth}, []radius.Server{acct})
	f.Stop()
	_, err := ask(t, c, pap("ann", "right"))
	wantUnavailable(t, err)
	wantUnavailable(t, account(t, c, usage(aaa.UsageStart, "s1")))
	if st := c.Stats(); st[0].Alive || st[1].Alive || !log.has("RADIUS server is dead") {
		t.Fatalf("stats %+v", st)
	}
	f.Start()
	eventually(t, "both servers are alive again", func() bool { st := c.Stats(); return st[0].Alive && st[1].Alive })
	if _, err := ask(t, c, pap("ann", "right")); err != nil {
		t.Error(err)
	}
	if err := account(t, c, usage(aaa.UsageStart, "s1")); err != nil {
		t.Error(err)
	}
}
