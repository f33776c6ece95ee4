package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"

	"culvert/lac/udp"
)

// echoCmd is "lacsim echo": the core's end of --traffic udp.
type echoCmd struct {
	Listen string `default:"0.0.0.0:7" help:"Address and port."`
}

// Run sends every datagram back to where it came from.
func (e *echoCmd) Run(ctx context.Context) error {
	addr, err := parseAddrPort(e.Listen, 7)
	if err != nil {
		return fmt.Errorf("--listen %s: %w", e.Listen, err)
	}
	g, err := udp.Listen([]netip.AddrPort{addr}, udp.Options{Buffer: 8 << 20})
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "lacsim: echo on", g.Local(0))
	var done atomic.Bool
	stop := context.AfterFunc(ctx, func() { done.Store(true); g.Wake() })
	defer stop()
	defer g.Close()
	return echo(g, &done)
}

func echo(g *udp.Group, done *atomic.Bool) error {
	for !done.Load() {
		if err := g.Wait(-1); err != nil {
			return err
		}
		if err := g.Read(g.Send); err != nil {
			return err
		}
		g.Flush()
	}
	return nil
}
