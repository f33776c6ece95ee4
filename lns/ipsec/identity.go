package ipsec

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
)

// idKind is a kind of IKE identity. charon compares those of one kind only.
type idKind uint8

const (
	idAny   idKind = iota // matches everything
	idAddrs               // an address, a subnet or a range
	idFQDN
	idEmail
	idKeyID
	idDN
	idOther
)

// identity is an IKE identity, or a pattern for some, as charon reads it from text.
type identity struct {
	kind idKind
	// text is what it says, in small letters and as charon prints it; of a pattern what follows its *.
	text string
	wild bool
	span span // of idAddrs
}

// idTypes are the words with which the kind of an identity is said.
var idTypes = map[string]idKind{
	"ipv4": idAddrs, "ipv6": idAddrs, "ipv4net": idAddrs, "ipv6net": idAddrs, "ipv4range": idAddrs, "ipv6range": idAddrs,
	"rfc822": idEmail, "email": idEmail, "userfqdn": idEmail, "fqdn": idFQDN, "dns": idFQDN, "keyid": idKeyID,
	"asn1dn": idDN, "asn1gn": idOther, "xmppaddr": idOther,
}

// parseIdentity reads an identity by strongSwan's rules.
func parseIdentity(s string) identity {
	kind, rest, text := idOther, s, true
	if word, after, ok := strings.Cut(s, ":"); ok && idTypes[strings.ToLower(word)] != idAny {
		kind, rest, text = idTypes[strings.ToLower(word)], after, false
	} else if strings.HasPrefix(s, "{") && strings.Contains(s, "}:") {
		_, rest, _ = strings.Cut(s, "}:")
		text = false
	}
	if !text {
		if kind == idAddrs {
			if x, ok := parseSpan(rest); ok {
				return identity{kind: idAddrs, text: rest, span: x}
			}
			kind = idOther
		}
		return named(kind, rest)
	}
	switch {
	case strings.Contains(s, "="):
		return named(idDN, s)
	case strings.HasPrefix(s, "@#"):
		return named(idKeyID, s[1:])
	case strings.HasPrefix(s, "@@"):
		return named(idEmail, s[2:])
	case strings.HasPrefix(s, "@"):
		return named(idFQDN, s[1:])
	case strings.Contains(s, "@"):
		return named(idEmail, s)
	case isAnyID(s):
		return identity{kind: idAny}
	}
	if x, ok := parseSpan(s); ok {
		return identity{kind: idAddrs, text: s, span: x}
	}
	if strings.Contains(s, ":") {
		return named(idKeyID, s)
	}
	return named(idFQDN, s)
}

// isAnyID says whether charon takes an identity for "any".
func isAnyID(s string) bool {
	switch s {
	case "", "*", "0.0.0.0", "::", "0::0":
		return true
	}
	return strings.HasPrefix(s, "%any")
}

// named is an identity that is no address. # begins one in hexadecimal.
func named(kind idKind, s string) identity {
	if h, ok := strings.CutPrefix(s, "#"); ok {
		if b, err := hex.DecodeString(strings.ReplaceAll(h, ":", "")); err == nil {
			return identity{kind: kind, text: printed(string(b))}
		}
	}
	rest, wild := strings.CutPrefix(s, "*")
	return identity{kind: kind, text: printed(rest), wild: wild && kind != idDN && kind != idKeyID}
}

// printed is how charon prints an identity, as far as comparing needs it.
func printed(s string) string {
	b := []byte(strings.ToLower(s))
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}

// longestIdentity is how much of an identity can be relied on in what charon prints, which it cuts off somewhere above.
const longestIdentity = 400

// shown is an identity of some LAC, or of ours, as charon prints it. Of what kind it is the print does not tell for certain.
type shown struct {
	text   string
	span   span
	isSpan bool
	forms  [2]string // in small letters, as it is and with octets in hexadecimal read
}

func show(id string) *shown {
	s := &shown{text: id, forms: [2]string{printed(id), printed(unhex(id))}}
	s.span, s.isSpan = parseSpan(id)
	return s
}

// may says whether charon may count an identity among those of a pattern. kinds says of which it can be (nil: any); what
// cannot be told is true.
func (p *identity) may(id *shown, kinds map[idKind]bool) bool {
	if p.kind == idAny {
		return true
	}
	if p.kind == idAddrs {
		return id.isSpan && id.span.meets(p.span)
	}
	if kinds != nil && !kinds[p.kind] {
		return false
	}
	if p.kind == idDN {
		return strings.Contains(id.text, "=") && (strings.HasPrefix(p.text, "/") || likeDN(p.text, id.forms[0]))
	}
	if len(id.text) > longestIdentity {
		return true
	}
	for _, s := range id.forms {
		if s == p.text || p.wild && strings.HasSuffix(s, p.text) {
			return true
		}
	}
	return false
}

// likeDN compares the values of a distinguished name with those of a pattern, of which * is any; parts have several names each.
// A name with more parts than a pattern with * may have commas in them.
func likeDN(pattern, name string) bool {
	x, y := strings.Split(pattern, ","), strings.Split(name, ",")
	if len(x) != len(y) {
		return len(x) < len(y) && strings.Contains(pattern, "*")
	}
	for i := range x {
		_, v, _ := strings.Cut(x[i], "=")
		_, w, _ := strings.Cut(y[i], "=")
		if v = strings.TrimSpace(v); v != "*" && v != strings.TrimSpace(w) {
			return false
		}
	}
	return true
}

// unhex reads octets printed as 61:62:63; anything else stays as it is.
func unhex(s string) string {
	if !strings.Contains(s, ":") {
		return s
	}
	b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil {
		return s
	}
	return string(b)
}

// overlaps says whether an identity can be one of both patterns.
func (p *identity) overlaps(q *identity) bool {
	switch {
	case p.kind == idAny || q.kind == idAny:
		return true
	case p.kind != q.kind:
		return false
	case p.kind == idAddrs:
		return p.span.meets(q.span)
	case p.kind == idDN:
		return p.may(show(q.text), nil) || q.may(show(p.text), nil)
	case p.wild && q.wild:
		return strings.HasSuffix(p.text, q.text) || strings.HasSuffix(q.text, p.text)
	case p.wild:
		return strings.HasSuffix(q.text, p.text)
	case q.wild:
		return strings.HasSuffix(p.text, q.text)
	}
	return p.text == q.text
}

// span is a range of addresses of one family, both ends included.
type span struct{ lo, hi netip.Addr }

// parseSpan reads an address, a prefix, or two addresses with - between them.
func parseSpan(s string) (span, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return span{a.Unmap(), a.Unmap()}, a.Zone() == ""
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return spanOf(p), true
	}
	lo, hi, _ := strings.Cut(s, "-")
	a, err1 := netip.ParseAddr(strings.TrimSpace(lo))
	b, err2 := netip.ParseAddr(strings.TrimSpace(hi))
	if err1 != nil || err2 != nil || a.BitLen() != b.BitLen() || b.Less(a) {
		return span{}, false
	}
	return span{a, b}, true
}

// spanOf is the range of a prefix.
func spanOf(p netip.Prefix) span {
	p = p.Masked()
	lo := p.Addr()
	b := lo.AsSlice()
	for i := p.Bits(); i < lo.BitLen(); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	hi, _ := netip.AddrFromSlice(b)
	return span{lo, hi}
}

func (s span) meets(o span) bool {
	return s.lo.BitLen() == o.lo.BitLen() && s.lo.Compare(o.hi) <= 0 && o.lo.Compare(s.hi) <= 0
}

// less is what is left of a span without others.
func (s span) less(cuts []span) (left []span) {
	slices.SortFunc(cuts, func(a, b span) int { return a.lo.Compare(b.lo) })
	at := s.lo
	for _, c := range cuts {
		if !c.meets(span{at, s.hi}) {
			continue
		}
		if at.Less(c.lo) {
			left = append(left, span{at, c.lo.Prev()})
		}
		if !c.hi.Less(s.hi) {
			return left
		}
		at = c.hi.Next()
	}
	return append(left, span{at, s.hi})
}

// String is the span as charon reads it as an identity: an address, a subnet or a range.
func (s span) String() string {
	if s.lo == s.hi {
		return s.lo.String()
	}
	a, b := s.lo.AsSlice(), s.hi.AsSlice()
	bits := 0
	for bits < s.lo.BitLen() && (a[bits/8]^b[bits/8])&(0x80>>(bits%8)) == 0 {
		bits++
	}
	if p := netip.PrefixFrom(s.lo, bits); spanOf(p) == s {
		return p.String()
	}
	return s.lo.String() + "-" + s.hi.String()
}
