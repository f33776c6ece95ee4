package ops

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"culvert/lns"
	culvertv1 "culvert/proto/culvert/v1"
)

// protectionModes are lns's modes and their numbers.
var protectionModes = map[lns.IPsecMode]culvertv1.ProtectionMode{
	lns.IPsecNever:     culvertv1.ProtectionMode_PROTECTION_MODE_NEVER,
	lns.IPsecPreferred: culvertv1.ProtectionMode_PROTECTION_MODE_PREFERRED,
	lns.IPsecRequired:  culvertv1.ProtectionMode_PROTECTION_MODE_REQUIRED,
}

// ipsecProto is a profile's IPsec without its secrets.
func ipsecProto(p *lns.IPsecProfile) *culvertv1.IPsecProfile {
	if p == nil {
		return nil
	}
	window := uint32(p.ReplayWindow)
	return &culvertv1.IPsecProfile{
		Mode: protectionModes[p.Mode], IkeVersion: uint32(p.Version), Auth: p.Auth, LocalId: p.LocalID, RemoteIds: p.RemoteIDs,
		HasPsk: p.PSK != "", Certificate: p.Certificate, HasKey: p.Key != "", Ca: p.CA, Crl: p.CRL, Revocation: p.Revocation,
		IkeProposals: p.IKEProposals, EspProposals: p.ESPProposals, Legacy: p.Legacy, NoPfs: p.NoPFS, ForceNatT: p.Encap,
		DpdDelay: durationpb.New(p.DPDDelay), DpdTimeout: durationpb.New(p.DPDTimeout),
		IkeLife: durationpb.New(p.IKELife), Life: durationpb.New(p.Life), ReplayWindow: &window, Unique: p.Unique,
		Initiate: p.Initiate, Patience: durationpb.New(p.Patience), PathMtu: uint32(p.PathMTU),
	}
}

// ipsecField puts one field of the message into a profile, as lacField does.
type ipsecField struct {
	name string
	set  func(p *lns.IPsecProfile, m *culvertv1.IPsecProfile) error
}

var ipsecDefaults = lns.DefaultIPsecProfile()

// ipsecFields has every field of IPsecProfile that a client may set.
var ipsecFields = []ipsecField{
	{"mode", func(p *lns.IPsecProfile, m *culvertv1.IPsecProfile) error {
		p.Mode = ipsecDefaults.Mode
		for mode, v := range protectionModes {
			if v == m.GetMode() {
				p.Mode = mode
			}
		}
		return nil
	}},
	{"ike_version", func(p *lns.IPsecProfile, m *culvertv1.IPsecProfile) error {
		return setBound("lac.ipsec.ike_version", &p.Version, m.GetIkeVersion())
	}},
	{"auth", func(p *lns.IPsecProfile, m *culvertv1.IPsecProfile) error {
		p.Auth = m.GetAuth()
		if p.Auth == "" {
			p.Auth = ipsecDefaults.Auth
			if m.GetCertificate() != "" {
				p.Auth = "cert"
			}
		}
		return nil
	}},
	ipsecText("local_id", (*culvertv1.IPsecProfile).GetLocalId, func(p *lns.IPsecProfile) *string { return &p.LocalID }, ""),
	ipsecList("remote_ids", (*culvertv1.IPsecProfile).GetRemoteIds, func(p *lns.IPsecProfile) *[]string { return &p.RemoteIDs }),
	ipsecText("psk", (*culvertv1.IPsecProfile).GetPsk, func(p *lns.IPsecProfile) *string { return &p.PSK }, ""),
	ipsecText("certificate", (*culvertv1.IPsecProfile).GetCertificate, func(p *lns.IPsecProfile) *string { return &p.Certificate }, ""),
	ipsecText("key", (*culvertv1.IPsecProfile).GetKey, func(p *lns.IPsecProfile) *string { return &p.Key }, ""),
	ipsecText("ca", (*culvertv1.IPsecProfile).GetCa, func(p *lns.IPsecProfile) *string { return &p.CA }, ""),
	ipsecText("crl", (*culvertv1.IPsecProfile).GetCrl, func(p *lns.IPsecProfile) *string { return &p.CRL }, ""),
	ipsecText("revocation", (*culvertv1.IPsecProfile).GetRevocation, func(p *lns.IPsecProfile) *string { return &p.Revocation }, ipsecDefaults.Revocation),
	ipsecList("ike_proposals", (*culvertv1.IPsecProfile).GetIkeProposals, func(p *lns.IPsecProfile) *[]string { return &p.IKEProposals }),
	ipsecList("esp_proposals", (*culvertv1.IPsecProfile).GetEspProposals, func(p *lns.IPsecProfile) *[]string { return &p.ESPProposals }),
	ipsecBool("legacy", (*culvertv1.IPsecProfile).GetLegacy, func(p *lns.IPsecProfile) *bool { return &p.Legacy }),
	ipsecBool("no_pfs", (*culvertv1.IPsecProfile).GetNoPfs, func(p *lns.IPsecProfile) *bool { return &p.NoPFS }),
	ipsecBool("force_nat_t", (*culvertv1.IPsecProfile).GetForceNatT, func(p *lns.IPsecProfile) *bool { return &p.Encap }),
	ipsecTime("dpd_delay", (*culvertv1.IPsecProfile).GetDpdDelay, func(p *lns.IPsecProfile) *time.Duration { return &p.DPDDelay }),
	ipsecTime("dpd_timeout", (*culvertv1.IPsecProfile).GetDpdTimeout, func(p *lns.IPsecProfile) *time.Duration { return &p.DPDTimeout }),
	ipsecTime("ike_life", (*culvertv1.IPsecProfile).GetIkeLife, func(p *lns.IPsecProfile) *time.Duration { return &p.IKELife }),
	ipsecTime("life", (*culvertv1.IPsecProfile).GetLife, func(p *lns.IPsecProfile) *time.Duration { return &p.Life }),
	{"replay_window", func(p *lns.IPsecProfile, m *culvertv1.IPsecProfile) error {
		p.ReplayWindow = ipsecDefaults.ReplayWindow
		if m.ReplayWindow == nil {
			return nil
		}
		return setBound("lac.ipsec.replay_window", &p.ReplayWindow, m.GetReplayWindow())
	}},
	ipsecText("unique", (*culvertv1.IPsecProfile).GetUnique, func(p *lns.IPsecProfile) *string { return &p.Unique }, ipsecDefaults.Unique),
	ipsecBool("initiate", (*culvertv1.IPsecProfile).GetInitiate, func(p *lns.IPsecProfile) *bool { return &p.Initiate }),
	ipsecTime("patience", (*culvertv1.IPsecProfile).GetPatience, func(p *lns.IPsecProfile) *time.Duration { return &p.Patience }),
	{"path_mtu", func(p *lns.IPsecProfile, m *culvertv1.IPsecProfile) error {
		v := m.GetPathMtu()
		return setUint16("lac.ipsec.path_mtu", &p.PathMTU, &v, 0)
	}},
}

func ipsecText(name string, get func(*culvertv1.IPsecProfile) string, field func(*lns.IPsecProfile) *string, otherwise string) ipsecField {
	return ipsecField{name, func(p *lns.IPsecProfile, m *culvertv1.IPsecProfile) error {
		v := get(m)
		if v == "" {
			v = otherwise
		}
		*field(p) = v
		return nil
	}}
}

func ipsecList(name string, get func(*culvertv1.IPsecProfile) []string, field func(*lns.IPsecProfile) *[]string) ipsecField {
	return ipsecField{name, func(p *lns.IPsecProfile, m *culvertv1.IPsecProfile) error {
		*field(p) = slices.Clone(get(m))
		return nil
	}}
}

func ipsecBool(name string, get func(*culvertv1.IPsecProfile) bool, field func(*lns.IPsecProfile) *bool) ipsecField {
	return ipsecField{name, func(p *lns.IPsecProfile, m *culvertv1.IPsecProfile) error {
		*field(p) = get(m)
		return nil
	}}
}

func ipsecTime(name string, get func(*culvertv1.IPsecProfile) *durationpb.Duration, field func(*lns.IPsecProfile) *time.Duration) ipsecField {
	return ipsecField{name, func(p *lns.IPsecProfile, m *culvertv1.IPsecProfile) error {
		return setDuration("lac.ipsec."+name, field(p), get(m), *field(&ipsecDefaults))
	}}
}

// setIPsec replaces a profile's IPsec as a whole.
func setIPsec(p *lns.LACProfile, l *culvertv1.LAC) error {
	p.IPsec = nil
	if l.GetIpsec() == nil {
		return nil
	}
	var s lns.IPsecProfile
	for _, f := range ipsecFields {
		if err := f.set(&s, l.GetIpsec()); err != nil {
			return err
		}
	}
	p.IPsec = &s
	return nil
}

// changeField changes what one path of an update mask names: a field of the
// profile, or one of its IPsec. False where there is no such field.
func changeField(p *lns.LACProfile, l *culvertv1.LAC, path string) (bool, error) {
	if name, ok := strings.CutPrefix(path, "ipsec."); ok {
		i := slices.IndexFunc(ipsecFields, func(f ipsecField) bool { return f.name == name })
		if i < 0 {
			return false, nil
		}
		s := lns.DefaultIPsecProfile()
		if p.IPsec != nil {
			s = *p.IPsec // profiles in force are immutable
		}
		p.IPsec = &s
		return true, ipsecFields[i].set(&s, l.GetIpsec())
	}
	i := slices.IndexFunc(lacFields, func(f lacField) bool { return f.name == path })
	if i < 0 {
		return false, nil
	}
	return true, lacFields[i].set(p, l)
}

// saProto is a tunnel's SA.
func saProto(sa *lns.SA) *culvertv1.TunnelIPsec {
	if sa == nil {
		return nil
	}
	return &culvertv1.TunnelIPsec{
		Identity: text(sa.Identity), Remote: addrPort(sa.Remote), Mark: sa.Mark, IkeVersion: uint32(sa.IKEVersion),
		IkeId: sa.IKEID, ChildId: sa.ChildID, Algorithms: sa.ESP.Algorithms(), Encapsulated: sa.ESP.Encapsulated, Since: timestamp(sa.Since),
	}
}

func usageProto(u *lns.SAUsage) *culvertv1.SAUsage {
	return &culvertv1.SAUsage{
		InOctets: u.InOctets, InPackets: u.InPackets, OutOctets: u.OutOctets, OutPackets: u.OutPackets,
		Rekey: timestamp(u.Rekey), Expires: timestamp(u.Expires), SpiIn: u.SPIIn, SpiOut: u.SPIOut, State: u.State,
	}
}
