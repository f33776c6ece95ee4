package postgres

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEscape(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"", ""},
		{"user@isp.example", "user@isp.example"},
		{`DOMAIN\user`, `DOMAIN\user`},
		{`DOMAIN\xavier`, `DOMAIN\xavier`},
		{`DOMAIN\xabel`, `DOMAIN\x5cxabel`},
		{"a\x00b", `a\x00b`},
		{"\xff\u00e9", `\xff` + "\u00e9"},
		{"\xc3", `\xc3`},
		{"\\\xff", `\\xff`},
	} {
		if got := escape(c.in); got != c.out {
			t.Errorf("escape(%q) = %q, should be %q", c.in, got, c.out)
		}
		if got := unescape(c.out); got != c.in {
			t.Errorf("unescape(%q) = %q, should be %q", c.out, got, c.in)
		}
	}
}

func FuzzEscape(f *testing.F) {
	f.Add(`a\x41\x4\xff`)
	f.Add("\\x\x00\\\\x0\xfe0\ufffd")
	f.Fuzz(func(t *testing.T, s string) {
		text := escape(s)
		if !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
			t.Errorf("escape(%q) = %q is no text", s, text)
		}
		if got := unescape(text); got != s {
			t.Errorf("%q came back as %q by way of %q", s, got, text)
		}
	})
}
