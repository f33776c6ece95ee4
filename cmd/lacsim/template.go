package main

import (
	"fmt"
	"strconv"
	"strings"
)

// template is a text with at most one %d or %0Nd in it, in whose place a
// number goes; %% is a percent sign.
type template struct {
	head, tail string
	width      int
	numbered   bool
}

func parseTemplate(s string) (template, error) {
	var t template
	part := &t.head
	for {
		before, after, found := strings.Cut(s, "%")
		*part += before
		if !found {
			return t, nil
		}
		if strings.HasPrefix(after, "%") {
			*part += "%"
			s = after[1:]
			continue
		}
		digits, rest, ok := strings.Cut(after, "d")
		width, err := strconv.Atoi("0" + digits)
		if !ok || err != nil || width > 64 || t.numbered {
			return template{}, fmt.Errorf("template %q: want at most one %%d or %%0Nd, and %%%% for a percent sign", t.head+"%"+after)
		}
		t.numbered, t.width, part, s = true, width, &t.tail, rest
	}
}

// text is the template with n in its place.
func (t template) text(n int) string {
	if !t.numbered {
		return t.head
	}
	return fmt.Sprintf("%s%0*d%s", t.head, t.width, n, t.tail)
}
