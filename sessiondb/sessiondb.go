// Package sessiondb holds the contracts for keeping tunnels, sessions,
// unsent accounting records and provisioned objects where they survive:
// in the node's local journal (sessiondb/journal) and in the cluster's
// PostgreSQL (sessiondb/postgres). Both pass sessiondb/storetest.
//
// Stores keep times to the microsecond, and prefixes without host bits. Keys
// hold plain addresses: no IPv4-mapped ones, and no zones.
package sessiondb

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"time"
)

// TunnelKey names a tunnel in the cluster: a local address belongs to one
// node at a time, and an id is unique on its local address.
type TunnelKey struct {
	Local netip.AddrPort
	ID    uint16
}

// SessionKey names a session: its id is unique within its tunnel (RFC 2661 section 3.1).
type SessionKey struct {
	Tunnel TunnelKey
	ID     uint16
}

// Tunnel is what is kept of a tunnel.
type Tunnel struct {
	Key    TunnelKey
	Node   string
	Peer   netip.AddrPort
	PeerID uint16
	// PeerName is the LAC's Host Name; Profile the LAC profile that matched.
	PeerName, Profile string
	// PeerWindow is the LAC's Receive Window Size; Ns and Nr are the next
	// sequence number to send and the next expected.
	PeerWindow, Ns, Nr uint16
	Since              time.Time
	// State is opaque to stores: what else lns needs to go on with the
	// tunnel, versioned by lns.
	State []byte
}

// Call says that the LAC holds a call: from the acknowledgement of its ICRQ until one end has cleared it and
// the other knows. It is written together with the tunnel's sequence numbers. A Call
// without a Session is still being set up, or was ended and the LAC may not
// know; a Session without a Call was cleared by the LAC.
type Call struct {
	Key  SessionKey
	Node string
	// PeerID is the LAC's session id.
	PeerID uint16
}

// Session is what is kept of an established session.
type Session struct {
	Key           SessionKey
	Node          string
	PeerID        uint16
	AcctSessionID string
	User          string
	// Profile is the LAC profile's name; LAC its address.
	Profile                       string
	LAC                           netip.AddrPort
	CallingStation, CalledStation string
	CallSerial                    uint32
	// Address is the subscriber's IPv4 address, Routes what is behind it.
	Address netip.Addr
	Routes  []netip.Prefix
	Since   time.Time
	// State is opaque to stores: what lns needs to go on with the session
	// (link options, grant, identity), versioned by lns.
	State []byte
	// Counters as of Updated: IP octets and packets from (In) and to (Out) the subscriber.
	InOctets, OutOctets, InPackets, OutPackets uint64
	Updated                                    time.Time
}

// End is what a store keeps of a session's end, for its history.
type End struct {
	At    time.Time
	Cause string
	// The final counters.
	InOctets, OutOctets, InPackets, OutPackets uint64
}

// Entry is one accounting record that no server has acknowledged yet.
type Entry struct {
	// Seq is unique on its node for ever; entries are read back in its order.
	Seq  uint64
	Node string
	// Session is the Acct-Session-Id; Payload is opaque (aaa.AppendUsage).
	Session string
	Payload []byte
}

// Object is a provisioned object, such as a LAC profile that an operator added.
type Object struct {
	// Kind and Name are its key, e.g. "lac", "openreach-1".
	Kind, Name string
	Payload    []byte
}

// Op says what a Change does.
type Op uint8

// The operations. A Put inserts or replaces; a Drop of what is not there does nothing.
const (
	PutTunnel Op = iota + 1
	DropTunnel
	PutSession
	DropSession
	PutEntry
	DropEntry
	PutObject
	DropObject
	PutCall
	DropCall
)

// Change is one change of the state. The field that Op names is set; for a
// Drop only the key fields in it count (and End, for DropSession). What the pointers point to is
// immutable once handed over.
type Change struct {
	Op      Op
	Tunnel  *Tunnel
	Session *Session
	End     *End
	Entry   *Entry
	Object  *Object
	Call    *Call
}

// Store keeps state. Implementations are safe for concurrent use.
type Store interface {
	// Apply makes all the changes, in order, or none; only when the error
	// is a *ConflictError, all but those it names are made. It is
	// idempotent: applying the same changes again leaves the same state.
	// A change that Validate refuses makes nothing of its batch happen.
	Apply(ctx context.Context, changes []Change) error
	// The readers yield this node's state in key order (Compare of the
	// keys; Seq; Kind, then Name, byte by byte); after an error they stop.
	// Objects of an empty kind are the objects of every kind.
	Tunnels(ctx context.Context) iter.Seq2[Tunnel, error]
	Sessions(ctx context.Context) iter.Seq2[Session, error]
	Entries(ctx context.Context) iter.Seq2[Entry, error]
	Objects(ctx context.Context, kind string) iter.Seq2[Object, error]
	Close() error
}

// Journal is the node's own store. Apply returns when the changes survive
// the death of the process (not of the machine) and is fast enough to be
// called before every batch of packets is sent.
type Journal interface {
	Store
	// Calls yields the calls in key order, like the readers of Store. Calls are
	// of use only to whoever goes on with their tunnels at once, so the
	// cluster's store has none: it takes their changes and does nothing.
	Calls(ctx context.Context) iter.Seq2[Call, error]
	// Epoch is a number that every opening of the journal makes higher.
	Epoch() uint32
}

// Sink takes changes that are already in the journal, to write them behind.
type Sink interface {
	// Submit never blocks and keeps no reference to the slice itself.
	Submit(changes []Change)
}

var (
	// ErrConflict says that the store refused a change that would break a
	// constraint, such as one address held by two sessions.
	ErrConflict = errors.New("conflicting state")
	// ErrCorrupt says that what is stored cannot be read.
	ErrCorrupt = errors.New("stored state cannot be read")
	// ErrInvalid says that a change cannot be stored anywhere: its operation
	// is unknown, or what the operation names is missing or has no valid key.
	ErrInvalid = errors.New("invalid change")
	// ErrClosed says that the store was closed before.
	ErrClosed = errors.New("store is closed")
)

// ConflictError is the error of an Apply that made all the changes but those
// it names, because they would break a constraint. Trying them again is of no
// use before something else changes.
type ConflictError struct {
	// Changes are the refused ones, in their order; Errs say why, one each.
	Changes []Change
	Errs    []error
}

// Error names the first refusal and counts them.
func (e *ConflictError) Error() string {
	if len(e.Errs) == 0 {
		return ErrConflict.Error()
	}
	return fmt.Sprintf("%v: %d refused, first %v: %v", ErrConflict, len(e.Changes), e.Changes[0], e.Errs[0])
}

// Unwrap makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Unwrap() error { return ErrConflict }
