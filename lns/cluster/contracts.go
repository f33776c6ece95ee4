package cluster

import (
	"context"
	"log/slog"
	"net/netip"

	"culvert/lns/dataplane"
	"culvert/sessiondb"
	"culvert/sessiondb/cluster"
)

// Store is the database. All of it is called from several goroutines.
type Store interface {
	// Secret is what the nodes sign their messages with.
	Secret(ctx context.Context) ([]byte, error)
	// Renew renews the lease and reads the view.
	Renew(ctx context.Context, seen uint64, draining bool) (cluster.View, error)
	Claim(ctx context.Context, c cluster.Claim) (cluster.Result, error)
	Expel(ctx context.Context, e cluster.Expel) error
	Leave(ctx context.Context) error
	// Transfer gives an address away with the last word on what is on it.
	// It may be repeated; not says that it has certainly not been done.
	Transfer(ctx context.Context, a cluster.Address, to string, last []sessiondb.Change) (not bool, err error)
}

// Host is the LNS. Calls for one address are made one at a time.
type Host interface {
	// Take brings to life what is on an address, from the node's own journal
	// where own is true, else from the database.
	Take(ctx context.Context, local netip.AddrPort, own bool) error
	// Give forgets what is on an address without a word to anybody, and
	// gives the last word on it. All that was written behind it before is in the database.
	Give(ctx context.Context, local netip.AddrPort) ([]sessiondb.Change, error)
	// HandOver is Give, but that the packets of sessions are forwarded until Handing.End, and
	// late takes what is for tunnels and links meanwhile; see lns.Server.HandOver. Where there is an error, there may be a Handing.
	HandOver(ctx context.Context, local netip.AddrPort, late func([]dataplane.Datagram)) (Handing, []sessiondb.Change, error)
	// Restore undoes Give and HandOver.
	Restore(ctx context.Context, local netip.AddrPort, last []sessiondb.Change) error
	// CountMore adds what another node has counted of sessions that are alive here now; TakeIn takes
	// datagrams that have come to it for this one, and SendOut those that this one is to send.
	CountMore([]dataplane.Counted)
	TakeIn([]dataplane.Datagram)
	SendOut([]dataplane.Datagram)
	// Forget forgets what is on an address that is another node's now.
	Forget(local netip.AddrPort) error
}

// Keeper keeps what the runner has to know while the database is away. Load
// gives nothing when there is nothing.
type Keeper interface {
	Load() (*Kept, error)
	Save(*Kept) error
}

// Kept is what a Keeper keeps.
type Kept struct {
	Saved  cluster.Saved
	Secret []byte
	// Taken are the addresses whose sessions are in this node's journal, with the epoch they
	// have been taken in; nil in what earlier versions kept, which had all that they owned.
	Taken map[netip.AddrPort]uint64
}

// Config of a Runner. All but Log is needed.
type Config struct {
	cluster.Config
	// Listen is where the other nodes ask this one.
	Listen netip.AddrPort
	// Fence has a listener for each of Serves, in that order.
	Fence     *dataplane.Fence
	Addresses Addresses
	Store     Store
	Host      Host
	Keeper    Keeper
	Log       *slog.Logger
}
