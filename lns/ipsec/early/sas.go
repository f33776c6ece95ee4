package early

import (
	"encoding/binary"
	"net/netip"
)

// The layout of struct xfrm_usersa_info, which a message about an SA begins with, and of what may follow it
// (linux/xfrm.h). Addresses and SPIs are in network order, all else in the machine's.
const (
	saSize         = 224
	saTo, saSPI    = 56, 72
	saProto        = 76
	saFamily       = 212
	saReplayWindow = 215

	attrHeader = 4
	attrReplay = 23 // XFRMA_REPLAY_ESN_VAL
	// In struct xfrm_replay_state_esn; with it the window in xfrm_usersa_info is 0.
	replayWindow = 20

	familyIPv4, familyIPv6 = 2, 10
)

// parseSA reads which SPI of ours the kernel has got keys for. It is false where there is
// nothing to do: no ESP, or an SA without replay protection, which would take again what it has taken.
func parseSA(b []byte) (id spi, ok bool) {
	if len(b) < saSize || b[saProto] != protoESP {
		return spi{}, false
	}
	switch binary.NativeEndian.Uint16(b[saFamily:]) {
	case familyIPv4:
		id.to = netip.AddrFrom4([4]byte(b[saTo:]))
	case familyIPv6:
		id.to = netip.AddrFrom16([16]byte(b[saTo:]))
	default:
		return spi{}, false
	}
	id.n = binary.BigEndian.Uint32(b[saSPI:])
	return id, b[saReplayWindow] > 0 || replayProtected(b[saSize:])
}

// replayProtected looks for a replay window among attributes.
func replayProtected(b []byte) bool {
	for len(b) >= attrHeader {
		n, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if n < attrHeader || n > len(b) {
			return false
		}
		if kind == attrReplay && n >= attrHeader+replayWindow+4 {
			return binary.NativeEndian.Uint32(b[attrHeader+replayWindow:]) > 0
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return false
}
