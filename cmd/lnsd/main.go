// Command lnsd is the Culvert LNS daemon.
package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"culvert/sessiondb/postgres"
)

// version is set by the linker for releases.
var version = "dev"

//go:embed example.yaml
var example []byte

// cli is the command line.
type cli struct {
	Run     runCmd     `cmd:"" default:"withargs" help:"Serve LACs until SIGTERM or SIGINT (the default)."`
	Check   checkCmd   `cmd:"" help:"Check a configuration file as a whole and say what is wrong with it."`
	Wall    wallCmd    `cmd:"" help:"Show the kernel policies that drop clear L2TP, or take them away."`
	Migrate migrateCmd `cmd:"" help:"Bring the database's schema up to date."`
	Example exampleCmd `cmd:"" help:"Print a configuration file that shows every key."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// configFlag is the file that most commands need.
type configFlag struct {
	Config string `short:"c" default:"/etc/culvert/lnsd.yaml" env:"CULVERT_CONFIG" help:"Configuration file."`
}

func (c *configFlag) load() (*settings, error) {
	src, err := load(c.Config)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w\nwrite one (`lnsd example` shows every key) and name it with --config", err)
	}
	if err != nil {
		return nil, err
	}
	return build(src)
}

type runCmd struct {
	configFlag `embed:""`
	labFlags   `embed:"" group:"Lab"`
	Supervise  bool `help:"Stay behind as a parent that keeps sockets open and starts lnsd again when it dies or on SIGUSR2, so that no packet is refused. Where systemd runs lnsd, its file descriptor store does the same."`
}

// settings are those of the lab, or of the file.
func (c *runCmd) settings() (*settings, error) {
	if c.Lab {
		return c.labFlags.load()
	}
	return c.configFlag.load()
}

// Run serves until it is told to stop.
func (c *runCmd) Run() error {
	set, err := c.settings()
	if err != nil {
		return err
	}
	if c.Supervise {
		return supervise(slices.DeleteFunc(slices.Clone(os.Args[1:]), isSupervise), newLogger(&set.file.Log, os.Stderr))
	}
	lines := newLogWriter(os.Stderr, lostLines(&set.file.Log))
	defer lines.Close()
	log := newLogger(&set.file.Log, lines)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR2)
	d, err := start(set, log)
	if err != nil {
		return err
	}
	log.Info("serving", "node", set.node, "listen", d.plane.Listeners(), "plane", set.file.Plane.Mode,
		"socket", set.ops.Socket, "http", d.ops.HTTPAddr(), "version", version)
	keepFiles(d.plane, set.plane.Inherited, log)
	notify("READY=1")
	drop := false
	select {
	case g := <-signals:
		drop = drops(g, set.file.Shutdown)
	case drop = <-d.asked:
	case err = <-d.failed:
		err = fmt.Errorf("management: %w", err)
		log.Error("stopping", "err", err)
	}
	signal.Stop(signals) // a second signal ends the process at once
	notify("STOPPING=1")
	if drop {
		log.Info("stopping: tunnels get StopCCN, sessions their accounting Stop")
	} else {
		log.Info("stopping: tunnels and sessions go on with the next start")
	}
	began := time.Now()
	d.stop(drop)
	log.Info("stopped", "took", time.Since(began).Round(time.Millisecond))
	return err
}

// drops says whether a signal ends tunnels and sessions, or this process alone: SIGTERM as
// the configuration says, SIGINT always, SIGUSR2 never.
func drops(g os.Signal, shutdown string) bool {
	return g == syscall.SIGINT || g == syscall.SIGTERM && shutdown == shutdownDrop
}

// isSupervise finds the flag in any form that switches it on.
func isSupervise(arg string) bool { return arg == "--supervise" || arg == "--supervise=true" }

type checkCmd struct {
	configFlag `embed:""`
}

// Run checks the configuration.
func (c *checkCmd) Run() error {
	set, err := c.load()
	if err != nil {
		return err
	}
	fmt.Printf("%s: good; node %s, %d LAC profiles, %d pools\n", c.Config, set.node, len(set.lacs), len(set.pools.Pools))
	for _, s := range checkIPsec(set) {
		fmt.Println(s)
	}
	for _, s := range adviseIPsec(set) {
		fmt.Println("ipsec: note:", s)
	}
	return nil
}

type migrateCmd struct {
	configFlag `embed:""`
}

// Run migrates the configured database.
func (c *migrateCmd) Run() error {
	set, err := c.load()
	if err != nil {
		return err
	}
	if set.database == "" {
		return errors.New("no database is configured; set database.url")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := postgres.Migrate(ctx, set.database); err != nil {
		return err
	}
	fmt.Println("the database's schema is up to date")
	return nil
}

type exampleCmd struct{}

// Run prints the example.
func (exampleCmd) Run() error {
	_, err := os.Stdout.Write(example)
	return err
}

type versionCmd struct{}

// Run prints the version and what it was built from.
func (versionCmd) Run() error {
	rev := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				rev = " " + s.Value
			}
		}
	}
	fmt.Printf("lnsd %s%s\n", version, rev)
	return nil
}

func main() {
	k := kong.Parse(&cli{}, kong.Name("lnsd"),
		kong.Description("Culvert LNS: ends L2TPv2 tunnels of LACs and the PPP sessions in them."),
		kong.UsageOnError())
	if err := k.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "lnsd: %v\n", err)
		os.Exit(1)
	}
}
