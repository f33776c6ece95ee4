// Package archtest keeps the architecture: which package may import which,
// who may use which library, what the I/O-free rooms must not touch, and what may
// stand at the top of the tree. The rules are the tables in this file; the tests check
// the tree against them. ARCHITECTURE.md tells the reasons.
package archtest

import "strings"

// module is this module's path.
const module = "culvert"

// room is a part of the tree that is written and understood by itself: a
// package with the packages below it that are no rooms of their own.
type room struct {
	path string
	// row is the room's height: a room imports only rooms of lower rows.
	row int
}

// rooms are the rows of the architecture, from the top to the bottom.
var rooms = []room{
	{"cmd/lnsd", 4},
	{"cmd/lnsctl", 4},
	{"cmd/lacsim", 4},

	{"ops", 3},
	{"aaa/radius", 3},
	{"aaa/ippool", 3},
	{"aaa/outbox", 3},
	{"sessiondb/journal", 3},
	{"sessiondb/postgres", 3},
	{"sessiondb/storetest", 3},
	{"lns/dataplane/xdp", 3},
	{"lns/ipsec", 3},
	{"lns/cluster", 3},

	{"lns", 2},
	{"lac", 2},

	{"lns/link", 1},
	{"lns/trace", 1},
	{"lns/dataplane", 1},
	{"aaa", 1},
	{"sessiondb", 1},
	{"sessiondb/cluster", 1},

	{"proto/l2tp", 0},
	{"proto/ppp", 0},
	{"proto/culvert", 0},
}

// roomOf finds the room of a package, by the longest path that holds it.
func roomOf(path string) (room, bool) {
	var best room
	for _, r := range rooms {
		if (path == r.path || strings.HasPrefix(path, r.path+"/")) && len(r.path) > len(best.path) {
			best = r
		}
	}
	return best, best.path != ""
}

// mayImport tells whether a package of room from may import one of room to.
func mayImport(from, to room) bool {
	return from == to || to.row < from.row
}

// owner says which rooms may import a library.
type owner struct {
	library string
	rooms   []string
	why     string
}

// owners are the libraries that must not spread.
var owners = []owner{
	{"layeh.com/radius", []string{"aaa/radius"}, "the rest of the tree knows aaa's contracts, not RADIUS packets"},
	{"google.golang.org/protobuf", []string{"ops", "proto/culvert", "cmd/lnsctl"}, "ops alone translates between Go types and protobuf"},
	{module + "/proto/culvert", []string{"ops", "proto/culvert", "cmd/lnsctl"}, "ops alone translates between Go types and protobuf"},
	{"google.golang.org/grpc", []string{"ops", "proto/culvert", "cmd/lnsctl"}, "the API is served by ops and used by lnsctl"},
	{"github.com/jackc/pgx", []string{"sessiondb/postgres", "ops/lab"}, "the rest of the tree knows sessiondb's contracts, not SQL"},
	{"github.com/pressly/goose", []string{"sessiondb/postgres"}, "the schema belongs to its store"},
	{"github.com/cockroachdb/pebble", []string{"sessiondb/journal"}, "the journal's format belongs to it"},
	{"go.etcd.io/bbolt", []string{"sessiondb/journal"}, "the journal's format belongs to it"},
	{"github.com/prometheus", []string{"ops"}, "lns gives plain counters, ops makes metrics of them"},
	{"github.com/alecthomas/kong", []string{"cmd"}, "flags belong to commands"},
	{"github.com/goccy/go-yaml", []string{"cmd", "ops/lab"}, "the file format belongs to cmd; packages have plain Configs"},
}

// pureRooms do no I/O: a caller gives them the time, the bytes and the randomness.
var pureRooms = []string{"proto/l2tp", "proto/ppp", "lns/link", "lns/trace", "sessiondb/cluster"}

// impureImports are what gives a pure room sockets, files, locks or a log.
var impureImports = []string{"net", "net/http", "os", "syscall", "log", "log/slog", "sync", "crypto/rand"}

// clockCalls are the functions of package time that read or wait for the clock.
var clockCalls = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

// topLevel is what may stand at the top of the tree. The last row is not in git.
var topLevel = []string{
	"cmd", "proto", "lns", "lac", "aaa", "sessiondb", "ops",
	"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "LICENSE",
	"Makefile", "go.mod", "go.sum", ".ci", ".gitignore",
	".git", "bin", "out",
}
