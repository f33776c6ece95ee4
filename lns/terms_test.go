package lns

import (
	"cmp"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"culvert/aaa"
)

func TestTermsOf(t *testing.T) {
	routes, class := []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, [][]byte{[]byte("gold")}
	for _, c := range []struct {
		name  string
		grant aaa.Grant
		want  terms
	}{
		{"nothing that lasts", aaa.Grant{User: "x", Address: netip.MustParseAddr("192.0.2.1"), MTU: 1400}, terms{}},
		{"another name", aaa.Grant{User: "y"}, terms{said: "x", renamed: true}},
		{"routes", aaa.Grant{Routes: routes}, terms{routes: routes}},
		{"class", aaa.Grant{Class: class}, terms{class: class}},
		{"session timeout", aaa.Grant{SessionTimeout: time.Hour}, terms{session: time.Hour}},
		{"idle timeout", aaa.Grant{IdleTimeout: time.Minute}, terms{idle: time.Minute}},
		{"interim", aaa.Grant{Interim: time.Minute}, terms{interim: time.Minute}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := termsOf(&c.grant, cmp.Or(c.grant.User, "x"), "x")
			if !reflect.DeepEqual(*got, c.want) || (got == noTerms) != reflect.DeepEqual(c.want, terms{}) {
				t.Errorf("termsOf: %+v, want %+v", *got, c.want)
			}
		})
	}
}
