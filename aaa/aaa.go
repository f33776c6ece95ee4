// Package aaa holds the contracts between the LNS and what authenticates,
// authorizes and accounts its subscribers. It has types and small interfaces
// only; aaa/radius and aaa/ippool implement them, lns uses them.
package aaa

import (
	"errors"
	"net/netip"
	"time"
)

// Identity says who a session is: the facts that the Access-Request and every
// accounting record of a session share. It is immutable once a session has it.
type Identity struct {
	// AcctSessionID is unique for ever: node, epoch, counter.
	AcctSessionID string
	// User is the name the subscriber gave, or the one the Access-Accept
	// put in its place (RFC 2865 section 5.1).
	User string
	// NASPort is a number that is unique among the node's live sessions.
	NASPort uint32
	// NASPortID is the line in words: the LAC's circuit id where it sends
	// one, else tunnel and session ids.
	NASPortID string
	// CallingStation and CalledStation are the Calling and Called Number
	// AVPs (RFC 2661 section 4.4.4); empty where the LAC sends none.
	CallingStation, CalledStation string
	// ConnectInfo is the transmit and receive speed in words (RFC 2869 section 5.11).
	ConnectInfo string
	// TunnelClient and TunnelServer are the LAC's and our address.
	TunnelClient, TunnelServer netip.Addr
	// TunnelClientName is the LAC's Host Name AVP (Tunnel-Client-Auth-ID);
	// TunnelServerName is ours (Tunnel-Server-Auth-ID).
	TunnelClientName, TunnelServerName string
	// TunnelAssignment names the tunnel (Tunnel-Assignment-ID) and
	// TunnelConnection the call (Acct-Tunnel-Connection: the call serial number).
	TunnelAssignment, TunnelConnection string
	// LAC is the name of the LAC profile that matched.
	LAC string
	// PrivateGroup is the Private Group ID AVP (RFC 2661 section 4.4.4), for
	// Tunnel-Private-Group-ID.
	PrivateGroup string
	// Line is what the LAC tells of the access line; nil where it tells nothing. In accounting it
	// comes with the Start alone.
	Line *Line
}

// Method is how a subscriber proves who it is.
type Method uint8

// The methods that Culvert asks for.
const (
	MethodNone Method = iota
	MethodPAP
	MethodCHAP
	MethodMSCHAPv2
	MethodEAP
)

// String gives the method's usual name.
func (m Method) String() string {
	switch m {
	case MethodPAP:
		return "PAP"
	case MethodCHAP:
		return "CHAP"
	case MethodMSCHAPv2:
		return "MS-CHAPv2"
	case MethodEAP:
		return "EAP"
	}
	return "none"
}

// Credentials are what the subscriber sent.
type Credentials struct {
	Method Method
	// Password is the clear password (PAP only).
	Password []byte
	// ID is the CHAP identifier; Challenge what was sent to the subscriber
	// and Response its answer: 16 octets for CHAP-MD5, the 49 octets of
	// RFC 2759 section 4 for MS-CHAPv2.
	ID                  uint8
	Challenge, Response []byte
	// EAP is what the subscriber responded (EAP only).
	EAP *EAPResponse
}

// EAPResponse is a subscriber's Response to what it was asked by EAP.
type EAPResponse struct {
	// Packet is the EAP packet.
	Packet []byte
	// State is that of the Challenge that it answers; nil begins a conversation.
	State []byte
	// MTU is the longest EAP packet that fits the subscriber's link, in octets.
	MTU uint16
}

// Request asks for one subscriber. The slices belong to the Authorizer from
// the call on.
type Request struct {
	Identity Identity
	Credentials
}

// Grant is what a subscriber may have. Zero values mean "not said".
type Grant struct {
	// User replaces the name in accounting where the server sent one.
	User string
	// Address is the address to give; Pool names the pool to take one from.
	Address netip.Addr
	Pool    string
	// Routes are networks behind the subscriber (Framed-Route).
	Routes []netip.Prefix
	// MTU is Framed-MTU: the largest IP packet towards the subscriber.
	MTU uint16
	// SessionTimeout, IdleTimeout and Interim are zero when not said.
	SessionTimeout, IdleTimeout, Interim time.Duration
	// Class goes unchanged into every accounting record, in this order.
	Class [][]byte
	// DNS and NBNS are primary and secondary servers.
	DNS, NBNS [2]netip.Addr
	// ReplyMessage goes to the subscriber in the authentication's success message.
	ReplyMessage string
	// MSCHAPSuccess is the "S=..." string of RFC 2759 section 5 that an
	// MS-CHAPv2 subscriber must be shown.
	MSCHAPSuccess string
	// Server names which server answered, for those who trace.
	Server string
	// EAP is the server's EAP packet for the subscriber: a Success; nil where it sent none.
	EAP []byte
}

var (
	// ErrReject is what errors.Is finds in a refusal by the server.
	ErrReject = errors.New("rejected by the AAA server")
	// ErrUnavailable says that no server answered; a try later may succeed.
	ErrUnavailable = errors.New("no AAA server answered")
)

// RejectError is an Access-Reject. errors.Is(err, ErrReject) is true for it.
type RejectError struct {
	// Message is the server's Reply-Message, for the subscriber's eyes.
	Message string
	// MSCHAPError is the "E=691 R=0 ..." string for an MS-CHAPv2 subscriber.
	MSCHAPError string
	// Server names which server refused, for those who trace.
	Server string
	// EAP is the server's EAP packet for the subscriber: a Failure; nil where it sent none.
	EAP []byte
}

// Error says that and why the server refused.
func (e *RejectError) Error() string {
	if e.Message == "" {
		return ErrReject.Error()
	}
	return ErrReject.Error() + ": " + e.Message
}

// Is makes errors.Is(err, ErrReject) true.
func (e *RejectError) Is(target error) bool { return target == ErrReject }

// Challenge is the answer to a request by EAP that is no decision yet: the
// subscriber gets a Request, and what it responds goes into another request,
// with the State of this one. It comes as Authorize's error.
type Challenge struct {
	// EAP is the Request for the subscriber.
	EAP []byte
	// State goes into the next request unchanged. It is the implementation's, for nobody else
	// to look into: besides the server's own State it may say which server that is.
	State []byte
	// Timeout, where not 0, is how long to wait for the Response before the
	// Request is repeated (RFC 3579 section 2.3).
	Timeout time.Duration
	// Ignored says that the server took the last Response for invalid and goes
	// on as if it had not come (RFC 3579 section 2.2).
	Ignored bool
	// Server names which server asked, for those who trace.
	Server string
}

// Error says that more is wanted of the subscriber.
func (c *Challenge) Error() string { return "the AAA server asks for another EAP Response" }

// Authorizer decides about subscribers.
type Authorizer interface {
	// Authorize never blocks. It calls done exactly once, from any
	// goroutine, possibly before it returns, with a grant, or with an
	// error: a *RejectError, for EAP a *Challenge, or one that wraps ErrUnavailable.
	Authorize(req Request, done func(*Grant, error))
}

// Addresses hands out subscribers' addresses. Implementations are safe for
// concurrent use and never block on I/O.
type Addresses interface {
	// Acquire takes one address for the session that owner names (a number
	// unique among the node's sessions). A valid want asks for just that
	// address, inside a pool or outside of all; else one of the named pool is taken
	// ("" is the default pool), the one that user had last if it is free.
	// Errors wrap ErrPoolFull, ErrNoPool or ErrAddressInUse.
	Acquire(pool string, want netip.Addr, user string, owner uint64) (netip.Addr, error)
	// Release gives an address back; it does nothing when owner does not hold it.
	Release(addr netip.Addr, owner uint64)
}

var (
	// ErrPoolFull says that every address of the pool is in use.
	ErrPoolFull = errors.New("pool has no free address")
	// ErrNoPool says that there is no pool of that name.
	ErrNoPool = errors.New("no such pool")
	// ErrAddressInUse says that another session holds the wanted address;
	// it comes wrapped in *AddressInUseError.
	ErrAddressInUse = errors.New("address is in use")
)

// AddressInUseError names who holds a wanted address.
type AddressInUseError struct {
	Address netip.Addr
	// Owner and User are those of the Acquire that holds it.
	Owner uint64
	User  string
}

// Error names the address and its holder.
func (e *AddressInUseError) Error() string {
	return "address " + e.Address.String() + " is in use by " + e.User
}

// Is makes errors.Is(err, ErrAddressInUse) true.
func (e *AddressInUseError) Is(target error) bool { return target == ErrAddressInUse }
