package ipsec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// codeBlocks are the code blocks of a Markdown page whose text contains words, without the indentation of lists.
func codeBlocks(page string, words ...string) (list []string) {
	for i, part := range strings.Split(page, "```") {
		if i%2 == 0 {
			continue
		}
		_, text, _ := strings.Cut(part, "\n")
		lines := strings.Split(strings.TrimRight(text, " \n"), "\n")
		indent := len(lines[0]) - len(strings.TrimLeft(lines[0], " "))
		for i, line := range lines {
			lines[i] = line[min(indent, len(line)-len(strings.TrimLeft(line, " "))):]
		}
		text = strings.Join(lines, "\n") + "\n"
		has := true
		for _, w := range words {
			has = has && strings.Contains(text, w)
		}
		if has {
			list = append(list, text)
		}
	}
	return list
}

// TestBlocks finds the page's blocks, without a guest.
func TestBlocks(t *testing.T) {
	page := "a\n1. b\n   ```yaml\n   lacs:\n     - name: x\n   ```\n```\nlacs: y\n\nz\n```\n"
	got := codeBlocks(page, "lacs:")
	if len(got) != 2 || got[0] != "lacs:\n  - name: x\n" || got[1] != "lacs: y\n\nz\n" {
		t.Errorf("%q", got)
	}
	text, err := os.ReadFile(filepath.Join(pages, "README.md"))
	must(t, err)
	p := &readme{page: string(text)}
	for _, words := range [][]string{
		{"apt-get install", "sysctl --system"}, {"lacs:", "psk_file: /etc/culvert/north.psk"}, {"openssl rand"}, {"connections {", "local_addrs = " + readmeLAC}, {"secrets {", "eap-alice"},
	} {
		if _, err := p.block(words...); err != nil {
			t.Error(err)
		}
	}
	// The suite's profile for voluntary clients is the page's.
	clients, err := p.block("- name: roadwarriors")
	must(t, err)
	for line := range strings.Lines(clients) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "psk_file") && !strings.Contains(lnsConfig, "\n  "+line) && !strings.Contains(lnsConfig, "      "+line+"\n") && !strings.Contains(lnsConfig, "    "+line+"\n") {
			t.Errorf("the suite's profile of voluntary clients has no %q", line)
		}
	}
}
