// Package early loses no ESP packet that comes before the kernel has the keys for it.
//
// In IKEv1 the end that begins a quick mode sends through the new SA as soon as it has sent its
// last message; the other end's daemon gives the kernel the keys when it has read that message
// (RFC 2409 section 5.5). ESP packets that overtake it meet an SPI that was given out and has no
// keys yet, and the kernel drops them (XfrmAcquireError), with every renewal of keys some. IKEv2 has no such gap.
//
// A Keeper sees the first packets of every SA through a packet socket, whose filter the kernel
// applies, and keeps copies of them for a moment. When the kernel says that an SPI has got its keys
// it is given what came for that SPI before, by way of the loopback device. What it had taken the first time it
// drops as a replay; an SA without replay protection is left alone for that reason.
//
// The files: parse.go reads packets, filter.go has the kernel leave out all others, store.go keeps them, sas.go reads
// what the kernel says of SAs, keeper_linux.go is the sockets and the goroutine.
package early

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
)

// Config is what a Keeper is made of.
type Config struct {
	// To are this host's addresses that LACs call; none is any, where subscribers' own SAs get into the way.
	To []netip.Addr
	// Log gets what keeps a Keeper from its work.
	Log *slog.Logger
	// Given counts the packets that the kernel was given again.
	Given *atomic.Uint64
}
