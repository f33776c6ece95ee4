package radius_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"culvert/aaa/radius"
)

func TestConfigValidate(t *testing.T) {
	good := func() radius.Config {
		s := radius.Server{Name: "a", Address: netip.MustParseAddrPort("192.0.2.1:1812"), Secret: []byte("x")}
		b := s
		b.Name = "b"
		return radius.Config{NASIdentifier: "lns", Auth: radius.Group{Servers: []radius.Server{s, b}}}
	}
	tests := []struct {
		name   string
		change func(*radius.Config)
		want   string
	}{
		{"good", func(*radius.Config) {}, ""},
		{"no retries", func(c *radius.Config) { c.Auth.Servers[0].Retries = -1; c.Auth.Servers[0].Queue = -1 }, ""},
		{"no NAS identifier", func(c *radius.Config) { c.NASIdentifier = "" }, "NAS identifier"},
		{"long NAS identifier", func(c *radius.Config) { c.NASIdentifier = strings.Repeat("x", 254) }, "NAS identifier"},
		{"no server", func(c *radius.Config) { c.Auth.Servers = nil }, "no server given"},
		{"mode", func(c *radius.Config) { c.Auth.Mode = "random" }, `mode "random"`},
		{"no secret", func(c *radius.Config) { c.Auth.Servers[1].Secret = nil }, "server b: secret is missing"},
		{"no port", func(c *radius.Config) { c.Auth.Servers[0].Address = netip.MustParseAddrPort("192.0.2.1:0") }, "server a: address"},
		{"no address", func(c *radius.Config) { c.Auth.Servers[0].Address = netip.AddrPort{} }, "address"},
		{"wildcard", func(c *radius.Config) { c.Auth.Servers[0].Address = netip.MustParseAddrPort("0.0.0.0:1812") }, "address"},
		{"same name", func(c *radius.Config) { c.Auth.Servers[1].Name = "a" }, "given twice"},
		{"families", func(c *radius.Config) { c.Auth.Servers[0].Source = netip.MustParseAddr("2001:db8::1") }, "different families"},
		{"timeout short", func(c *radius.Config) { c.Auth.Servers[0].Timeout = time.Millisecond }, "timeout"},
		{"timeout long", func(c *radius.Config) { c.Auth.Servers[0].Timeout = time.Hour }, "timeout"},
		{"retries", func(c *radius.Config) { c.Auth.Servers[0].Retries = 11 }, "retries"},
		{"dead time", func(c *radius.Config) { c.Auth.Servers[0].DeadTime = -1 }, "dead time"},
		{"weight", func(c *radius.Config) { c.Auth.Servers[0].Weight = 1001 }, "weight"},
		{"in flight", func(c *radius.Config) { c.Auth.Servers[0].InFlight = -1 }, "in flight"},
		{"queue", func(c *radius.Config) { c.Auth.Servers[0].Queue = 1<<20 + 1 }, "queue"},
		{"max wait", func(c *radius.Config) { c.Auth.Servers[0].MaxWait = -1 }, "max wait"},
		{"too many", func(c *radius.Config) { c.Acct.Servers = make([]radius.Server, 65) }, "acct: 65 servers"},
	}
	for _, test := range tests {
		c := good()
		test.change(&c)
		err := c.Validate()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
		if err == nil {
			continue
		}
		if _, err := radius.New(c, nil); err == nil {
			t.Errorf("%s: New takes it", test.name)
		}
	}
}

func TestDynAuthConfigValidate(t *testing.T) {
	client := radius.DynAuthClient{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Secret: []byte("x")}
	listen := netip.MustParseAddrPort("127.0.0.1:0")
	tests := []struct {
		name string
		cfg  radius.DynAuthConfig
		want string
	}{
		{"good", radius.DynAuthConfig{Listen: listen, Clients: []radius.DynAuthClient{client}}, ""},
		{"no listen", radius.DynAuthConfig{Clients: []radius.DynAuthClient{client}}, "listen"},
		{"no client", radius.DynAuthConfig{Listen: listen}, "no client"},
		{"no prefix", radius.DynAuthConfig{Listen: listen, Clients: []radius.DynAuthClient{{Secret: []byte("x")}}}, "without address"},
		{"no secret", radius.DynAuthConfig{Listen: listen, Clients: []radius.DynAuthClient{{Prefix: client.Prefix}}}, "secret is missing"},
		{"window", radius.DynAuthConfig{Listen: listen, Clients: []radius.DynAuthClient{client}, Window: -1}, "window"},
	}
	for _, test := range tests {
		err := test.cfg.Validate()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
		if err == nil {
			continue
		}
		if _, err := radius.NewDynAuth(test.cfg, nil, nil); err == nil {
			t.Errorf("%s: NewDynAuth takes it", test.name)
		}
	}
}
