package lns

// espSize is what ESP with an encryption algorithm puts around a packet, in octets
// (RFC 4303 section 2): an initialization vector before it, padding to a multiple of block behind.
type espSize struct{ iv, block int }

// encryptions are strongSwan's names. RFC 3602 (AES-CBC), 2451 (the other CBC ones), 3686 (AES-CTR),
// 5529 (Camellia), 4106 (AES-GCM), 4309 (AES-CCM), 7634 (ChaCha20-Poly1305), 2410 (NULL), 4543 (GMAC).
var encryptions = map[string]espSize{
	"AES_CBC": {16, 16}, "CAMELLIA_CBC": {16, 16}, "SERPENT_CBC": {16, 16}, "TWOFISH_CBC": {16, 16},
	"3DES_CBC": {8, 8}, "DES_CBC": {8, 8}, "CAST_CBC": {8, 8}, "BLOWFISH_CBC": {8, 8},
	"AES_CTR": {8, 1}, "CAMELLIA_CTR": {8, 1},
	"AES_GCM_16": {8, 1}, "AES_GCM_12": {8, 1}, "AES_GCM_8": {8, 1},
	"AES_CCM_16": {8, 1}, "AES_CCM_12": {8, 1}, "AES_CCM_8": {8, 1},
	"CAMELLIA_CCM_16": {8, 1}, "CAMELLIA_CCM_12": {8, 1}, "CAMELLIA_CCM_8": {8, 1},
	"CHACHA20_POLY1305": {8, 1}, "NULL_AES_GMAC": {8, 1}, "NULL": {0, 1},
}

// checks are the integrity check values' lengths, in octets, by the name of the
// integrity algorithm, or of the encryption algorithm that does both.
var checks = map[string]int{
	"AES_GCM_16": 16, "AES_GCM_12": 12, "AES_GCM_8": 8, "AES_CCM_16": 16, "AES_CCM_12": 12, "AES_CCM_8": 8,
	"CAMELLIA_CCM_16": 16, "CAMELLIA_CCM_12": 12, "CAMELLIA_CCM_8": 8, "CHACHA20_POLY1305": 16, "NULL_AES_GMAC": 16,

	"HMAC_MD5_96": 12, "HMAC_MD5_128": 16, "HMAC_SHA1_96": 12, "HMAC_SHA1_160": 20, "AES_XCBC_96": 12,
	"CAMELLIA_XCBC_96": 12, "AES_CMAC_96": 12, "AES_128_GMAC": 16, "AES_192_GMAC": 16, "AES_256_GMAC": 16,
	"HMAC_SHA2_256_96": 12, "HMAC_SHA2_256_128": 16, "HMAC_SHA2_384_192": 24, "HMAC_SHA2_512_256": 32,
}

// The sizes of an algorithm that is not in the tables: no known one takes more.
var (
	unknownEncryption = espSize{16, 16}
	unknownCheck      = 32
)

// Sizes of headers, in octets.
const (
	ipv4Header = 20
	ipv6Header = 40
	udpHeader  = 8
	espHeader  = 8 // SPI and sequence number
	espTrailer = 2 // pad length and next header, before the check value
	espAlign   = 4 // RFC 4303 section 2.4
)

// minSubscriberMTU is the least that is ever offered to a subscriber, in octets: every host
// takes IPv4 packets of this size (RFC 791 section 3.1), and what is larger than
// the path's room goes in fragments then.
const minSubscriberMTU = 576

// Room is how large the UDP payload of a protected L2TP message may be, in octets, so that
// the packet with ESP and all fits into path octets: RFC 4303 section 2 for ESP, RFC 3948
// section 2.1 for the UDP header before it. ipv6 tells of the outer addresses. It can be
// negative for a path that is too small for anything.
func (e ESP) Room(path int, ipv6 bool) int {
	enc, ok := encryptions[e.Encryption]
	if !ok {
		enc = unknownEncryption
	}
	check, ok := checks[e.Encryption]
	if !ok && e.Integrity != "" {
		if check, ok = checks[e.Integrity]; !ok {
			check = unknownCheck
		}
	} else if _, known := encryptions[e.Encryption]; !known {
		check = unknownCheck
	}
	ip := ipv4Header
	if ipv6 {
		ip = ipv6Header
	}
	room := path - ip - espHeader - enc.iv - check
	if e.Encapsulated {
		room -= udpHeader
	}
	align := max(enc.block, espAlign)
	room = room/align*align - espTrailer
	if e.Tunnel {
		room -= ip
	}
	return room - udpHeader
}

// l2tpOverhead is what L2TP and PPP put before a subscriber's packet at most, in octets: flags,
// length, ids (RFC 2661 section 3.1), numbers where the LAC wants them, and PPP's address, control and
// protocol without compression. Offset padding, which no LAC is known to use, is not in it.
func l2tpOverhead(sequenced bool) int {
	const data, numbers, ppp = 8, 4, 4
	if sequenced {
		return data + numbers + ppp
	}
	return data + ppp
}

// defaultPathMTU is what the way to LACs carries where the profile says nothing.
const defaultPathMTU = 1500

// pathMTU is what the way to the profile's LACs carries, in octets.
func (p *LACProfile) pathMTU() int {
	if p.IPsec == nil || p.IPsec.PathMTU == 0 {
		return defaultPathMTU
	}
	return int(p.IPsec.PathMTU)
}
