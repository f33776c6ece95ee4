// Package radius speaks RADIUS for the LNS: authentication (RFC 2865, 2548,
// 2869, 3162), accounting (RFC 2866, 2867, 2868), server failover with
// Status-Server (RFC 5997), and Disconnect-Requests from outside (RFC 5176).
//
// A Client has, for each server, one goroutine that encodes, sends and keeps
// the timers, and a few connected sockets of 256 identifiers with one reading
// goroutine each. Requests are never given a goroutine or a socket of their own.
package radius
