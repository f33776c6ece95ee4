package ipsec

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"culvert/lns"
	"culvert/lns/ipsec/early"
)

func TestNamesBothWays(t *testing.T) {
	for _, p := range []string{"north", "by cert", "a.b", "a~2eb", "ümlaut", "x+1", "-"} {
		for _, n := range []int{0, 3} {
			name := connName(p, n)
			if got, ok := profileOf(name); !ok || got != p {
				t.Errorf("%q is %q in charon and comes back as %q", p, name, got)
			}
			if strings.Trim(strings.TrimPrefix(name, namePrefix), "abcdefghijklmnopqrstuvwxyz0123456789-_~+") != "" {
				t.Errorf("%q has characters that charon's tools take for their own", name)
			}
		}
	}
	for _, name := range []string{"", "north", "culvert", "culvert-", "culvert-~", "culvert-a~zz", "home-culvert-x"} {
		if p, ok := profileOf(name); ok {
			t.Errorf("%q is taken for a connection of %q", name, p)
		}
	}
}

func sa(mark uint32, profile, identity, remote string) *child {
	return &child{sa: lns.SA{Mark: mark, Profile: profile, Identity: identity, Remote: netip.MustParseAddrPort(remote), ChildID: mark + 100}}
}

// TestTable follows peers through new keys, a second SA and their ends.
func TestTable(t *testing.T) {
	tab := newTable()
	if _, news := tab.put("c", sa(1, "a", "x", "192.0.2.1:4500")); !news {
		t.Error("a new peer is no news")
	}
	again := sa(1, "a", "x", "192.0.2.1:4500")
	if _, news := tab.put("c", again); news {
		t.Error("what is known is news")
	}
	rekeyed := sa(1, "a", "x", "192.0.2.1:4500")
	rekeyed.sa.ChildID = 201
	if p, news := tab.put("c", rekeyed); !news || len(p.children) != 2 {
		t.Errorf("new keys: %v, %+v", news, p)
	}
	if gone := tab.drop(101); gone != nil {
		t.Error("the peer went with its old keys")
	}
	if got, ok := tab.lookup(1); !ok || got.ChildID != 201 {
		t.Errorf("mark 1 is %+v, %v", got, ok)
	}
	if _, ok := tab.lookup(0); ok {
		t.Error("no mark is an SA's")
	}
	second := sa(2, "a", "x", "192.0.2.1:4500")
	p2, _ := tab.put("c", second)
	stranger := sa(3, "a", "y", "192.0.2.9:4500")
	p3, _ := tab.put("c", stranger)
	if tab.heir(p3) != 0 || tab.heir(p2) != 1 {
		t.Errorf("heirs: %d of a peer alone, %d of one with two SAs", tab.heir(p3), tab.heir(p2))
	}
	if got, ok := tab.lookupPeer(netip.MustParseAddr("192.0.2.1")); !ok || got.Identity != "x" {
		t.Errorf("by address: %+v, %v", got, ok)
	}
	tab.put("c", sa(4, "a", "z", "192.0.2.9:4501"))
	if got, ok := tab.lookupPeer(netip.MustParseAddr("192.0.2.9")); ok {
		t.Errorf("an address of two peers is said to be of %+v", got)
	}
	if n := tab.count()["a"]; n != 4 {
		t.Errorf("%d peers", n)
	}
	gone := tab.drop(201)
	if gone == nil || tab.heir(gone) != 2 {
		t.Errorf("the last keys went, and the peer is %+v", gone)
	}
	if _, ok := tab.lookup(1); ok {
		t.Error("a dead mark is found")
	}
	if tab.unknown(1) || tab.unknown(2) || !tab.unknown(77) {
		t.Error("charon would be asked for a dead or a living mark, or not for a new one")
	}
	if n := testing.AllocsPerRun(100, func() { tab.lookup(2) }); n != 0 {
		t.Errorf("a look-up allocates %v times", n)
	}
}

// TestWalled: which sources nothing clear can be of use from.
func TestWalled(t *testing.T) {
	type p struct {
		mode   lns.IPsecMode
		prefix string
		host   string
	}
	for name, c := range map[string]struct {
		profiles []p
		want     string
	}{
		"one that requires, for anybody":            {[]p{{lns.IPsecRequired, "", ""}}, "0.0.0.0/0"},
		"all require":                               {[]p{{lns.IPsecRequired, "10.0.0.0/8", ""}, {lns.IPsecRequired, "192.0.2.0/24", ""}}, "0.0.0.0/0"},
		"one prefers":                               {[]p{{lns.IPsecPreferred, "", ""}}, ""},
		"a network requires, others do not":         {[]p{{lns.IPsecRequired, "10.0.0.0/8", ""}, {lns.IPsecNever, "192.0.2.0/24", ""}}, "10.0.0.0/8"},
		"a network requires, anybody may":           {[]p{{lns.IPsecRequired, "10.0.0.0/8", ""}, {lns.IPsecNever, "", ""}}, "10.0.0.0/8"},
		"a part of the network need not":            {[]p{{lns.IPsecRequired, "10.0.0.0/8", ""}, {lns.IPsecNever, "10.1.0.0/16", ""}}, ""},
		"a host name lets it pass to another":       {[]p{{lns.IPsecRequired, "10.0.0.0/8", "lac1"}, {lns.IPsecNever, "", ""}}, ""},
		"the same network, another need not":        {[]p{{lns.IPsecRequired, "10.0.0.0/8", ""}, {lns.IPsecPreferred, "10.0.0.0/8", "lac2"}}, ""},
		"none":                                      {nil, ""},
		"those of the other family are none of its": {[]p{{lns.IPsecRequired, "10.0.0.0/8", ""}, {lns.IPsecNever, "2001:db8::/32", ""}}, "0.0.0.0/0"},
	} {
		var list []lns.LACProfile
		for _, x := range c.profiles {
			q := lns.LACProfile{IPsec: &lns.IPsecProfile{Mode: x.mode}}
			if x.prefix != "" {
				q.Prefixes = []netip.Prefix{netip.MustParsePrefix(x.prefix)}
			}
			if x.host != "" {
				q.HostNames = []string{x.host}
			}
			list = append(list, q)
		}
		var got []string
		for _, w := range walled(list, true) {
			got = append(got, w.String())
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: walled are %v, want %q", name, got, c.want)
		}
	}
}

// fakeKernel remembers policies.
type fakeKernel struct {
	blocks []block
	err    error
}

func (k *fakeKernel) Blocks() ([]block, error) { return k.blocks, k.err }
func (k *fakeKernel) Block(b block) error      { k.blocks = append(k.blocks, b); return nil }
func (k *fakeKernel) Unblock(b block) error {
	k.blocks = slices.DeleteFunc(k.blocks, func(x block) bool { return x == b })
	return nil
}
func (k *fakeKernel) Early(early.Config) (io.Closer, error)       { return nil, errNoKernel }
func (k *fakeKernel) Snapshot([]netip.AddrPort) (snapshot, error) { return nil, nil }

// TestWallFollowsProfiles: policies come with the profiles that want them and go with them, also
// those of an earlier life; with marks there is one for each bit.
func TestWallFollowsProfiles(t *testing.T) {
	listen := netip.MustParseAddrPort("192.0.2.1:1701")
	left := block{Local: listen, Remote: netip.MustParsePrefix("198.51.100.0/24"), In: true}
	k := &fakeKernel{blocks: []block{left}}
	m, err := New(Config{Listen: []netip.AddrPort{listen}, Wall: true, Marks: true})
	if err != nil {
		t.Fatal(err)
	}
	m.kernel = k
	s := lns.DefaultIPsecProfile()
	m.Apply([]lns.LACProfile{{Name: "x", IPsec: &s, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}})
	m.takeProfiles()
	if len(k.blocks) != 2+markBits || slices.Contains(k.blocks, left) {
		t.Errorf("%d policies: %+v", len(k.blocks), k.blocks)
	}
	in, marked := 0, uint32(0)
	for _, b := range k.blocks {
		if b.In {
			in++
		}
		marked |= b.Mask
	}
	if in != 1 || marked != 1<<markBits-1 {
		t.Errorf("%d inwards; marks %x are kept from leaving in clear", in, marked)
	}
	m.Apply(nil)
	m.takeProfiles()
	if len(k.blocks) != 0 {
		t.Errorf("policies that nobody wants are left: %+v", k.blocks)
	}
}

// TestCharonAway: without charon a manager answers at once, and says what is wrong.
func TestCharonAway(t *testing.T) {
	m, err := New(Config{Socket: t.TempDir() + "/vici", Listen: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1701")}, Retry: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	s := lns.DefaultIPsecProfile()
	m.Apply([]lns.LACProfile{{Name: "x", IPsec: &s}})
	m.Start()
	defer m.Close()
	if _, ok := m.Lookup(5); ok {
		t.Error("an SA is known")
	}
	if _, err := m.Usage(context.Background(), 5); !errors.Is(err, lns.ErrNoSA) {
		t.Errorf("%v; want ErrNoSA", err)
	}
	m.Terminate(5, "test")
	if w := m.Warnings(); len(w) != 1 || !strings.Contains(w[0], "charon is away") {
		t.Errorf("%q", w)
	}
}

func TestConfigRefuses(t *testing.T) {
	if err := (&Config{}).Validate(); err == nil || !strings.Contains(err.Error(), "listen") {
		t.Errorf("%v", err)
	}
	c := Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1701")}, Socket: strings.Repeat("x", 200)}
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "socket") {
		t.Errorf("%v", err)
	}
}

func TestWeakAlgorithms(t *testing.T) {
	p := lns.DefaultIPsecProfile()
	if w := weak(&p); len(w) != 0 {
		t.Errorf("the defaults have %v", w)
	}
	p.Legacy = true
	if w := weak(&p); !slices.Contains(w, "3des") || !slices.Contains(w, "modp1024") || !slices.Contains(w, "sha1") {
		t.Errorf("legacy has %v", w)
	}
}

// FuzzIKELog: whatever a peer makes charon log (identities are the peer's words), nothing
// panics and memory is bounded.
func FuzzIKELog(f *testing.F) {
	for _, s := range []string{
		"192.0.2.1 is initiating an IKE_SA", "received proposals: IKE:AES", "received proposals unacceptable",
		"looking for peer configs matching 10.0.0.1[%any]...10.0.0.2[x]y]", "tried 2 shared keys for 'a' - 'b', but MAC mismatched",
		"no trusted RSA public key found for '%q$1'", "certificate was revoked on x", "traffic selectors a === b unacceptable",
	} {
		f.Add(uint32(1), "culvert-x", s)
	}
	l := &ikeLog{}
	f.Fuzz(func(t *testing.T, id uint32, conn, msg string) {
		if x := l.observe(0, id, conn, msg); x != nil && x.Reason == "" {
			t.Errorf("a failure without reason: %q", msg)
		}
		l.cause(0, id)
		if len(l.traces) > maxTraces {
			t.Errorf("%d traces", len(l.traces))
		}
	})
}

// TestIKELife: only IKEv2 can renew the keys of IKE; with IKEv1 charon would begin a main mode of its own.
func TestIKELife(t *testing.T) {
	cfg := Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1701")}}
	for version, want := range map[int]string{0: "0s", 1: "0s", 2: "14400s"} {
		p := profile("x", func(p *lns.LACProfile) { p.IPsec.Version = version })
		if got := cfg.connection(&p, "%any").Get("rekey_time"); got != want {
			t.Errorf("version %d: rekey_time %s, want %s", version, got, want)
		}
	}
}
