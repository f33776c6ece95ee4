// Package link runs one PPP link from the LNS's side: LCP, authentication,
// IPCP, keepalive and the link's end. It does no I/O, reads no clock, starts
// no goroutine and logs nothing: a step takes the time and an event, and
// puts what it wants into an Effects.
//
// A link's life, as phases:
//
//	lcp -> authenticating -> network -> up -> closing -> down
//
// Start begins with LCP, or with what the LAC negotiated already (Proxy).
// When the peer has said who it is, Effects.Auth asks the owner, who answers
// with Grant or Deny, or for EAP with a Challenge, after which it is asked again. IPCP follows; Effects.Up says that it opened. Whatever
// ends the link, Effects.Down comes exactly once, with a Reason, and from
// then on the link ignores everything.
//
// A Link is a value to embed in a session. What only the set-up needs lives
// behind a pointer that is dropped when the link is up.
package link
