// Package l2tp is L2TPv2 (RFC 2661) without I/O: the header, the AVPs and
// messages of the control connection, and the machines that speak them.
//
// The layers, from the wire up:
//
//   - Header: ParseHeader and Header.Append, for control and data.
//   - Message: ParseMessage and Message.Append, for the AVPs of one control
//     message, hidden ones included.
//   - Control: reliable, ordered delivery of control messages (section 5.8 and
//     appendix A).
//   - Tunnel: the control connection (section 7.2), with a Control inside.
//   - Call: one incoming call (section 7.4), in either role.
//
// Nothing here reads a clock, opens a socket, starts a goroutine or logs. Time
// is an argument, a time.Duration since an origin the caller chose. Machines
// append what they want done to an Effects that the caller owns. Nothing is
// locked either: each Tunnel, Call and Effects belongs to one goroutine at a
// time.
package l2tp
