// Package trace keeps the last protocol events of a session or a tunnel in a
// few hundred octets, so that "why did this subscriber drop at 03:12" has an answer
// without a packet capture. Events are recorded as what was on the wire, cut to
// what matters, and put into words only when somebody reads them.
//
// Nothing secret is recorded: of PAP no password, of CHAP neither challenge nor
// response, of EAP no data, of L2TP no AVP that may hold one of them. What repeats
// without news (echoes, HELLOs, frames of protocols that are not spoken here) is one
// event with a count.
//
// The package does no I/O; time is an argument. A Log belongs to one goroutine.
package trace
