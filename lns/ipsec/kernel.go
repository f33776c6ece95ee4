package ipsec

import (
	"errors"
	"io"
	"net/netip"

	"culvert/lns/ipsec/early"
)

// errNoKernel says that this system has no XFRM that we could use.
var errNoKernel = errors.New("this kernel has no IPsec (XFRM), or lnsd may not use it")

// block is a kernel policy that drops L2TP: packets to (In) or from our address
// and port. Remote is whose packets; one of no bits is everybody's.
type block struct {
	Local  netip.AddrPort
	Remote netip.Prefix
	In     bool
	// Mark and Mask pick packets by their mark; a Mask of 0 is all.
	Mark, Mask uint32
}

// kernel is the system's XFRM; a test has its own.
type kernel interface {
	// Blocks lists the policies that Block has made, in this life or an earlier one.
	Blocks() ([]block, error)
	Block(block) error
	Unblock(block) error
	// Snapshot notes the SAs and policies for UDP of these addresses' ports.
	Snapshot(listen []netip.AddrPort) (snapshot, error)
	// Early loses no ESP packet that comes before its SA has keys, until it is closed.
	Early(early.Config) (io.Closer, error)
}

// snapshot is what the kernel had at a moment.
type snapshot interface {
	// Sweep removes of it what charon does not know, and says how many SAs that were. It has to
	// be taken before charon is asked: what is new since then is nobody's mistake.
	Sweep(live alive) (int, error)
}

// alive is what charon knows: the SPIs and marks of all its SAs, also of others' connections.
type alive struct{ spis, marks map[uint32]bool }
