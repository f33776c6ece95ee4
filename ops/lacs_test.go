package ops

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"culvert/lns"
	culvertv1 "culvert/proto/culvert/v1"
)

func TestListLACs(t *testing.T) {
	_, conn := serveSample(t, 4)
	resp, err := culvertv1.NewLACServiceClient(conn).ListLACs(t.Context(), &culvertv1.ListLACsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Lacs) != 2 || resp.Lacs[0].Name != "north" || resp.Lacs[1].Name != "south" {
		t.Fatalf("got %v", resp.Lacs)
	}
	north := resp.Lacs[0]
	if north.Secret != "" || !north.HasSecret || resp.Lacs[1].HasSecret {
		t.Errorf("secrets: %q, %v, %v", north.Secret, north.HasSecret, resp.Lacs[1].HasSecret)
	}
	if north.Tunnels != 2 || north.Sessions != 2 {
		t.Errorf("north has %d tunnels, %d sessions", north.Tunnels, north.Sessions)
	}
	if resp.Lacs[1].Hello == nil || resp.Lacs[1].Hello.AsDuration() != 0 {
		t.Errorf("south sends no HELLO, but the API says %v", resp.Lacs[1].Hello)
	}
}

func TestAddLACFillsDefaults(t *testing.T) {
	node, conn := serveSample(t, 0)
	lacs := culvertv1.NewLACServiceClient(conn)
	_, err := lacs.AddLAC(t.Context(), &culvertv1.AddLACRequest{Lac: &culvertv1.LAC{
		Name: "east", Prefixes: []string{"192.0.2.77", "2001:db8::/32"}, Secret: "s3", EchoInterval: durationpb.New(0),
	}})
	if err != nil {
		t.Fatal(err)
	}
	got := node.LACs()[slices.IndexFunc(node.LACs(), func(p lns.LACProfile) bool { return p.Name == "east" })]
	want := lns.DefaultLACProfile()
	if got.Window != want.Window || got.Hello != want.Hello || got.MRU != want.MRU || got.BusyResult != want.BusyResult ||
		!slices.Equal(got.Auth, want.Auth) || got.EchoFailures != want.EchoFailures {
		t.Errorf("defaults: %+v", got)
	}
	if got.EchoInterval != 0 {
		t.Errorf("echo_interval 0 means none, got %v", got.EchoInterval)
	}
	if len(got.Prefixes) != 2 || got.Prefixes[0].String() != "192.0.2.77/32" || got.Secret != "s3" {
		t.Errorf("got %v, %q", got.Prefixes, got.Secret)
	}
	_, err = lacs.AddLAC(t.Context(), &culvertv1.AddLACRequest{Lac: &culvertv1.LAC{Name: "east"}})
	wantStatus(t, err, codes.AlreadyExists, "lac.name", "east")
}

func TestAddLACRefuses(t *testing.T) {
	node, conn := serveSample(t, 0)
	lacs := culvertv1.NewLACServiceClient(conn)
	for name, c := range map[string]struct {
		lac   *culvertv1.LAC
		words []string
	}{
		"no profile":    {nil, []string{"lac.name"}},
		"bad name":      {&culvertv1.LAC{Name: "a b"}, []string{"lac.name", "letters"}},
		"bad prefix":    {&culvertv1.LAC{Prefixes: []string{"10.0.0.0/8", "x"}}, []string{"lac.prefixes[1]", "192.0.2.0/24"}},
		"host bits":     {&culvertv1.LAC{Prefixes: []string{"10.0.0.1/8"}}, []string{"lac.prefixes", "10.0.0.0/8"}},
		"window":        {&culvertv1.LAC{Window: proto.Uint32(0)}, []string{"lac.window", "1024"}},
		"huge window":   {&culvertv1.LAC{Window: proto.Uint32(70_000)}, []string{"lac.window", "too large"}},
		"two faults":    {&culvertv1.LAC{Window: proto.Uint32(0), Mru: proto.Uint32(1)}, []string{"lac.window", "lac.mru"}},
		"hello":         {&culvertv1.LAC{Hello: durationpb.New(2 * time.Hour)}, []string{"lac.hello", "1h"}},
		"negative time": {&culvertv1.LAC{EchoInterval: durationpb.New(-1)}, []string{"lac.echo_interval"}},
		"auth":          {&culvertv1.LAC{Auth: []culvertv1.AuthMethod{0}}, []string{"lac.auth[0]"}},
		"proxy":         {&culvertv1.LAC{Proxy: 9}, []string{"lac.proxy", "ON_MISMATCH"}},
		"auth twice":    {&culvertv1.LAC{Auth: []culvertv1.AuthMethod{1, 1}}, []string{"lac.auth[1]", "twice"}},
		"busy result":   {&culvertv1.LAC{BusyResult: proto.Uint32(12)}, []string{"lac.busy_result", "11"}},
		"bound":         {&culvertv1.LAC{MaxSessions: 1 << 31}, []string{"lac.max_sessions", "too large"}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.lac != nil && c.lac.Name == "" {
				c.lac.Name = "x"
			}
			_, err := lacs.AddLAC(t.Context(), &culvertv1.AddLACRequest{Lac: c.lac})
			wantStatus(t, err, codes.InvalidArgument, c.words...)
		})
	}
	if n := len(node.LACs()); n != 2 {
		t.Errorf("%d profiles, want the 2 there were", n)
	}
}

func TestChangeLAC(t *testing.T) {
	node, conn := serveSample(t, 0)
	lacs := culvertv1.NewLACServiceClient(conn)
	change := func(l *culvertv1.LAC, mask ...string) error {
		_, err := lacs.ChangeLAC(t.Context(), &culvertv1.ChangeLACRequest{Lac: l, UpdateMask: &fieldmaskpb.FieldMask{Paths: mask}})
		return err
	}
	err := change(&culvertv1.LAC{Name: "north", MaxTunnels: 5, Mru: proto.Uint32(1400), Secret: "not in the mask"}, "max_tunnels", "hello", "prefixes")
	if err != nil {
		t.Fatal(err)
	}
	var got lns.LACProfile
	for _, p := range node.LACs() {
		if p.Name == "north" {
			got = p
		}
	}
	if got.MaxTunnels != 5 || got.MRU != 1500 || got.Secret != "not to be seen" || len(got.Prefixes) != 0 || got.Hello != time.Minute {
		t.Errorf("got %+v", got)
	}
	wantStatus(t, change(&culvertv1.LAC{Name: "north"}), codes.InvalidArgument, "update_mask")
	wantStatus(t, change(&culvertv1.LAC{Name: "north"}, "name"), codes.InvalidArgument, "update_mask", "name", "max_sessions")
	wantStatus(t, change(&culvertv1.LAC{Name: "north", Mru: proto.Uint32(9)}, "mru"), codes.InvalidArgument, "lac.mru")
	wantStatus(t, change(&culvertv1.LAC{Name: "west"}, "mru"), codes.NotFound, "west")
	wantStatus(t, change(nil, "mru"), codes.InvalidArgument, "lac.name")
	node.Fail(fmt.Errorf("%w: two keys for one", lns.ErrProfileConflict))
	wantStatus(t, change(&culvertv1.LAC{Name: "north", MaxTunnels: 6}, "max_tunnels"), codes.FailedPrecondition, "two keys for one")
}

func TestRemoveLAC(t *testing.T) {
	node, conn := serveSample(t, 0)
	lacs := culvertv1.NewLACServiceClient(conn)
	if _, err := lacs.RemoveLAC(t.Context(), &culvertv1.RemoveLACRequest{Name: "north"}); err != nil {
		t.Fatal(err)
	}
	_, err := lacs.GetLAC(t.Context(), &culvertv1.GetLACRequest{Name: "north"})
	wantStatus(t, err, codes.NotFound, "north")
	_, err = lacs.RemoveLAC(t.Context(), &culvertv1.RemoveLACRequest{Name: "north"})
	wantStatus(t, err, codes.NotFound, "north")
	node.Fail(errors.New("journal is full"))
	_, err = lacs.RemoveLAC(t.Context(), &culvertv1.RemoveLACRequest{Name: "south"})
	wantStatus(t, err, codes.Internal, "journal is full")
}

// TestLACFieldsAreComplete keeps lacFields true to the message: every field
// that is not output only can be set and changed.
func TestLACFieldsAreComplete(t *testing.T) {
	outputOnly := []string{"name", "has_secret", "tunnels", "sessions"}
	fields := (&culvertv1.LAC{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		name := string(fields.Get(i).Name())
		known := slices.ContainsFunc(lacFields, func(f lacField) bool { return f.name == name })
		if known == slices.Contains(outputOnly, name) {
			t.Errorf("field %s: in lacFields %v", name, known)
		}
	}
}

// TestLACRoundTrip sends a profile with nothing at its default through both translations.
func TestLACRoundTrip(t *testing.T) {
	p := lns.LACProfile{
		Name: "x", HostNames: []string{"a", "b"}, LocalName: "me", Window: 7, Hello: 3 * time.Second, MRU: 1400,
		Auth: []string{"eap", "mschapv2", "pap"}, Proxy: "strict", EchoInterval: 9 * time.Second, EchoFailures: 2, BusyResult: 5,
		AcceptUnknownMandatory: true, FloatPeer: true, HideAVPs: true, PoolByGroup: true, Address: netip.MustParseAddrPort("[2001:db8::7]:1702"),
		LinePattern: `^x(\d+)`, IgnoreDF: true,
		Sequencing: lns.SequencingAlways, ReorderPackets: 5, ReorderTime: 20 * time.Millisecond, MaxTunnels: 3, MaxSessions: 4,
	}
	p.IPsec = &lns.IPsecProfile{
		Mode: lns.IPsecPreferred, Version: 2, Auth: "cert", LocalID: "lns", RemoteIDs: []string{"a", "b"}, Certificate: "c", CA: "ca", CRL: "crl",
		Revocation: "strict", IKEProposals: []string{"i"}, ESPProposals: []string{"e"}, Legacy: true, NoPFS: true, Encap: true,
		DPDDelay: 2 * time.Second, DPDTimeout: 5 * time.Second, IKELife: time.Minute, Life: 30 * time.Second, ReplayWindow: 64,
		Unique: "never", Initiate: true, PathMTU: 1480, Patience: time.Second,
	}
	if err := setPrefixes(&p, &culvertv1.LAC{Prefixes: []string{"10.0.0.0/8"}}); err != nil {
		t.Fatal(err)
	}
	l, q := lacProto(&p), lns.LACProfile{Name: "x"}
	for _, f := range lacFields {
		if err := f.set(&q, l); err != nil {
			t.Fatal(err)
		}
	}
	if !proto.Equal(l, lacProto(&q)) {
		t.Errorf("there: %v\nback: %v", l, lacProto(&q))
	}
}

// TestIPsecFieldsAreComplete keeps ipsecFields true to the message.
func TestIPsecFieldsAreComplete(t *testing.T) {
	fields := (&culvertv1.IPsecProfile{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		name := string(fields.Get(i).Name())
		known := slices.ContainsFunc(ipsecFields, func(f ipsecField) bool { return f.name == name })
		if output := name == "has_psk" || name == "has_key"; known == output {
			t.Errorf("field %s: in ipsecFields %v", name, known)
		}
	}
}

// TestIPsecIsChangedFieldByField: what a change does not name stays, secrets too, and
// the profile in force is not written to.
func TestIPsecIsChangedFieldByField(t *testing.T) {
	before := lns.DefaultIPsecProfile()
	before.PSK = "secret"
	p := lns.LACProfile{Name: "x", IPsec: &before}
	m := &culvertv1.LAC{Ipsec: &culvertv1.IPsecProfile{Mode: culvertv1.ProtectionMode_PROTECTION_MODE_PREFERRED, Legacy: true}}
	for _, path := range []string{"ipsec.mode", "ipsec.legacy"} {
		if known, err := changeField(&p, m, path); !known || err != nil {
			t.Fatalf("%s: %v, %v", path, known, err)
		}
	}
	if p.IPsec.Mode != lns.IPsecPreferred || !p.IPsec.Legacy || p.IPsec.PSK != "secret" {
		t.Errorf("became %+v", p.IPsec)
	}
	if before.Legacy || before.Mode != lns.IPsecRequired {
		t.Error("the profile in force was written to")
	}
	if known, _ := changeField(&p, m, "ipsec.has_psk"); known {
		t.Error("an output can be changed")
	}
	shown := ipsecProto(p.IPsec)
	if shown.Psk != "" || !shown.HasPsk {
		t.Errorf("shown with its secret: %v", shown)
	}
	added := &culvertv1.AddLACRequest{Lac: &culvertv1.LAC{Ipsec: &culvertv1.IPsecProfile{Psk: "hush", Key: "hush"}}}
	if s := redact(added); strings.Contains(s, "hush") || !strings.Contains(s, "has_psk") {
		t.Errorf("in the log: %s", s)
	}
}
