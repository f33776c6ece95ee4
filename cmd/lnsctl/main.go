// Command lnsctl operates lnsd: it lists, shows, watches and ends tunnels and
// sessions, provisions LACs, and drains a node. It speaks the gRPC API of
// proto/culvert/v1 and nothing else.
//
// Exit status: 0 done, 1 failed, 2 wrong usage, 3 not found.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// cli is the grammar of the command line; kong fills it.
type cli struct {
	connection `embed:"" group:"Connection"`
	Output     string `short:"o" enum:"table,wide,json" default:"table" help:"How to print: table, wide (a table with all columns) or json (the API's own form; lists are arrays, watch prints a line an event)."`

	LAC     lacCommands     `cmd:"" name:"lac" help:"Which LACs may call, and how they are treated."`
	Tunnel  tunnelCommands  `cmd:"" help:"L2TP tunnels."`
	Session sessionCommands `cmd:"" help:"Subscribers' sessions."`
	IPsec   ipsecCommands   `cmd:"" name:"ipsec" help:"IPsec in front of L2TP: SAs, and why LACs get none."`
	Call    callCommand     `cmd:"" help:"Have a LAC call a subscriber."`
	Cluster clusterCommands `cmd:"" help:"The cluster of nodes that take over from each other."`
	Node    nodeCommands    `cmd:"" help:"The node itself."`
	Status  statusCommand   `cmd:"" help:"Show how the node is."`
	// Short for those of node.
	Drain      drainCommand    `cmd:"" hidden:"" help:"Refuse new tunnels and calls; sessions that are up stay."`
	Undrain    undrainCommand  `cmd:"" hidden:"" help:"Take new tunnels and calls again."`
	Version    versionCommand  `cmd:"" help:"Show the versions of lnsctl and of the node."`
	Completion completeCommand `cmd:"" help:"Print a completion script for bash."`
}

// app is what commands work with.
type app struct {
	*cli
	ctx         context.Context
	in          io.Reader
	out, errOut io.Writer
	// terminal says whether a person can be asked something.
	terminal bool
	now      func() time.Time
	parser   *kong.Kong
}

const description = `Operate a Culvert L2TP network server.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 not found.

lnsctl talks to the node on this host through its unix socket, or to any node
with --address host:port and a client certificate. Examples:

  lnsctl status
  lnsctl session list --user alice@example.net
  lnsctl -o json session list | jq -r '.[].address'
  lnsctl --address lns1:7443 --tls-ca ca.pem --tls-cert me.pem --tls-key me.key tunnel list`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := &app{ctx: ctx, in: os.Stdin, out: os.Stdout, errOut: os.Stderr, terminal: isTerminal(os.Stdin), now: time.Now}
	code := a.run(os.Args[1:])
	stop()
	os.Exit(code)
}

// isTerminal says whether somebody can answer.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

// exited is how kong leaves after --help.
type exited int

// run does what args say and gives the exit status.
func (a *app) run(args []string) (code int) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(exited)
			if !ok {
				panic(r)
			}
			code = int(e)
		}
	}()
	a.cli = &cli{}
	parser, err := kong.New(a.cli,
		kong.Name("lnsctl"), kong.Description(description),
		kong.Writers(a.out, a.errOut), kong.Exit(func(n int) { panic(exited(n)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 100}),
		kong.Vars{"address": defaultAddress},
	)
	if err != nil {
		panic(err) // the grammar itself is wrong
	}
	a.parser = parser
	if len(args) == 0 {
		args = []string{"--help"}
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(a.errOut, "lnsctl: %v\nRun \"lnsctl%s --help\" for how it is used.\n", err, commandOf(err))
		return exitUsage
	}
	return a.report(ctx.Run(a))
}

// commandOf names the command whose arguments were wrong.
func commandOf(err error) string {
	var parse *kong.ParseError
	if !errors.As(err, &parse) || parse.Context == nil || parse.Context.Selected() == nil {
		return ""
	}
	path := ""
	for n := parse.Context.Selected(); n != nil && n.Type == kong.CommandNode; n = n.Parent {
		path = " " + n.Name + path
	}
	return path
}
