package ops

import (
	"context"
	"net/netip"

	"culvert/aaa"
	"culvert/lns"
)

// Node is what ops needs of an LNS; *lns.Server is one. All methods are safe
// for concurrent use and return copies.
type Node interface {
	// Tunnels are all tunnels, in any order.
	Tunnels() []lns.TunnelInfo
	// StopTunnel sends StopCCN with reason as its error message.
	StopTunnel(local netip.AddrPort, id uint16, reason string) error
	// Sessions are a page of those that q asks for, their number on all
	// pages, and whether another page follows.
	Sessions(q lns.SessionQuery) (page []lns.SessionInfo, total int, more bool)
	// SessionByID finds a session by its Acct-Session-Id.
	SessionByID(id string) (lns.SessionInfo, bool)
	// Call asks a LAC to call a subscriber and gives the session's id.
	Call(ctx context.Context, c lns.OutgoingCall) (string, error)
	// RequestSpeed asks a session's LAC for its line's speed.
	RequestSpeed(id string) error
	// Disconnect begins to end all sessions that sel names and says how many they are.
	Disconnect(sel lns.Selector, cause aaa.TerminateCause, detail string) (int, error)
	// Watch yields events until ctx is done; then the channel is closed.
	Watch(ctx context.Context) <-chan lns.Event
	// Trace tells what sessions have done and, where q asks for it, what they do until ctx is done.
	Trace(ctx context.Context, q lns.TraceQuery) *lns.Trace
	// PutLAC adds a profile or replaces the one of its name.
	PutLAC(p lns.LACProfile) error
	// DeleteLAC removes a profile.
	DeleteLAC(name string) error
	// LACs are all profiles, in any order.
	LACs() []lns.LACProfile
	// Status says how the node is.
	Status() lns.Status
	// Drain refuses new tunnels and calls, or takes them again.
	Drain(on bool)
	// Stats are the node's counters since it started.
	Stats() lns.Stats
}
