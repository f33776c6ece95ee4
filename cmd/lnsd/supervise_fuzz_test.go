package main

import (
	"os"
	"strings"
	"testing"
)

// FuzzNotice has the supervisor told anything, with descriptors and without: it holds one
// file for each name, none without a name, and what it does not hold is closed.
func FuzzNotice(f *testing.F) {
	f.Add("READY=1", uint8(0), "FDSTORE=1\nFDPOLL=0\nFDNAME=udp-0", uint8(1))
	f.Add("FDSTORE=1\nFDNAME=a", uint8(1), "FDSTOREREMOVE=1\nFDNAME=a", uint8(0))
	f.Add("FDNAME=a", uint8(2), "FDNAME=a", uint8(1))
	f.Add("FDSTORE=1", uint8(1), "=\n=FDNAME\nFDNAME=", uint8(1))
	f.Fuzz(func(t *testing.T, one string, files uint8, two string, more uint8) {
		t.Setenv("NOTIFY_SOCKET", "")
		s := &supervisor{held: map[string]*os.File{}}
		var passed []*os.File
		for _, x := range []struct {
			text  string
			files uint8
		}{{one, files % 4}, {two, more % 4}, {one, 1}} {
			m := notice{text: x.text}
			for range x.files {
				file, err := os.Open(os.DevNull)
				if err != nil {
					t.Fatal(err)
				}
				passed, m.files = append(passed, file), append(m.files, file)
			}
			s.take(m)
		}
		held := map[*os.File]bool{}
		for name, file := range s.held {
			if name == "" || held[file] || !strings.Contains(one+two, name) {
				t.Fatalf("it holds %v under the name %q", file, name)
			}
			held[file] = true
		}
		for _, file := range passed {
			if err := file.Close(); held[file] != (err == nil) {
				t.Fatalf("a file is held: %v; closing it: %v", held[file], err)
			}
		}
	})
}
