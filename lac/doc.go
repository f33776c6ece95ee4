// Package lac is the LAC role of L2TP (RFC 2661): it opens tunnels to an LNS,
// places incoming calls in them, hands the PPP frames of the calls to its
// user and ends them again. Should the LNS open a tunnel at the same time, the tie
// breakers decide which of the two lives. A simulator puts a PPP client behind the calls; tunnel
// switching puts sessions of other tunnels there.
//
// Tunnels whose configuration offers failover are recovered by RFC 4951, whichever end has
// failed (failover.go).
//
// An Engine is a step machine: it owns many tunnels and their calls, takes
// datagrams and the time, and gives datagrams to an Output. It has no clock,
// sockets or goroutine; one goroutine at a time may use it. Loop drives one
// with the sockets of package udp. Several engines, each with its own sockets
// and goroutine, use several cores.
package lac
