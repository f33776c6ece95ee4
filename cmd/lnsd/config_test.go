package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"culvert/aaa/ippool"
)

func TestLab(t *testing.T) {
	l := labFlags{LabDir: t.TempDir(), LabListen: netip.MustParseAddrPort("127.0.0.1:1701"), LabHTTP: "127.0.0.1:0", LabPlane: "memory"}
	set, err := l.load()
	if err != nil {
		t.Fatal(err)
	}
	if set.node != "lab" || len(set.lacs) != 1 || set.lacs[0].Hello != time.Minute || !set.subscriber.ClampMSS ||
		set.subscriber.Interim != 10*time.Minute || set.plane.Address != set.subscriber.LocalAddress {
		t.Errorf("settings: %+v", set)
	}
}

// The example shows every key with a value that works.
func TestExample(t *testing.T) {
	src, err := decode("example.yaml", example)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := build(src); err != nil {
		t.Fatal(err)
	}
	// What is commented out has to be right as well.
	var all []string
	for _, line := range strings.Split(string(example), "\n") {
		before, key, ok := strings.Cut(line, "# ")
		if ok && strings.TrimSpace(before) == "" && strings.Contains(key, ": ") || strings.HasSuffix(key, ":") {
			line = before + key
		}
		all = append(all, line)
	}
	if _, err := decode("example.yaml", []byte(strings.Join(all[3:], "\n"))); err != nil {
		t.Errorf("with every comment made a key: %v", err)
	}
}

// Each bad file has, beside it, what lnsd has to say about it.
func TestBadFiles(t *testing.T) {
	files, _ := filepath.Glob("testdata/bad/*.yaml")
	if len(files) < 7 {
		t.Fatalf("only %d files", len(files))
	}
	for _, f := range files {
		want, err := os.ReadFile(strings.TrimSuffix(f, ".yaml") + ".want")
		if err != nil {
			t.Fatal(err)
		}
		src, err := load(f)
		if err == nil {
			_, err = build(src)
		}
		if err == nil {
			t.Errorf("%s is taken for good", f)
			continue
		}
		for _, line := range strings.Split(strings.TrimSpace(string(want)), "\n") {
			if !strings.Contains(err.Error(), line) {
				t.Errorf("%s: want %q in\n%v", f, line, err)
			}
		}
	}
}

func TestMissingFileSaysWhatToDo(t *testing.T) {
	c := configFlag{Config: "/nonexistent/lnsd.yaml"}
	if _, err := c.load(); err == nil || !strings.Contains(err.Error(), "lnsd example") {
		t.Errorf("got %v", err)
	}
}

func TestPrefixesOfARange(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.0/24":                     "10.0.0.0/24",
		"10.0.0.1-10.0.0.1":               "10.0.0.1/32",
		"10.0.0.2-10.0.0.9":               "10.0.0.2/31 10.0.0.4/30 10.0.0.8/31",
		"255.255.255.254-255.255.255.255": "255.255.255.254/31",
		"0.0.0.0/0":                       "0.0.0.0/0",
	} {
		r, err := ippool.ParseRange(in)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range prefixes(r) {
			got = append(got, p.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, want %s", in, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(string(example))
	for _, s := range []string{"", "lacs: [{name: 1}]", "l2tp: []", "node: {a: b}", "- a", "pools: [{ranges: x}]", "a: &a [*a]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if src, err := decode("fuzz.yaml", []byte(s)); err == nil {
			_, _ = build(src)
		}
	})
}
