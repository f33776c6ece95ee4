package postgres

import (
	"strings"
	"unicode/utf8"
)

// PostgreSQL's text is UTF-8 without zero octets, and what peers send is
// neither for sure. escape writes an octet that does not fit as \xNN, and a
// backslash that would read like the beginning of that as \x5c, so that
// unescape gives every string back as it was.

func escape(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 && !strings.Contains(s, `\x`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		_, ambiguous := escaped(s[i:])
		if r == 0 || r == utf8.RuneError && size == 1 || ambiguous {
			const digits = "0123456789abcdef"
			b.Write([]byte{'\\', 'x', digits[s[i]>>4], digits[s[i]&15]})
			size = 1
		} else {
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

func unescape(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if octet, ok := escaped(s[i:]); ok {
			b = append(b, octet)
			i += 3
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

// escaped gives the octet when s begins with \xNN.
func escaped(s string) (octet byte, ok bool) {
	if len(s) < 4 || s[0] != '\\' || s[1] != 'x' {
		return 0, false
	}
	high, ok1 := hexDigit(s[2])
	low, ok2 := hexDigit(s[3])
	return high<<4 | low, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}
