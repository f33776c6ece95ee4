package lns

import (
	"context"
	"net/netip"
	"strings"
	"time"
)

// IPsec is the key exchange beside the LNS (RFC 3193), as far as the LNS needs
// it. lns/ipsec implements it with strongSwan's charon; a test has its own.
// All methods may be called from any goroutine. Lookup and LookupPeer never block
// and allocate nothing; Terminate returns before anything has ended.
type IPsec interface {
	// Notify says who is to hear of SAs from now on; called once, by New, before Apply.
	Notify(SAHandler)
	// Apply makes charon's configuration equal to these profiles: those that are new
	// or changed are loaded, and what is in force no more is unloaded and its SAs
	// are ended. It returns at once; what charon refuses is logged with the profile's name.
	// A charon that is away gets all of it when it is back.
	Apply(profiles []LACProfile)
	// Check says why p cannot be in force beside the others (of which one of its name does not count), naming both: their
	// LACs could not be told apart by their keys. Nil where it can.
	Check(p LACProfile, others []LACProfile) error
	// Lookup gives the SA whose packets carry this mark. False for a mark that no
	// live SA of ours has: a packet with it must not be taken. A datagram can be
	// faster than charon's word of its SA; a miss therefore makes the
	// implementation ask charon, and SAUp follows when there is such an SA.
	Lookup(mark uint32) (SA, bool)
	// LookupPeer gives the SA of a LAC's address where the kernel gives no
	// marks (Marks is false). False where no SA has that address, or more than one:
	// then nobody can tell whose packet it is.
	LookupPeer(peer netip.Addr) (SA, bool)
	// Marks says whether SAs have marks. Without them (a kernel before 5.19) packets in
	// clear and protected ones look the same to a socket, and the kernel's policy alone
	// keeps clear ones out.
	Marks() bool
	// Terminate ends an SA with its IKE SA, because its last tunnel has ended. SAGone follows, with SAEndLocal.
	Terminate(mark uint32, why string)
	// Usage asks charon for what an SA has carried; it blocks until ctx ends.
	// ErrNoSA where the mark has none.
	Usage(ctx context.Context, mark uint32) (SAUsage, error)
}

// SAHandler hears of SAs. Its methods are called from one goroutine, in the
// order in which things happened, and must not block.
type SAHandler interface {
	// SAUp tells that packets with the mark of sa may arrive. After a restart of
	// lnsd it tells of every SA that was there before. A rekeyed SA keeps its mark and is
	// told again, since its algorithms and encapsulation can have changed.
	SAUp(sa SA)
	// SAGone tells that nothing carries the mark any more, and nothing sent
	// with it would be protected: send nothing with it from now on. Where end.Heir
	// is set, the same peer has made another SA, and its tunnels go on in that.
	// Where end.Patience is set the peer is expected to come back within it (as after a
	// restart of charon): its tunnels may wait for an SAUp of an SA for which SamePeer is true.
	SAGone(sa SA, end SAEnd)
	// IKEFailed tells that a LAC could not set up its SA, in words for an operator.
	IKEFailed(f IKEFailure)
}

// SA is what is known of one protected peer: a pair of ESP SAs (CHILD_SA in
// RFC 7296) through all its rekeyings. It is a value; copies may be kept.
type SA struct {
	// Mark is what the kernel puts on its packets in, and wants on those
	// out; unique on the node among live SAs, 0 where Marks is false.
	Mark uint32
	// Profile names the LAC profile whose credentials and selectors it was made with.
	Profile string
	// Identity is the peer's IKE identity, which charon has authenticated.
	Identity string
	// Remote is where the peer's IKE comes from (behind a NAT: the NAT's address and port); Local is ours.
	Local, Remote netip.AddrPort
	// IKEVersion is 1 or 2; IKEID and ChildID are charon's numbers, which swanctl and its log show.
	IKEVersion     int
	IKEID, ChildID uint32
	ESP            ESP
	// Since is when it was first established.
	Since time.Time
}

// ESP is how an SA protects packets: what the overhead follows from.
type ESP struct {
	// Encryption and Integrity are strongSwan's names without the key length ("AES_GCM_16",
	// "AES_CBC", "3DES_CBC", "NULL"; "HMAC_SHA2_256_128", empty with AEAD).
	Encryption, Integrity string
	// KeyBits is the encryption key's length; 0 where the algorithm has only one.
	KeyBits int
	// Encapsulated says that ESP goes inside UDP (NAT-T, RFC 3948).
	Encapsulated bool
	// Tunnel says that the mode is tunnel, not transport: a second IP header.
	Tunnel bool
}

// String names the algorithms, and says whether they go inside UDP.
func (e ESP) String() string {
	if e.Encapsulated {
		return e.Algorithms() + " in UDP"
	}
	return e.Algorithms()
}

// Algorithms names the algorithms as strongSwan writes them.
func (e ESP) Algorithms() string {
	var parts []string
	enc := e.Encryption
	if e.KeyBits != 0 {
		enc += "_" + decimal(e.KeyBits)
	}
	parts = append(parts, enc)
	if e.Integrity != "" {
		parts = append(parts, e.Integrity)
	}
	return strings.Join(parts, "/")
}

// decimal writes a small positive number.
func decimal(n int) string {
	var b [20]byte
	i := len(b)
	for ; n > 0 || i == len(b); n /= 10 {
		i--
		b[i] = byte('0' + n%10)
	}
	return string(b[i:])
}

// SamePeer says whether two SAs belong to the same peer: one profile and one
// authenticated identity. A peer that authenticates anew (IKEv1 at the end of the IKE
// SA's life, IKEv2 with reauthentication) has two for a moment, and its packets move from the
// older to the newer. Where a profile gives several peers one identity, that identity
// is all that is known of them.
func SamePeer(a, b SA) bool { return a.Profile == b.Profile && a.Identity == b.Identity }

// SACause is why an SA is gone for good.
type SACause string

// The causes. They are labels of metrics.
const (
	SAEndDPD      SACause = "dpd"      // the peer answered no dead-peer detection, or no other IKE request
	SAEndDelete   SACause = "delete"   // the peer deleted it
	SAEndExpired  SACause = "expired"  // its lifetime ended and no rekeying had come
	SAEndLocal    SACause = "local"    // Terminate, or an operator with swanctl
	SAEndReplaced SACause = "replaced" // the same peer began anew (INITIAL_CONTACT, or unique: replace)
	SAEndProfile  SACause = "profile"  // its LAC profile was changed or removed
	SAEndRestart  SACause = "restart"  // charon was restarted and forgot it
	SAEndUnknown  SACause = "unknown"  // charon gave no reason
)

// SACauses are all of them.
var SACauses = []SACause{SAEndDPD, SAEndDelete, SAEndExpired, SAEndLocal, SAEndReplaced, SAEndProfile, SAEndRestart, SAEndUnknown}

// SAEnd is how an SA ended.
type SAEnd struct {
	Cause SACause
	// Detail is a sentence for people.
	Detail string
	// Heir is the mark of another SA of the same peer at the same address; 0 where there is none.
	Heir uint32
	// Patience is how long the peer is worth waiting for; 0 ends its tunnels at once.
	Patience time.Duration
}

// SAUsage is what one SA has carried, and what becomes of it next.
type SAUsage struct {
	InOctets, OutOctets, InPackets, OutPackets uint64
	// Rekey is when charon will make new keys, Expires when the kernel would drop the
	// old ones; zero where it has not said so.
	Rekey, Expires time.Time
	// SPIIn and SPIOut are the SAs' numbers in captures, as hex digits.
	SPIIn, SPIOut string
	// State is charon's word for the CHILD_SA ("INSTALLED", "REKEYING").
	State string
}

// IKEFailure is a set-up of an SA that failed.
type IKEFailure struct {
	At time.Time
	// Reason is one of the IKEReasons.
	Reason IKEReason
	// Remote is where it came from, if known; Profile and Identity are set when it got that far.
	Remote            netip.AddrPort
	Profile, Identity string
	// Detail says what was wrong and what would be right, for people.
	Detail string
}

// IKEReason is why an SA could not be set up.
type IKEReason string

// The reasons. They are labels of metrics.
const (
	IKENoProposal   IKEReason = "no-proposal"     // no proposal of IKE in common
	IKENoESP        IKEReason = "no-proposal-esp" // no proposal of ESP in common
	IKENoConfig     IKEReason = "no-config"       // no profile for the address or identity
	IKEAuthFailed   IKEReason = "authentication"  // wrong key, or a proof that does not hold
	IKECertExpired  IKEReason = "certificate-expired"
	IKECertRevoked  IKEReason = "certificate-revoked"
	IKECertUnknown  IKEReason = "certificate-untrusted"
	IKENoSelectors  IKEReason = "selectors" // it asked to protect something else than L2TP
	IKENoAnswer     IKEReason = "no-answer" // it fell silent half-way
	IKEKernel       IKEReason = "kernel"    // the kernel refused the SA
	IKEOtherFailure IKEReason = "other"
)

// IKEReasons are all of them.
var IKEReasons = []IKEReason{
	IKENoProposal, IKENoESP, IKENoConfig, IKEAuthFailed, IKECertExpired, IKECertRevoked, IKECertUnknown,
	IKENoSelectors, IKENoAnswer, IKEKernel, IKEOtherFailure,
}
