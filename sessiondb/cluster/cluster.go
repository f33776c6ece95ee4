// Package cluster decides which node of a cluster answers for which service
// address. Machine is one node's part, without I/O: the caller gives it the
// time, what the database says and what the other nodes say, and it says what
// to ask of them and until when each address may be answered for.
//
// # The rule
//
// Every service address has one owner, a row of the database that only a
// transaction changes. The owner may answer for the address for as long as
// one of two things holds, and stops by itself when neither does:
//
//   - its lease: it has renewed it in the database, for Lease from the moment
//     that it asked;
//   - the promises: every node that could claim from it has said to it
//     directly that it will not, for Promise from the moment that it was asked.
//
// Another node claims an address only when it has seen no renewal of the
// owner for Lease and Grace, on its own clock; when the owner has not
// answered it directly for Promise, or has said that it has stopped; when no
// promise to the owner is left; and when the database agrees in the claim's
// transaction that there was no renewal. All times are on clocks that count
// while the machine sleeps, and none is compared with another machine's clock.
//
// Without the database nobody can claim, and an owner whose peers answer
// goes on. Cut off from both, an owner stops before anybody can claim.
//
// # Who could claim
//
// Only members. A node that joins may claim from those nodes alone that have
// said in the database, by Renewal.Seen, that they know of it, so that nobody
// needs a promise of a node that it has never heard of. A member that is
// silent is put out once it owns nothing, and has to join again: nobody needs its
// promise any more. A node makes no claim for Promise after its start, as it
// does not remember what it promised before.
//
// # Moves
//
// An operator moves an address from a node that works to another. So that no
// packet is lost while the new owner loads what is on it, the old one may go on
// forwarding for a time that both know (Address.Lingers), counted from before the
// address changes hands there and from after it here; the new owner answers when the
// old one says that it has stopped, or when that time is over for certain. Where all of it takes longer, the old one
// asks the new one directly for more (Machine.Grant), again and again.
package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Config of a Machine.
type Config struct {
	// Node is this node's name; Epoch grows with every start of its program.
	Node  string
	Epoch uint64
	// Serves are the service addresses that this node can serve; it claims no others.
	Serves []netip.AddrPort
	// Prefer are those it takes at once when they are nobody's.
	Prefer []netip.AddrPort
	// Lease is how long a renewal holds: 1 s to 5 min, 0 is 10 s. All nodes
	// have the same.
	Lease time.Duration
}

// DefaultLease is that of Config.
const DefaultLease = 10 * time.Second

// Validate says what is wrong with the configuration.
func (c *Config) Validate() error {
	var errs []error
	if c.Node == "" || len(c.Node) > maxName {
		errs = append(errs, fmt.Errorf("node: a name of 1 to %d octets is needed", maxName))
	}
	if c.Lease != 0 && (c.Lease < time.Second || c.Lease > 5*time.Minute) {
		errs = append(errs, fmt.Errorf("lease: %v is not between 1s and 5m", c.Lease))
	}
	for _, a := range c.Prefer {
		if !slices.Contains(c.Serves, a) {
			errs = append(errs, fmt.Errorf("prefer: %v is none of the addresses that this node serves", a))
		}
	}
	return errors.Join(errs...)
}

// The other times follow from the lease.

// Grace is how much longer than the lease a claimant waits.
func (c *Config) Grace() time.Duration { return c.Lease / 5 }

// Promise is how long a promise holds.
func (c *Config) Promise() time.Duration { return c.Lease / 2 }

// RenewEvery is the time between two renewals.
func (c *Config) RenewEvery() time.Duration { return c.Lease / 5 }

// ProbeEvery is the time between two probes of a peer.
func (c *Config) ProbeEvery() time.Duration { return c.Lease / 10 }

func (c Config) withDefaults() Config {
	c.Lease = cmp.Or(c.Lease, DefaultLease)
	return c
}

// View is what the database says, as of one renewal.
type View struct {
	// Members grows whenever a node joins or is put out; Claims whenever an
	// address changes hands.
	Members, Claims uint64
	Nodes           []Node
	Addresses       []Address
}

// Node is a row of the nodes.
type Node struct {
	Name  string
	Epoch uint64
	// At is where it is asked directly.
	At string
	// Member nodes may claim, from those that have Seen their Joined.
	Member       bool
	Joined, Seen uint64
	// Beat grows with every renewal; Lease is how long one holds.
	Beat     uint64
	Lease    time.Duration
	Draining bool
	// Serves are the addresses that it can serve.
	Serves []netip.AddrPort
}

// Address is a service address. Owner is empty while it is nobody's; Epoch
// grows whenever it changes hands. Lingers is for how long at most, from the moment
// that it changed hands, the node that gave it away may go on: see Machine.BeginMove.
type Address struct {
	Local   netip.AddrPort
	Owner   string
	Epoch   uint64
	Lingers time.Duration
}

// Saved is what a node keeps on its own disk, to go on while the database is away.
type Saved struct {
	View View
	// Seen is the number of View's members; the database may have been told of it.
	Seen uint64
}

// Effects are what a Machine wants done. The caller empties it between calls.
type Effects struct {
	// Renew asks for a renewal; the answer is Renewed or RenewFailed. There
	// is one at a time.
	Renew *Renewal
	// Claims and Expel ask for transactions; the answers are Claimed and
	// nothing. A claim is not repeated before it is answered.
	Claims []Claim
	Expel  []Expel
	// Send are messages for other nodes.
	Send []Out
	// Save, where set, has to be on disk before the next renewal begins.
	Save *Saved
	// Changed are addresses that came or went.
	Changed []Change
	// Log are sentences for the operator, pairs of keys and values behind them.
	Log []Line
}

// Line is a line for the log.
type Line struct {
	Text string
	Args []any
}

// Renewal renews the lease and reads the view, in one transaction.
type Renewal struct{ Seen uint64 }

// Claim takes an address from its owner, provided that the rows are still as
// told: the address has Epoch, and From (empty: nobody) has Beat and has seen Joined.
type Claim struct {
	Local netip.AddrPort
	Epoch uint64
	From  string
	Beat  uint64
}

// Expel puts a silent node out of the members, provided that it has Beat.
type Expel struct {
	Node string
	Beat uint64
}

// Out is a message and where it goes.
type Out struct {
	At      string
	Message Message
}

// Change says that an address became this node's or ceased to be.
type Change struct {
	Address
	Mine bool
	// Known says that this node had the address in the same epoch before its
	// start, so that its own journal has the latest state of it.
	Known bool
}
