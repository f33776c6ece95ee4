package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	culvertv1 "culvert/proto/culvert/v1"
)

// lacIPsecFlags are the fields of a LAC profile's IPsec; nil ones were not given.
type lacIPsecFlags struct {
	IPsec             *string        `name:"ipsec" enum:"required,preferred,never" placeholder:"MODE" help:"IPsec for its tunnels: required, preferred (clear is taken too) or never."`
	IPsecIKE          *uint32        `name:"ipsec-ike" placeholder:"N" help:"IKE version: 1, 2, or 0 for either."`
	IPsecAuth         *string        `name:"ipsec-auth" placeholder:"HOW" help:"How the LAC proves who it is: psk, cert, or an EAP method such as eap-tls."`
	IPsecLocalID      *string        `name:"ipsec-local-id" placeholder:"ID" help:"The node's IKE identity."`
	IPsecRemoteID     []string       `name:"ipsec-remote-id" placeholder:"ID" help:"An IKE identity that a LAC may have, e.g. *.example.net; may be repeated."`
	IPsecPSKFile      *string        `name:"ipsec-psk-file" placeholder:"FILE" help:"File with the pre-shared key, \"-\" for standard input."`
	IPsecCertificate  *string        `name:"ipsec-certificate" placeholder:"FILE" help:"The node's certificate (PEM), with the CAs between it and the root behind it."`
	IPsecKey          *string        `name:"ipsec-key" placeholder:"FILE" help:"The certificate's private key (PEM)."`
	IPsecCA           *string        `name:"ipsec-ca" placeholder:"FILE" help:"Whose certificates the LACs have (PEM)."`
	IPsecCRL          *string        `name:"ipsec-crl" placeholder:"FILE" help:"A revocation list to begin with (PEM)."`
	IPsecIKEProposal  []string       `name:"ipsec-ike-proposal" placeholder:"WORDS" help:"An IKE proposal in strongSwan's words; may be repeated, the first one first."`
	IPsecESPProposal  []string       `name:"ipsec-esp-proposal" placeholder:"WORDS" help:"An ESP proposal; as for IKE."`
	IPsecLegacy       *bool          `name:"ipsec-legacy" negatable:"" help:"Also take the suites of old LACs: SHA-1, 3DES, modp1024, no PFS."`
	IPsecNoPFS        *bool          `name:"ipsec-no-pfs" help:"Also take SAs without perfect forward secrecy, for Windows' own client."`
	IPsecForceNATT    *bool          `name:"ipsec-force-nat-t" negatable:"" help:"Put ESP into UDP also where there is no NAT."`
	IPsecDPDDelay     *time.Duration `name:"ipsec-dpd-delay" placeholder:"TIME" help:"Silence before a peer is asked whether it lives; 0 never asks."`
	IPsecDPDTimeout   *time.Duration `name:"ipsec-dpd-timeout" placeholder:"TIME" help:"Silence after which a peer of IKEv1 is dead."`
	IPsecIKELife      *time.Duration `name:"ipsec-ike-life" placeholder:"TIME" help:"When IKE gets new keys; 0 leaves it to the LAC."`
	IPsecLife         *time.Duration `name:"ipsec-life" placeholder:"TIME" help:"When ESP gets new keys; 0 leaves it to the LAC."`
	IPsecReplayWindow *uint32        `name:"ipsec-replay-window" placeholder:"N" help:"Anti-replay window in packets, 32 to 4096; 0 turns it off."`
	IPsecUnique       *string        `name:"ipsec-unique" placeholder:"HOW" help:"What a second SA of one identity does to the first: no, replace, never, keep."`
	IPsecRevocation   *string        `name:"ipsec-revocation" placeholder:"POLICY" help:"What becomes of a certificate that nobody can ask about: relaxed, ifuri, strict."`
	IPsecInitiate     *bool          `name:"ipsec-initiate" negatable:"" help:"Call the LAC when it has one address and no SA."`
	IPsecPatience     *time.Duration `name:"ipsec-patience" placeholder:"TIME" help:"How long tunnels wait for a LAC that a restart of strongSwan has cut off."`
	IPsecPathMTU      *uint32        `name:"ipsec-path-mtu" placeholder:"N" help:"Largest packet, ESP included, that the way to the LAC carries."`
}

// ipsec puts what was given into the profile and names its fields.
func (f *lacIPsecFlags) ipsec(a *app, l *culvertv1.LAC) (mask []string, err error) {
	m := &culvertv1.IPsecProfile{
		IkeVersion: value(f.IPsecIKE), Auth: value(f.IPsecAuth), LocalId: value(f.IPsecLocalID), RemoteIds: f.IPsecRemoteID,
		IkeProposals: f.IPsecIKEProposal, EspProposals: f.IPsecESPProposal, Legacy: value(f.IPsecLegacy), NoPfs: value(f.IPsecNoPFS),
		ForceNatT: value(f.IPsecForceNATT), DpdDelay: duration(f.IPsecDPDDelay), DpdTimeout: duration(f.IPsecDPDTimeout),
		IkeLife: duration(f.IPsecIKELife), Life: duration(f.IPsecLife), ReplayWindow: f.IPsecReplayWindow, Unique: value(f.IPsecUnique),
		Revocation: value(f.IPsecRevocation), Initiate: value(f.IPsecInitiate), Patience: duration(f.IPsecPatience), PathMtu: value(f.IPsecPathMTU),
	}
	if f.IPsec != nil {
		m.Mode = culvertv1.ProtectionMode(culvertv1.ProtectionMode_value["PROTECTION_MODE_"+strings.ToUpper(*f.IPsec)])
	}
	if f.IPsecPSKFile != nil {
		if m.Psk, err = a.readSecret(*f.IPsecPSKFile); err != nil {
			return nil, err
		}
	}
	for _, x := range []struct {
		flag string
		file *string
		to   *string
	}{
		{"certificate", f.IPsecCertificate, &m.Certificate}, {"key", f.IPsecKey, &m.Key}, {"ca", f.IPsecCA, &m.Ca}, {"crl", f.IPsecCRL, &m.Crl},
	} {
		if *x.to, err = a.readPEM("--ipsec-"+x.flag, x.file); err != nil {
			return nil, err
		}
	}
	if mask = f.ipsecGiven(); len(mask) > 0 {
		l.Ipsec = m
	}
	return mask, nil
}

func (f *lacIPsecFlags) ipsecGiven() (mask []string) {
	for _, x := range []struct {
		name  string
		given bool
	}{
		{"mode", f.IPsec != nil}, {"ike_version", f.IPsecIKE != nil}, {"auth", f.IPsecAuth != nil}, {"local_id", f.IPsecLocalID != nil},
		{"remote_ids", f.IPsecRemoteID != nil}, {"psk", f.IPsecPSKFile != nil}, {"certificate", f.IPsecCertificate != nil},
		{"key", f.IPsecKey != nil}, {"ca", f.IPsecCA != nil}, {"crl", f.IPsecCRL != nil}, {"ike_proposals", f.IPsecIKEProposal != nil},
		{"esp_proposals", f.IPsecESPProposal != nil}, {"legacy", f.IPsecLegacy != nil}, {"no_pfs", f.IPsecNoPFS != nil},
		{"force_nat_t", f.IPsecForceNATT != nil}, {"dpd_delay", f.IPsecDPDDelay != nil}, {"dpd_timeout", f.IPsecDPDTimeout != nil},
		{"ike_life", f.IPsecIKELife != nil}, {"life", f.IPsecLife != nil}, {"replay_window", f.IPsecReplayWindow != nil},
		{"unique", f.IPsecUnique != nil}, {"revocation", f.IPsecRevocation != nil}, {"initiate", f.IPsecInitiate != nil},
		{"patience", f.IPsecPatience != nil}, {"path_mtu", f.IPsecPathMTU != nil},
	} {
		if x.given {
			mask = append(mask, "ipsec."+x.name)
		}
	}
	return mask
}

// readPEM reads a file whole; its contents are checked by the node.
func (a *app) readPEM(flag string, file *string) (string, error) {
	if file == nil {
		return "", nil
	}
	var b []byte
	var err error
	if *file == "-" {
		b, err = io.ReadAll(io.LimitReader(a.in, 1<<20))
	} else {
		b, err = os.ReadFile(*file)
	}
	if err != nil {
		return "", usagef("%s: %v", flag, err)
	}
	return string(b), nil
}

// ipsecMode is a profile's mode in a word.
func ipsecMode(l *culvertv1.LAC) string {
	if l.GetIpsec() == nil {
		return "never"
	}
	return word(l.GetIpsec().GetMode().String(), "PROTECTION_MODE_")
}

// lacIPsecFacts are a profile's IPsec in detail.
func lacIPsecFacts(l *culvertv1.LAC) []fact {
	s := l.GetIpsec()
	if s == nil || s.GetMode() == culvertv1.ProtectionMode_PROTECTION_MODE_NEVER {
		return []fact{{"IPsec", "never"}}
	}
	version := "IKEv1 or IKEv2"
	if v := s.GetIkeVersion(); v != 0 {
		version = fmt.Sprintf("IKEv%d", v)
	}
	facts := []fact{
		{"IPsec", ipsecMode(l)},
		{"IKE", fmt.Sprintf("%s, %s, of %s", version, s.GetAuth(), anyOf(s.GetRemoteIds(), ", "))},
		{"IKE proposals", proposals(s.GetIkeProposals(), s.GetLegacy())},
		{"ESP proposals", proposals(s.GetEspProposals(), s.GetLegacy())},
		{"New keys", fmt.Sprintf("IKE %s, ESP %s", limit(s.GetIkeLife(), "by the LAC"), limit(s.GetLife(), "by the LAC"))},
		{"Dead peers", limit(s.GetDpdDelay(), "not looked for")},
	}
	return facts
}

func proposals(list []string, legacy bool) string {
	s := "the defaults"
	if len(list) > 0 {
		s = strings.Join(list, ", ")
	}
	if legacy {
		s += ", and those of old LACs"
	}
	return s
}

// tunnelProtection tells in a word what a tunnel runs in.
func tunnelProtection(t *culvertv1.Tunnel) string {
	if t.GetIpsec() == nil {
		return "clear"
	}
	return t.GetIpsec().GetAlgorithms()
}

// saFacts are those of a tunnel's SA.
func saFacts(a *app, t *culvertv1.Tunnel) []fact {
	s := t.GetIpsec()
	if s == nil {
		return []fact{{"IPsec", "none: in clear"}}
	}
	way := s.GetAlgorithms()
	if s.GetEncapsulated() {
		way += " in UDP"
	}
	facts := []fact{
		{"IPsec", fmt.Sprintf("IKEv%d, %s", s.GetIkeVersion(), way)},
		{"Identity", fmt.Sprintf("%s at %s", s.GetIdentity(), s.GetRemote())},
		{"SA", fmt.Sprintf("mark %d, IKE SA %d, CHILD_SA %d, %s", s.GetMark(), s.GetIkeId(), s.GetChildId(), a.since(s.GetSince()))},
	}
	u := s.GetUsage()
	if u == nil {
		return append(facts, fact{"Keys", "unknown: strongSwan does not answer"})
	}
	next := "by the LAC"
	if u.GetRekey() != nil {
		next = "at " + u.GetRekey().AsTime().Format("15:04:05 MST")
	}
	return append(facts,
		fact{"SPIs", fmt.Sprintf("%s in, %s out, %s", u.GetSpiIn(), u.GetSpiOut(), strings.ToLower(u.GetState()))},
		fact{"Carried", fmt.Sprintf("%s octets, %s packets in; %s octets, %s packets out; since the last rekeying",
			grouped(u.GetInOctets()), grouped(u.GetInPackets()), grouped(u.GetOutOctets()), grouped(u.GetOutPackets()))},
		fact{"New keys", next})
}
