package ipsec

import (
	"fmt"
	"strconv"
	"strings"
)

// namePrefix begins the names of everything that is ours in charon; what has
// other names belongs to somebody else and is left alone.
const namePrefix = "culvert-"

// childName is the name of the CHILD_SA in each of our connections.
const childName = "l2tp"

// connName is the name of a profile's n-th connection (from 0 on; there is one for each
// identity that the LAC may have). charon and its tools take some characters for
// their own; these are written as ~ and two hex digits.
func connName(profile string, n int) string {
	var b strings.Builder
	b.WriteString(namePrefix)
	for _, c := range []byte(profile) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "~%02x", c)
		}
	}
	if n > 0 {
		b.WriteByte('+')
		b.WriteString(strconv.Itoa(n))
	}
	return b.String()
}

// profileOf is the profile of a connection's name; false where it is not one of ours.
func profileOf(conn string) (string, bool) {
	s, ok := strings.CutPrefix(conn, namePrefix)
	if !ok {
		return "", false
	}
	s, _, _ = strings.Cut(s, "+")
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '~' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(c))
		i += 2
	}
	return b.String(), b.Len() > 0
}
