package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"

	"culvert/aaa/radius/radtest"
)

// radiusCmd is "lacsim radius": the AAA of an LNS that is measured by itself.
type radiusCmd struct {
	Auth     string `default:"127.0.0.1:1812" help:"Address and port for authentication."`
	Acct     string `default:"127.0.0.1:1813" help:"Address and port for accounting."`
	Secret   string `default:"secret" help:"Secret shared with the LNS."`
	Password string `default:"secret" help:"Everybody's password."`
	JSON     string `name:"json" placeholder:"FILE" help:"At the end, write what was counted as JSON; - is stdout."`
}

// Run answers until it is told to stop.
func (c *radiusCmd) Run(ctx context.Context) error {
	cfg := radtest.Config{Secret: []byte(c.Secret), AnyPassword: c.Password}
	for _, a := range []struct {
		flag, text string
		port       uint16
		to         *netip.AddrPort
	}{{"--auth", c.Auth, 1812, &cfg.Auth}, {"--acct", c.Acct, 1813, &cfg.Acct}} {
		addr, err := parseAddrPort(a.text, a.port)
		if err != nil {
			return fmt.Errorf("%s %s: %w", a.flag, a.text, err)
		}
		*a.to = addr
	}
	s, err := radtest.New(cfg)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "lacsim: RADIUS on %v and %v\n", s.AuthAddr(), s.AcctAddr())
	<-ctx.Done()
	counts := s.Counts()
	if err := s.Close(); err != nil {
		return err
	}
	if c.JSON != "" {
		return writeJSON(c.JSON, counts)
	}
	return nil
}
