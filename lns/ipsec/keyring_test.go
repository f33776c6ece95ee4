package ipsec

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"culvert/lns"
)

// keyed makes a profile with a key of its own: prefixes, and identities after a "|".
func keyed(name, what string, change ...func(*lns.LACProfile)) lns.LACProfile {
	p := profile(name, nil)
	prefixes, ids, _ := strings.Cut(what, "|")
	for _, s := range strings.Fields(prefixes) {
		p.Prefixes = append(p.Prefixes, netip.MustParsePrefix(s))
	}
	p.IPsec.RemoteIDs = strings.Fields(ids)
	for _, f := range change {
		f(&p)
	}
	return p
}

func version(n int) func(*lns.LACProfile) {
	return func(p *lns.LACProfile) { p.IPsec.Version = n }
}

func psk(s string) func(*lns.LACProfile) {
	return func(p *lns.LACProfile) { p.IPsec.PSK = s }
}

func calledBy(id string) func(*lns.LACProfile) {
	return func(p *lns.LACProfile) { p.IPsec.LocalID = id }
}

func withCerts(p *lns.LACProfile) { p.IPsec.Auth, p.IPsec.PSK = "cert", "" }

// testListen is where the LNS of these tests listens.
var testListen = Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.9:1701")}}

// TestOwners: what identities a key is given to, beside others.
func TestOwners(t *testing.T) {
	for name, c := range map[string]struct {
		list []lns.LACProfile
		want string // owners of the first one's key
	}{
		"the only key":              {[]lns.LACProfile{keyed("a", "10.1.0.0/16")}, "10.1.0.0/16 %any"},
		"the only key, for anybody": {[]lns.LACProfile{keyed("a", "")}, "0.0.0.0/0 ::/0 %any"},
		"one key for two":           {[]lns.LACProfile{keyed("a", "10.1.0.0/16", psk("x")), keyed("b", "10.2.0.0/16", psk("x"))}, "10.1.0.0/16 %any"},
		"beside certificates":       {[]lns.LACProfile{keyed("a", "10.1.0.0/16"), keyed("b", "", withCerts)}, "10.1.0.0/16 %any"},
		"prefixes":                  {[]lns.LACProfile{keyed("a", "10.1.0.0/16 10.2.2.2/32 2001:db8::/48"), keyed("b", "")}, "10.1.0.0/16 10.2.2.2 2001:db8::/48"},
		"prefixes with another's inside": {[]lns.LACProfile{keyed("a", "10.1.0.0/24"), keyed("b", "10.1.0.128/25"), keyed("c", "10.1.0.5/32")},
			"10.1.0.0-10.1.0.4 10.1.0.6-10.1.0.127"},
		"our own address among them": {[]lns.LACProfile{keyed("a", "192.0.2.8/30"), keyed("b", "")}, "192.0.2.8 192.0.2.10/31"},
		"our name beyond a NAT":      {[]lns.LACProfile{keyed("a", "192.0.2.16/30", calledBy("192.0.2.17")), keyed("b", "")}, "192.0.2.16 192.0.2.18/31"},
		"identities":                 {[]lns.LACProfile{keyed("a", "10.1.0.1/32|lac.example.net", version(2)), keyed("b", "")}, "lac.example.net"},
		"identities, and the address for IKEv1": {[]lns.LACProfile{keyed("a", "10.1.0.1/32|*.example.net 172.16.0.1"), keyed("b", "")},
			"*.example.net 172.16.0.1 10.1.0.1"},
		"anybody beside others": {[]lns.LACProfile{keyed("a", ""), keyed("b", "128.0.0.0/1 8000::/1"), keyed("c", "|0.0.0.1 4000::/2")},
			"0.0.0.0 0.0.0.2-127.255.255.255 ::/2"},
		"anybody by an operator's word": {[]lns.LACProfile{keyed("a", "|%any"), keyed("b", "10.1.0.0/16")}, "%any 0.0.0.0/0 ::/0 %any"},
		"another is everybody's":        {[]lns.LACProfile{keyed("a", "10.1.0.0/16"), keyed("b", "|%any")}, "10.1.0.0/16"},
	} {
		r := newKeyring(&testListen, c.list, testListen.named())
		if got := strings.Join(r.owners(&c.list[0]), " "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestConflicts: profiles whose LACs their keys do not tell apart are found, and named, others are not.
func TestConflicts(t *testing.T) {
	for name, c := range map[string]struct {
		list []lns.LACProfile
		want string // words of the one conflict
	}{
		"all apart":                   {[]lns.LACProfile{keyed("a", "10.1.0.0/16"), keyed("b", "10.1.2.0/24"), keyed("c", ""), keyed("d", "|*.example.net")}, ""},
		"two for any source":          {[]lns.LACProfile{keyed("a", ""), keyed("b", "")}, `"b" and "a" have different pre-shared keys, but both are for any source`},
		"two, with one key":           {[]lns.LACProfile{keyed("a", "", psk("x")), keyed("b", "", psk("x"))}, ""},
		"two, one with certificates":  {[]lns.LACProfile{keyed("a", ""), keyed("b", "", withCerts), keyed("c", "10.1.0.0/16")}, ""},
		"two, by an operator's word":  {[]lns.LACProfile{keyed("a", ""), keyed("b", "|%any")}, ""},
		"one prefix":                  {[]lns.LACProfile{keyed("a", "10.1.0.0/16"), keyed("b", "10.2.0.0/16 10.1.0.0/16")}, "the address 10.1.0.0/16"},
		"one prefix, one with names":  {[]lns.LACProfile{keyed("a", "10.1.0.0/16"), keyed("b", "10.1.0.0/16|*.example.net")}, ""},
		"one identity":                {[]lns.LACProfile{keyed("a", "10.1.0.0/16|lac.example.net"), keyed("b", "|Lac.Example.net")}, "identity 'lac.example.net'"},
		"a pattern and one of its":    {[]lns.LACProfile{keyed("a", "|*@example.net"), keyed("b", "|x@y.example.net lac@example.net")}, "identity 'lac@example.net'"},
		"one pattern in another":      {[]lns.LACProfile{keyed("a", "|*.lacs.example.net"), keyed("b", "|*.example.net")}, "may be of either"},
		"of two kinds":                {[]lns.LACProfile{keyed("a", "|*.example.net"), keyed("b", "|lac@lacs.example.net")}, ""},
		"an address named by two":     {[]lns.LACProfile{keyed("a", "|172.16.0.1"), keyed("b", "|172.16.0.0-172.16.0.9")}, "the address 172.16.0"},
		"an address named, and a LAC": {[]lns.LACProfile{keyed("a", "10.1.0.0/16"), keyed("b", "|10.1.0.1")}, ""},
		"names of certificates":       {[]lns.LACProfile{keyed("a", "|C=ZA,CN=a"), keyed("b", "|C=ZA,CN=b")}, ""},
		"names of certificates, any":  {[]lns.LACProfile{keyed("a", "|C=ZA,CN=a"), keyed("b", "|C=ZA,CN=*")}, "may be of either"},
		"our own name":                {[]lns.LACProfile{keyed("a", "10.1.0.0/16", calledBy("lns.example.net")), keyed("b", "|*.example.net")}, "is our own name"},
		"our own name, its own":       {[]lns.LACProfile{keyed("a", "10.1.0.0/16"), keyed("b", "|*.example.net", calledBy("lns.example.net"))}, ""},
	} {
		list := Conflicts(testListen, c.list)
		switch {
		case c.want == "" && len(list) > 0:
			t.Errorf("%s: %v", name, list[0].Err)
		case c.want != "" && (len(list) != 1 || !strings.Contains(list[0].Err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, list, c.want)
		case c.want != "" && list[0].Profiles[0] != c.list[1].Name:
			t.Errorf("%s: %q is complained of, not the later one", name, list[0].Profiles[0])
		}
	}
}

// TestCheckProfile: a profile is refused when it comes into another one's way, and replaces the one of its name.
func TestCheckProfile(t *testing.T) {
	m, err := New(testListen)
	if err != nil {
		t.Fatal(err)
	}
	others := []lns.LACProfile{keyed("a", "10.1.0.0/16"), keyed("b", "10.2.0.0/16")}
	if err := m.Check(keyed("b", "10.1.0.0/16"), others); err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("in the way of a: %v", err)
	}
	if err := m.Check(keyed("a", "10.1.0.0/16", psk("a new one for a")), others); err != nil {
		t.Errorf("a new key for the same profile: %v", err)
	}
	if err := m.Check(keyed("c", "10.3.0.0/16"), append(others, keyed("d", "10.2.0.0/16"))); err != nil {
		t.Errorf("others are in each other's way, and it is blamed: %v", err)
	}
}

// TestKeyWarnings: keys that are everybody's, and LACs that IKEv1 takes for another's, are named.
func TestKeyWarnings(t *testing.T) {
	two := Config{Listen: append(slices.Clone(testListen.Listen), netip.MustParseAddrPort("192.0.2.10:1701"))}
	for name, c := range map[string]struct {
		cfg  Config
		list []lns.LACProfile
		want string
	}{
		"nothing":               {testListen, []lns.LACProfile{keyed("a", "10.1.0.0/16"), keyed("b", ""), keyed("c", "", withCerts)}, ""},
		"everybody's":           {testListen, []lns.LACProfile{keyed("a", "10.1.0.0/16"), keyed("b", "|%any")}, "(b)"},
		"the only one":          {testListen, []lns.LACProfile{keyed("b", "|%any")}, ""},
		"one prefix, by names":  {testListen, []lns.LACProfile{keyed("a", "10.1.0.0/16|a.example.net"), keyed("b", "10.1.0.0/16|b.example.net")}, "a (that of b); b (that of a)"},
		"so, and IKEv2":         {testListen, []lns.LACProfile{keyed("a", "10.1.0.0/16|a.example.net", version(2)), keyed("b", "10.1.0.0/16|b.example.net")}, ""},
		"within another's":      {testListen, []lns.LACProfile{keyed("a", "10.1.0.0/16"), keyed("b", "10.1.0.0/24")}, ""},
		"names from any source": {testListen, []lns.LACProfile{keyed("a", "10.1.0.0/16"), keyed("b", "|b.example.net")}, "a (that of b)"},
		"so, called at two":     {two, []lns.LACProfile{keyed("a", "10.1.0.0/16"), keyed("b", "|b.example.net")}, ""},
		"names, and names":      {testListen, []lns.LACProfile{keyed("a", "|a.example.net"), keyed("b", "|b.example.net")}, "a (that of b); b (that of a)"},
		"so, and anybody":       {testListen, []lns.LACProfile{keyed("a", ""), keyed("b", "|b.example.net")}, "a (that of b)"},
		"a LAC of one address":  {testListen, []lns.LACProfile{keyed("a", "10.1.0.1/32"), keyed("b", "|b.example.net")}, ""},
	} {
		got := strings.Join(newKeyring(&c.cfg, c.list, c.cfg.named()).warnings(), "\n")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestDoubt: of which SAs it is not certain that the profile's own key has made them.
func TestDoubt(t *testing.T) {
	list := []lns.LACProfile{
		keyed("north", "10.1.0.0/16"), keyed("south", "10.2.0.1/32|*@south.example.net"), keyed("clients", ""),
		keyed("named", "|*.clients.example.net", version(2)), keyed("hex", "|@#0102ff", version(2)), keyed("dn", "|C=ZA,CN=*", version(2)),
		keyed("certs", "", withCerts),
	}
	r := newKeyring(&testListen, list, testListen.named())
	for name, c := range map[string]struct {
		profile, id, local, remote string
		version                    int
		want                       string // the other profile
	}{
		"its address":                 {"north", "10.1.2.3", "192.0.2.9", "10.1.2.3", 2, ""},
		"another's address":           {"north", "10.2.0.1", "192.0.2.9", "10.1.2.3", 2, "south"},
		"nobody's address":            {"north", "172.16.0.1", "192.0.2.9", "10.1.2.3", 2, "clients"},
		"a range":                     {"north", "10.1.0.0-10.2.255.255", "192.0.2.9", "10.1.2.3", 2, "south"},
		"all addresses":               {"north", "0.0.0.0/0", "192.0.2.9", "10.1.2.3", 2, "south"},
		"another's name":              {"north", "x@South.example.net", "192.0.2.9", "10.1.2.3", 2, "south"},
		"another's name, by a client": {"clients", "x.clients.example.net", "192.0.2.9", "9.9.9.9", 2, "named"},
		"a name of nobody's":          {"north", "lac", "192.0.2.9", "10.1.2.3", 2, ""},
		"its name":                    {"south", "x@south.example.net", "192.0.2.9", "10.2.0.1", 2, ""},
		"its name, of another kind":   {"south", "x@south.example.net.clients.example.net", "192.0.2.9", "10.2.0.1", 2, ""},
		"octets":                      {"north", "01:02:ff", "192.0.2.9", "10.1.2.3", 2, "hex"},
		"a certificate's name":        {"north", "C=ZA, CN=x, y", "192.0.2.9", "10.1.2.3", 2, "dn"},
		"too long to tell":            {"north", strings.Repeat("x", 500), "192.0.2.9", "10.1.2.3", 2, "south"},
		"we by another's name":        {"north", "10.1.2.3", "x.clients.example.net", "10.1.2.3", 2, "named"},
		"we by another's address":     {"north", "10.1.2.3", "10.2.0.1", "10.1.2.3", 2, "south"},
		"IKEv1 from its address":      {"north", "whatever", "192.0.2.9", "10.1.2.3", 1, ""},
		"IKEv1 from another's":        {"north", "10.1.2.3", "192.0.2.9", "10.2.0.1", 1, "south"},
		"IKEv1 as anybody":            {"clients", "10.1.2.3", "192.0.2.9", "10.1.2.3", 1, "north"},
		"IKEv1 of anybody":            {"clients", "192.168.1.2", "192.0.2.9", "198.51.100.7", 1, ""},
		"certificates":                {"certs", "x@south.example.net", "192.0.2.9", "10.1.2.3", 2, ""},
	} {
		sa := lns.SA{Profile: c.profile, Identity: c.id, IKEVersion: c.version,
			Remote: netip.AddrPortFrom(netip.MustParseAddr(c.remote), 500), Local: netip.MustParseAddrPort("192.0.2.9:500")}
		got := r.doubt(&sa, c.local)
		if (got == "") != (c.want == "") || !strings.Contains(got, `of "`+c.want) && c.want != "" {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	for id, want := range map[string]bool{"10.1.2.3": false, "lac7": true, "172.16.0.1": true, "": false} {
		if got := r.mend("north", id); (got != "") != want || want && !strings.Contains(got, `profile "north" was not tried; add '`+id+"' to its remote_ids") {
			t.Errorf("north and %q: %q", id, got)
		}
	}
}

// FuzzIdentity: whatever is an identity, its reading is no surprise: nothing panics, what is the same meets, and of an exact
// one the print is recognized.
func FuzzIdentity(f *testing.F) {
	for _, s := range []string{"", "%any", "10.0.0.1", "10.0.0.0/24", "10.0.0.1-10.0.0.9", "2001:db8::/32", "*.example.net", "@#0a0b", "keyid:x", "{2}:x",
		"C=ZA, O=*", "ipv4net:10.0.0.0/8", "@@a@b", "email:*@x", "ipv4:x", "fqdn:#6161"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		x, y := parseIdentity(a), parseIdentity(b)
		if x.overlaps(&y) != y.overlaps(&x) {
			t.Errorf("%q overlaps %q one way only", a, b)
		}
		if !x.overlaps(&x) {
			t.Errorf("%q does not overlap itself", a)
		}
		if x.kind != idAddrs && x.kind != idDN && !x.wild && len(x.text) < longestIdentity && !x.may(show(x.text), nil) {
			t.Errorf("%q is not what it prints, %q", a, x.text)
		}
		x.may(show(b), nil)
		if x.kind == idAddrs && y.kind == idAddrs {
			for _, s := range x.span.less([]span{y.span}) {
				if s.meets(y.span) || s.hi.Less(s.lo) || !s.meets(x.span) {
					t.Errorf("%v without %v has %v", x.span, y.span, s)
				}
			}
		}
	})
}

// TestManyKeys: twenty thousand LACs with keys of their own are shared out in no time that matters.
func TestManyKeys(t *testing.T) {
	list := []lns.LACProfile{keyed("clients", "")}
	for i := range 20000 {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})
		list = append(list, keyed("lac"+a.String(), a.String()+"/32"))
	}
	r := newKeyring(&testListen, list, testListen.named())
	if n := len(r.owners(&list[0])); n < 20000 {
		t.Errorf("%d pieces", n)
	}
	if c := r.conflicts(); len(c) > 0 {
		t.Error(c[0].Err)
	}
}

// TestOwnersChange: another profile's coming changes to whom a key is given, and ends no SA for it; a new key does.
func TestOwnersChange(t *testing.T) {
	one := []lns.LACProfile{keyed("a", "")}
	two := append(slices.Clone(one), keyed("b", "10.1.0.0/16"))
	want := func(list []lns.LACProfile) *wanted {
		return testListen.want(&list[0], newKeyring(&testListen, list, testListen.named()))
	}
	before, after := want(one), want(two)
	if slices.Equal(before.shared.GetList("owners"), after.shared.GetList("owners")) {
		t.Errorf("its owners stay %v", after.shared.GetList("owners"))
	}
	if before.access != after.access {
		t.Error("its SAs would end")
	}
	two[0].IPsec.PSK = "a new one for a profile"
	if want(two).access == after.access {
		t.Error("a new key would let SAs made with the old one be")
	}
}
