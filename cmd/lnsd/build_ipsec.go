package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"culvert/lns"
	"culvert/lns/ipsec"
)

// ipsecSection is how lnsd and strongSwan's charon work together.
type ipsecSection struct {
	// Enable prepares for IPsec also where no LAC of the file uses it, because one that is
	// added at run time will.
	Enable bool   `yaml:"enable"`
	Socket string `yaml:"socket"`
	// Wall lets kernel policies drop clear L2TP where every LAC has to use IPsec.
	Wall *bool `yaml:"wall"`
}

// lacIPsecSection is how a LAC's tunnels are protected.
type lacIPsecSection struct {
	Mode         string   `yaml:"mode"`
	IKE          string   `yaml:"ike"`
	Auth         string   `yaml:"auth"`
	LocalID      string   `yaml:"local_id"`
	RemoteIDs    []string `yaml:"remote_ids"`
	PSK          secret   `yaml:"psk"`
	PSKFile      string   `yaml:"psk_file"`
	Certificate  string   `yaml:"certificate"`
	Key          string   `yaml:"key"`
	CA           string   `yaml:"ca"`
	CRL          string   `yaml:"crl"`
	Revocation   *string  `yaml:"revocation"`
	IKEProposals []string `yaml:"ike_proposals"`
	ESPProposals []string `yaml:"esp_proposals"`
	Legacy       bool     `yaml:"legacy"`
	PFS          *bool    `yaml:"pfs"`
	ForceNATT    bool     `yaml:"force_nat_t"`
	DPDDelay     *span    `yaml:"dpd_delay"`
	DPDTimeout   *span    `yaml:"dpd_timeout"`
	IKELife      *span    `yaml:"ike_life"`
	Life         *span    `yaml:"life"`
	ReplayWindow *int     `yaml:"replay_window"`
	Unique       *string  `yaml:"unique"`
	Initiate     bool     `yaml:"initiate"`
	PathMTU      uint16   `yaml:"path_mtu"`
	Patience     *span    `yaml:"patience"`
}

// ikeVersions are the words of ike.
var ikeVersions = map[string]int{"": 0, "any": 0, "ikev1": 1, "ikev2": 2}

// lacIPsec makes a profile's IPsec; nil where the file says nothing of it.
func (b *builder) lacIPsec(key string, c *lacIPsecSection) *lns.IPsecProfile {
	if c == nil {
		return nil
	}
	p := lns.DefaultIPsecProfile()
	if c.Mode != "" {
		p.Mode = lns.IPsecMode(c.Mode)
	}
	version, ok := ikeVersions[c.IKE]
	if !ok {
		b.bad(key+".ike", "%q is none of any, ikev1, ikev2", c.IKE)
	}
	p.Version = version
	p.Auth = c.Auth
	if p.Auth == "" {
		p.Auth = "psk"
		if c.Certificate != "" {
			p.Auth = "cert"
		}
	}
	p.LocalID, p.RemoteIDs = c.LocalID, c.RemoteIDs
	p.PSK = b.secret(key+".psk", c.PSK, c.PSKFile)
	p.Certificate, p.Key = b.pem(key+".certificate", c.Certificate), b.pem(key+".key", c.Key)
	p.CA, p.CRL = b.pem(key+".ca", c.CA), b.pem(key+".crl", c.CRL)
	override(&p.Revocation, c.Revocation)
	p.IKEProposals, p.ESPProposals, p.Legacy = c.IKEProposals, c.ESPProposals, c.Legacy
	p.NoPFS = c.PFS != nil && !*c.PFS
	p.Encap, p.Initiate = c.ForceNATT, c.Initiate
	override(&p.DPDDelay, (*time.Duration)(c.DPDDelay))
	override(&p.DPDTimeout, (*time.Duration)(c.DPDTimeout))
	override(&p.IKELife, (*time.Duration)(c.IKELife))
	override(&p.Life, (*time.Duration)(c.Life))
	override(&p.ReplayWindow, c.ReplayWindow)
	override(&p.Unique, c.Unique)
	p.PathMTU = c.PathMTU
	override(&p.Patience, (*time.Duration)(c.Patience))
	return &p
}

// pem reads a file of PEM blocks.
func (b *builder) pem(key, file string) string {
	if file == "" {
		return ""
	}
	raw, err := os.ReadFile(file)
	switch {
	case err != nil:
		b.bad(key, "%w", err)
	case !strings.Contains(string(raw), "-----BEGIN "):
		b.bad(key, "%s is not PEM (-----BEGIN ...); openssl x509 -inform der converts a certificate", file)
	}
	return string(raw)
}

// ipsec makes the settings of the key exchange; nil where nobody uses it.
func (b *builder) ipsec(c *fileConfig, set *settings) *ipsec.Config {
	used := c.IPsec.Enable
	for i := range set.lacs {
		p := &set.lacs[i]
		if p.IPsecMode() == lns.IPsecNever {
			continue
		}
		used = true
		for _, e := range unjoin(ipsec.CheckCredentials(p.IPsec)) {
			b.check(fmt.Sprintf("$.lacs[%d].ipsec", i), e)
		}
	}
	if !used {
		return nil
	}
	out := &ipsec.Config{Socket: c.IPsec.Socket, Listen: set.plane.Listen, Wall: c.IPsec.Wall == nil || *c.IPsec.Wall}
	if out.Socket == "" {
		out.Socket = ipsec.DefaultSocket
	}
	for _, e := range ipsec.Conflicts(*out, set.lacs) {
		i := slices.IndexFunc(set.lacs, func(p lns.LACProfile) bool { return p.Name == e.Profiles[0] })
		b.check(fmt.Sprintf("$.lacs[%d].ipsec", i), e.Err)
	}
	if len(out.Listen) > 0 { // else that is complained of already
		b.check("$.ipsec", out.Validate())
	}
	return out
}
