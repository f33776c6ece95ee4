package lns

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrNoSA says that no SA has that mark.
var ErrNoSA = errors.New("no such SA")

// IPsecMode says whether a LAC's tunnels run inside IPsec.
type IPsecMode string

// The modes. Required takes nothing that did not come through an SA of the
// profile; preferred takes both and shows which; never loads no connection.
const (
	IPsecNever     IPsecMode = "never"
	IPsecPreferred IPsecMode = "preferred"
	IPsecRequired  IPsecMode = "required"
)

// IPsecProfile says how a LAC's SAs are made. A LACProfile without one is of
// IPsecNever. Immutable once given to a Server. Credentials are kept as text, so that a
// profile is the same on whatever node it is put.
type IPsecProfile struct {
	Mode IPsecMode
	// Version is the IKE version that the LAC speaks: 1 (main mode), 2, or 0 for either.
	Version int
	// Auth is how the LAC proves who it is: "psk", "cert", or one of strongSwan's EAP methods
	// ("eap-mschapv2", "eap-tls", "eap-radius": IKEv2 only; we prove ourselves by certificate then).
	Auth string
	// LocalID is our IKE identity; empty is our certificate's subject, or our address.
	// RemoteIDs are the identities that a LAC may have; * may be the beginning of one
	// ("*.example.net"), or a value in a distinguished name; none is any that a certificate proves, and with a pre-shared
	// key beside others' the addresses of Prefixes, since identities are all that tells keys apart. "%any" gives the key to everybody.
	LocalID   string
	RemoteIDs []string
	// PSK is the pre-shared key.
	PSK string
	// Certificate (with its chain) and Key are ours, CA what the LAC's certificate must lead
	// to, CRL revocation lists to begin with; all PEM. charon fetches the CRLs and asks the OCSP
	// responders that the certificates name.
	Certificate, Key, CA, CRL string
	// Revocation is strongSwan's policy: "relaxed" (the default: refuse what is known to be
	// revoked), "ifuri" (also where a named source cannot be asked) or "strict".
	Revocation string
	// IKEProposals and ESPProposals are strongSwan's words ("aes256gcm16-prfsha384-ecp384"),
	// the first one first; none is the defaults of lns/ipsec. Legacy adds the suites of
	// old LACs (AES-CBC with SHA-1, 3DES, modp1024, no PFS) behind them.
	IKEProposals, ESPProposals []string
	Legacy                     bool
	// NoPFS also takes SAs without a Diffie-Hellman exchange of their own, for clients that
	// offer none (Windows).
	NoPFS bool
	// Encap forces ESP into UDP even where no NAT is found (IKEv2, and IKEv1 with NAT-T).
	Encap bool
	// DPDDelay is how long a peer may be silent before it is asked; 0 never asks.
	// DPDTimeout is after how long without an answer a peer of IKEv1 is dead; one of IKEv2 is
	// after charon's retransmissions.
	DPDDelay, DPDTimeout time.Duration
	// IKELife and Life are when charon makes new keys for the IKE SA and for ESP;
	// the kernel drops ESP keys a tenth later. 0 leaves rekeying to the peer. IKELife counts with Version 2 only: an IKE
	// SA of IKEv1 cannot be renewed, only replaced, and that is the LAC's to begin. So should it be with ESP's keys there, and we wait
	// a twentieth of Life longer.
	IKELife, Life time.Duration
	// ReplayWindow is the anti-replay window in packets (32 to 4096; 0 turns it off).
	ReplayWindow int
	// Unique says what a second SA of one identity does to the first: "no" (it stays unless
	// the peer says INITIAL_CONTACT), "replace", "never" (it stays) or "keep" (the second is refused).
	Unique string
	// Initiate lets us set up the SA ourselves when the LAC has one address and no SA.
	Initiate bool
	// PathMTU is the largest IP packet, ESP and all, that the way to the LAC carries whole, in
	// octets (576 to 9000; 0 is 1500). What ESP takes of it is not offered to subscribers.
	PathMTU uint16
	// Patience is how long tunnels wait for a peer whose SA a restart of charon has lost.
	Patience time.Duration
}

// DefaultIPsecProfile is what an IPsec section has where it says nothing.
func DefaultIPsecProfile() IPsecProfile {
	return IPsecProfile{
		Mode: IPsecRequired, Auth: "psk", Revocation: "relaxed", Unique: "no",
		DPDDelay: 30 * time.Second, DPDTimeout: 90 * time.Second,
		IKELife: 4 * time.Hour, Life: time.Hour, ReplayWindow: 1024, Patience: 2 * time.Minute,
	}
}

// IPsecMode is the mode in force: never where the profile says nothing of IPsec.
func (p *LACProfile) IPsecMode() IPsecMode {
	if p.IPsec == nil || p.IPsec.Mode == "" {
		return IPsecNever
	}
	return p.IPsec.Mode
}

// Validate says what is wrong, naming the field and what would be right.
func (p *IPsecProfile) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	oneOf := func(field, v string, list ...string) {
		for _, x := range list {
			if v == x {
				return
			}
		}
		bad("%s: %q is not one of %s", field, v, strings.Join(list, ", "))
	}
	oneOf("mode", string(p.Mode), string(IPsecRequired), string(IPsecPreferred), string(IPsecNever))
	if p.Mode == IPsecNever {
		return errors.Join(errs...)
	}
	if p.Version < 0 || p.Version > 2 {
		bad("ike: %d is no version; write 1, 2, or 0 for either", p.Version)
	}
	oneOf("revocation", p.Revocation, "relaxed", "ifuri", "strict")
	oneOf("unique", p.Unique, "no", "replace", "never", "keep")
	p.validateTimes(bad)
	for _, id := range p.RemoteIDs {
		// A distinguished name may have * for the value of any part; other identities only at their beginning.
		if id == "" || !strings.Contains(id, "=") && strings.LastIndexByte(id, '*') > 0 {
			bad("remote_ids: %q is no identity that charon can match; * may only be its beginning (*.example.net, *@example.net), or a part's value in a distinguished name (C=ZA, O=*)", id)
		}
	}
	p.validateCredentials(bad)
	for field, list := range map[string][]string{"ike_proposals": p.IKEProposals, "esp_proposals": p.ESPProposals} {
		for _, s := range list {
			if s == "" || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
				bad("%s: %q is no proposal; strongSwan's words, joined by -, are wanted, such as aes256gcm16-prfsha384-ecp384", field, s)
			}
		}
	}
	return errors.Join(errs...)
}

func (p *IPsecProfile) validateTimes(bad func(string, ...any)) {
	if p.DPDDelay != 0 && p.DPDDelay < time.Second {
		bad("dpd_delay: %v is less than 1s (0 never asks)", p.DPDDelay)
	}
	if p.DPDDelay != 0 && p.DPDTimeout < p.DPDDelay {
		bad("dpd_timeout: %v is less than dpd_delay, %v", p.DPDTimeout, p.DPDDelay)
	}
	for _, l := range []struct {
		name string
		v    time.Duration
	}{{"ike_life", p.IKELife}, {"life", p.Life}} {
		if l.v != 0 && (l.v < 10*time.Second || l.v > 7*24*time.Hour) {
			bad("%s: %v is not between 10s and 168h (0 leaves rekeying to the peer)", l.name, l.v)
		}
	}
	if p.ReplayWindow != 0 && (p.ReplayWindow < 32 || p.ReplayWindow > 4096) {
		bad("replay_window: %d is not between 32 and 4096 packets (0 turns replay protection off)", p.ReplayWindow)
	}
	if p.PathMTU != 0 && (p.PathMTU < 576 || p.PathMTU > 9000) {
		bad("path_mtu: %d is not between 576 and 9000 octets (0 is 1500)", p.PathMTU)
	}
	if p.Patience < 0 || p.Patience > time.Hour {
		bad("patience: %v is not between 0s and 1h", p.Patience)
	}
}

func (p *IPsecProfile) validateCredentials(bad func(string, ...any)) {
	eap := strings.HasPrefix(p.Auth, "eap-")
	switch {
	case p.Auth == "psk":
		if p.PSK == "" {
			bad("psk: a pre-shared key is needed with auth psk")
		}
		if p.Certificate != "" || p.CA != "" {
			bad("certificate: there are certificates, but auth is psk; write auth: cert, or leave them out")
		}
		return
	case p.Auth != "cert" && !eap:
		bad("auth: %q is neither psk, cert nor an EAP method such as eap-tls", p.Auth)
		return
	}
	if eap && p.Version == 1 {
		bad("auth: EAP needs IKEv2, but ike is 1")
	}
	if p.PSK != "" {
		bad("psk: there is a pre-shared key, but auth is %s", p.Auth)
	}
	need := func(field, v, what string) {
		if v == "" {
			bad("%s: %s is needed with auth %s", field, what, p.Auth)
		} else if !strings.Contains(v, "-----BEGIN ") {
			bad("%s: this is not PEM (-----BEGIN ...)", field)
		}
	}
	need("certificate", p.Certificate, "our certificate")
	need("key", p.Key, "our certificate's private key")
	if !eap {
		need("ca", p.CA, "the CA of the LAC's certificate")
	}
}
