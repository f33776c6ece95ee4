// Command lacsim plays LACs and their subscribers against any LNS: it opens
// tunnels, dials calls, runs PPP in them, sends packets through the sessions and
// measures. It needs no privilege: all of it is userspace over UDP.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit statuses.
const (
	exitOK     = 0 // everything asked for went well
	exitFailed = 1 // it ran, and something did not
	exitUsage  = 2 // it could not run
)

// errResult says that the run ended, with failures that the report tells of.
var errResult = errors.New("not everything went well")

type cli struct {
	Run    runCmd    `cmd:"" default:"withargs" help:"Dial subscribers and report (the default command)."`
	Answer answerCmd `cmd:"" help:"Be a LAC that places the calls an LNS asks for (OCRQ), and their subscribers."`
	Radius radiusCmd `cmd:"" help:"Answer an LNS's RADIUS requests: everybody with the password gets in. For labs only."`
	Echo   echoCmd   `cmd:"" help:"Answer UDP probes of --traffic udp: an echo service (RFC 862)."`
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	var c cli
	parser, err := kong.New(&c, kong.Name("lacsim"), kong.UsageOnError(),
		kong.Description("LAC and subscriber simulator for L2TP network servers."),
		kong.Exit(func(code int) { os.Exit(code) }))
	if err != nil {
		fmt.Fprintln(os.Stderr, "lacsim:", err)
		return exitUsage
	}
	k, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lacsim:", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	k.BindTo(ctx, (*context.Context)(nil))
	switch err := k.Run(); {
	case errors.Is(err, errResult):
		return exitFailed
	case err != nil:
		fmt.Fprintln(os.Stderr, "lacsim:", err)
		return exitUsage
	}
	return exitOK
}
