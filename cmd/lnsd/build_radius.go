package main

import (
	"fmt"
	"time"

	"culvert/aaa/radius"
)

func (b *builder) radius(node string, c *radiusSection) radius.Config {
	r := radius.Config{NASIdentifier: c.NASIdentifier, NASAddress: c.NASAddress.V}
	if r.NASIdentifier == "" {
		r.NASIdentifier = node
	}
	r.Auth = b.group("$.radius.auth", &c.Auth)
	r.Acct = b.group("$.radius.acct", &c.Acct)
	lab := c.Lab.Password != ""
	switch {
	case lab && len(r.Auth.Servers)+len(r.Acct.Servers) > 0:
		b.bad("$.radius.lab", "the lab's responder and real servers exclude each other; drop one or the other")
	case !lab && len(r.Auth.Servers) == 0:
		b.bad("$.radius.auth", "name at least one server, or nobody can log in (for a lab: radius.lab.password)")
	case !lab && len(r.Acct.Servers) == 0:
		b.bad("$.radius.acct", "name at least one server, or nothing is accounted (for a lab: radius.lab.password)")
	}
	if len(r.Auth.Servers) > 0 && len(r.Acct.Servers) > 0 {
		b.check("$.radius", r.Validate())
	}
	return r
}

func (b *builder) group(key string, c *groupSection) radius.Group {
	g := radius.Group{Mode: radius.Mode(c.Mode)}
	for i := range c.Servers {
		s := &c.Servers[i]
		k := fmt.Sprintf("%s.servers[%d]", key, i)
		g.Servers = append(g.Servers, radius.Server{
			Name: s.Name, Address: s.Address.V, Source: s.Source.V,
			Secret:  []byte(b.secret(k+".secret", s.Secret, s.SecretFile)),
			Timeout: time.Duration(s.Timeout), Retries: s.Retries, DeadTime: time.Duration(s.DeadTime),
			NoProbe: s.NoProbe, Priority: s.Priority, Weight: s.Weight, InFlight: s.InFlight, Queue: s.Queue,
			MaxWait: time.Duration(s.MaxWait), AllowUnsigned: s.AllowUnsigned,
		})
	}
	return g
}

// dynauth is nil where no Disconnect-Requests are taken.
func (b *builder) dynauth(node string, c *radiusSection) *radius.DynAuthConfig {
	if !c.Disconnect.Listen.V.IsValid() {
		if len(c.Disconnect.Clients) > 0 {
			b.bad("$.radius.disconnect", "there are clients but no address to listen on; set listen, such as 192.0.2.1:3799")
		}
		return nil
	}
	d := &radius.DynAuthConfig{
		Listen: c.Disconnect.Listen.V, NASIdentifier: c.NASIdentifier,
		RequireTimestamp: c.Disconnect.RequireTimestamp, RequireMessageAuthenticator: c.Disconnect.RequireSignature,
	}
	if d.NASIdentifier == "" {
		d.NASIdentifier = node
	}
	for i := range c.Disconnect.Clients {
		cl := &c.Disconnect.Clients[i]
		k := fmt.Sprintf("$.radius.disconnect.clients[%d]", i)
		d.Clients = append(d.Clients, radius.DynAuthClient{
			Prefix: cl.Prefix.V, Secret: []byte(b.secret(k+".secret", cl.Secret, cl.SecretFile)),
		})
	}
	b.check("$.radius.disconnect", d.Validate())
	return d
}
