package ipsec

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"culvert/lns"
	"culvert/lns/ipsec/vici"
)

// wanted is what charon is to have for one profile.
type wanted struct {
	profile *lns.LACProfile
	// conns are the connections by name, in order; shared the pre-shared key, if any.
	conns  vici.Section
	shared vici.Section
	keys   []vici.Section // private keys
	certs  []vici.Section // certificates and CRLs
	// access is all that decides who may set up an SA: when it changes, the SAs that
	// there are have to end.
	access string
}

// want makes what charon is to have for a profile, whose key has the owners that the keyring gives it; nil where it uses no
// IPsec.
func (c *Config) want(p *lns.LACProfile, keys *keyring) *wanted {
	if p.IPsecMode() == lns.IPsecNever {
		return nil
	}
	w := &wanted{profile: p}
	for i, id := range c.remoteIDs(p) {
		w.conns.SetSub(connName(p.Name, i), c.connection(p, id))
	}
	w.credentials(keys)
	b, _ := w.accessSection().Append(nil)
	w.access = string(b)
	return w
}

// remoteIDs are the identities that LACs of a profile may have, one for each connection. In IKEv1 charon has to choose a
// shared key before it knows who calls, and looks among the connections first that have an identity at both ends; where a
// profile's LACs have addresses of their own, it gets such connections for them, before the one for any identity. So does
// one whose LAC we call: to any identity charon would show the key of any profile.
func (c *Config) remoteIDs(p *lns.LACProfile) []string {
	if len(p.IPsec.RemoteIDs) > 0 {
		return p.IPsec.RemoteIDs
	}
	var list []string
	if p.IPsec.Auth == "psk" && (p.IPsec.Initiate || p.IPsec.Version != 2 && c.localID(p, "address") != "") {
		for _, x := range p.Prefixes {
			if x.IsSingleIP() {
				list = append(list, x.Addr().String())
			}
		}
	}
	return append(list, "%any")
}

// localID is our identity in a connection; empty is what charon takes by itself: our certificate's subject, or the address
// that was called. With shared keys and IKEv1 it has to be named, see remoteIDs, which can be done where there is one address
// to call.
func (c *Config) localID(p *lns.LACProfile, remoteID string) string {
	s := p.IPsec
	if s.LocalID != "" || s.Auth != "psk" || s.Version == 2 || remoteID == "%any" {
		return s.LocalID
	}
	if list := c.localAddrs(); len(list) == 1 {
		return list[0]
	}
	return ""
}

// connection is one connection for load-conn; the words are those of swanctl.conf.
func (c *Config) connection(p *lns.LACProfile, remoteID string) vici.Section {
	s := p.IPsec
	var conn vici.Section
	conn.Set("version", strconv.Itoa(s.Version))
	if list := c.localAddrs(); len(list) > 0 {
		conn.SetList("local_addrs", list...)
	}
	conn.SetList("remote_addrs", remoteAddrs(p)...)
	conn.SetList("proposals", offeredIKE(s)...)
	conn.Set("encap", yesNo(s.Encap))
	conn.Set("mobike", "no") // moves SAs of tunnel mode only
	conn.Set("dpd_delay", seconds(s.DPDDelay))
	if s.DPDDelay != 0 {
		conn.Set("dpd_timeout", seconds(s.DPDTimeout))
	}
	conn.Set("rekey_time", seconds(ikeLife(s)))
	conn.Set("reauth_time", "0")
	conn.Set("unique", s.Unique)
	conn.Set("keyingtries", "1")
	conn.Set("send_cert", "always")
	conn.SetSub("local", local(s, c.localID(p, remoteID)))
	conn.SetSub("remote", remote(s, remoteID))
	var children vici.Section
	children.SetSub(childName, c.child(s))
	conn.SetSub("children", children)
	return conn
}

// child is the CHILD_SA: transport mode, our L2TP port, any port of the peer's (RFC 3193 section 4).
func (c *Config) child(s *lns.IPsecProfile) vici.Section {
	var ch vici.Section
	ch.Set("mode", "transport")
	ch.SetList("local_ts", c.localSelectors()...)
	ch.SetList("remote_ts", "dynamic[udp]")
	ch.SetList("esp_proposals", offeredESP(s)...)
	ch.Set("rekey_time", seconds(rekeyTime(s)))
	if s.Life != 0 {
		ch.Set("life_time", seconds(rekeyTime(s)+max(s.Life/10, 10*time.Second)))
	}
	if s.Version != 2 {
		ch.Set("rand_time", "0s")
	}
	ch.Set("replay_window", strconv.Itoa(s.ReplayWindow))
	ch.Set("dpd_action", "clear")
	ch.Set("close_action", "none")
	ch.Set("start_action", "none")
	if c.Marks {
		// One value for each CHILD_SA and all its rekeyings, both ways. The inbound SA
		// is found without it (its packets come in unmarked) and puts it on what it has decrypted.
		ch.Set("mark_in", "%unique")
		ch.Set("mark_out", "%unique")
		ch.Set("mark_in_sa", "no")
		ch.Set("set_mark_in", "%same")
	}
	return ch
}

// rekeyTime is when we renew an SA's keys. In IKEv1 who begins that sends through the new SA before the other end has the
// keys. We make that good for what the LAC sends (package early); a LAC cannot for what we send. So we let it begin, and come later.
func rekeyTime(s *lns.IPsecProfile) time.Duration {
	if s.Version == 2 {
		return s.Life
	}
	return s.Life + s.Life/20
}

// ikeLife is when we renew the keys of IKE itself. IKEv1 has no such thing: charon would begin a main mode of its own,
// which LACs that only call refuse, and would take all SAs down with the old one. There it is the LAC's to begin anew.
func ikeLife(s *lns.IPsecProfile) time.Duration {
	if s.Version != 2 {
		return 0
	}
	return s.IKELife
}

func local(s *lns.IPsecProfile, id string) vici.Section {
	var l vici.Section
	if s.Auth == "psk" {
		l.Set("auth", "psk")
	} else {
		l.Set("auth", "pubkey")
		l.SetList("certs", pemBlocks(s.Certificate, 1)...)
	}
	if id != "" {
		l.Set("id", id)
	}
	return l
}

func remote(s *lns.IPsecProfile, id string) vici.Section {
	var r vici.Section
	switch s.Auth {
	case "psk":
		r.Set("auth", "psk")
		r.Set("id", id)
		return r
	case "cert":
		r.Set("auth", "pubkey")
		r.Set("id", id)
	default:
		r.Set("auth", s.Auth)
		r.Set("id", "%any") // the IKE identity proves nothing with EAP
		r.Set("eap_id", id)
	}
	if s.CA != "" {
		r.SetList("cacerts", pemBlocks(s.CA, 0)...)
	}
	r.Set("revocation", s.Revocation)
	return r
}

// credentials fills in keys, certificates and the shared key.
func (w *wanted) credentials(keys *keyring) {
	s, name := w.profile.IPsec, connName(w.profile.Name, 0)
	if s.Auth == "psk" {
		w.shared.Set("id", name)
		w.shared.Set("type", "IKE")
		w.shared.Set("data", s.PSK)
		w.shared.SetList("owners", keys.owners(w.profile)...)
		return
	}
	var key vici.Section
	key.Set("type", "any")
	key.Set("data", s.Key)
	w.keys = append(w.keys, key)
	load := func(kind, flag, pem string) {
		for _, block := range pemBlocks(pem, 0) {
			var cert vici.Section
			cert.Set("type", kind)
			cert.Set("flag", flag)
			cert.Set("data", block)
			w.certs = append(w.certs, cert)
		}
	}
	load("X509", "CA", s.CA)
	// What follows our own certificate in its file are the CAs between it and the root.
	if chain := pemBlocks(s.Certificate, 0); len(chain) > 1 {
		for _, block := range chain[1:] {
			load("X509", "CA", block)
		}
	}
	load("X509_CRL", "NONE", s.CRL)
}

func (w *wanted) accessSection() vici.Section {
	var s vici.Section
	for _, it := range w.conns {
		s.SetSub(it.Name, it.Sub.GetSub("remote"))
	}
	s.SetList("addrs", remoteAddrs(w.profile)...)
	s.Set("psk", w.profile.IPsec.PSK) // without its owners, which change with other profiles too
	s.Set("mode", string(w.profile.IPsec.Mode))
	return s
}

func remoteAddrs(p *lns.LACProfile) []string {
	if len(p.Prefixes) == 0 {
		return []string{"%any"}
	}
	var list []string
	for _, x := range p.Prefixes {
		list = append(list, prefixText(x))
	}
	return list
}

// prefixText writes a single address without its length.
func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// localAddrs are the addresses that our IKE answers on; none means any.
func (c *Config) localAddrs() []string {
	var list []string
	for _, a := range c.Listen {
		if a.Addr().IsUnspecified() {
			return nil
		}
		if s := a.Addr().String(); !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// localSelectors are our side of the protected traffic.
func (c *Config) localSelectors() []string {
	var list []string
	for _, a := range c.Listen {
		if s := "dynamic[udp/" + strconv.Itoa(int(a.Port())) + "]"; !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

func yesNo(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) + "s" }
