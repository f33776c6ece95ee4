package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"culvert/lns/ipsec"
)

// lnsd check tells what the host lacks for IPsec, and nothing where no LAC uses it.
func TestCheckIPsec(t *testing.T) {
	if list := checkIPsec(&settings{}); list != nil {
		t.Errorf("without IPsec: %q", list)
	}
	set := &settings{ipsec: &ipsec.Config{Socket: filepath.Join(t.TempDir(), "vici")}}
	text := strings.Join(checkIPsec(set), "\n")
	for _, want := range []string{"charon does not answer at " + set.ipsec.Socket, "systemctl start strongswan", "SAs apart"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	l, err := net.Listen("unix", set.ipsec.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if text := strings.Join(checkIPsec(set), "\n"); !strings.Contains(text, "charon is there") {
		t.Error(text)
	}
}
