package lns

import (
	"crypto/aes"
	"crypto/cipher"
	"testing"
)

// packetSize builds the packet as RFC 4303 figure 1 and RFC 3948 section 2.1 draw it, field by
// field, and returns its size: the other way round than Room, which begins at the whole.
func packetSize(payload, iv, block, icv int, ipv6, encapsulated, tunnel bool) int {
	ip := make([]byte, 20)
	if ipv6 {
		ip = make([]byte, 40)
	}
	inner := make([]byte, 8+payload) // UDP
	if tunnel {
		inner = append(append([]byte{}, ip...), inner...)
	}
	for (len(inner)+2)%max(block, 4) != 0 {
		inner = append(inner, 0) // padding
	}
	inner = append(inner, 0, 17) // pad length, next header
	packet := append([]byte{}, ip...)
	if encapsulated {
		packet = append(packet, make([]byte, 8)...)
	}
	packet = append(packet, make([]byte, 4+4+iv)...) // SPI, sequence number, IV
	packet = append(packet, inner...)
	return len(packet) + icv
}

func TestESPRoom(t *testing.T) {
	gcm := func(icv int) int {
		b, _ := aes.NewCipher(make([]byte, 32))
		g, err := cipher.NewGCMWithTagSize(b, max(icv, 12))
		if err != nil {
			t.Fatal(err)
		}
		return g.Overhead() - max(icv, 12) + icv
	}
	for _, c := range []struct {
		encryption, integrity string
		iv, block, icv        int
	}{
		{"AES_GCM_16", "", 8, 1, gcm(16)}, {"AES_GCM_12", "", 8, 1, gcm(12)}, {"AES_GCM_8", "", 8, 1, 8},
		{"AES_CCM_16", "", 8, 1, 16}, {"CHACHA20_POLY1305", "", 8, 1, 16}, {"NULL_AES_GMAC", "", 8, 1, 16},
		{"AES_CBC", "HMAC_SHA2_256_128", 16, aes.BlockSize, 16}, {"AES_CBC", "HMAC_SHA1_96", 16, 16, 12},
		{"AES_CBC", "HMAC_SHA2_384_192", 16, 16, 24}, {"AES_CBC", "HMAC_SHA2_512_256", 16, 16, 32},
		{"3DES_CBC", "HMAC_MD5_96", 8, 8, 12}, {"AES_CTR", "HMAC_SHA1_96", 8, 1, 12}, {"NULL", "HMAC_SHA2_256_128", 0, 1, 16},
		{"CAMELLIA_CBC", "AES_XCBC_96", 16, 16, 12},
		// What is not known is taken for the worst of what is.
		{"NEW_CIPHER", "", 16, 16, 32}, {"AES_CBC", "NEW_HASH", 16, 16, 32},
	} {
		for _, path := range []int{576, 1280, 1400, 1499, 1500, 9000} {
			for v := range 8 {
				ipv6, encapsulated, tunnel := v&1 != 0, v&2 != 0, v&4 != 0
				e := ESP{Encryption: c.encryption, Integrity: c.integrity, Encapsulated: encapsulated, Tunnel: tunnel}
				room := e.Room(path, ipv6)
				if n := packetSize(room, c.iv, c.block, c.icv, ipv6, encapsulated, tunnel); n > path {
					t.Errorf("%v, IPv6 %v, tunnel %v: %d octets make a packet of %d, the path takes %d", e, ipv6, tunnel, room, n, path)
				}
				if n := packetSize(room+1, c.iv, c.block, c.icv, ipv6, encapsulated, tunnel); n <= path {
					t.Errorf("%v, IPv6 %v, tunnel %v: %d octets more would fit into %d", e, ipv6, tunnel, path-n+1, path)
				}
			}
		}
	}
}

// Sizes worked out by hand, for people to compare with: 1500 - 20 - 8 - 8 - 16 = 1448 octets of ciphertext, etc.
func TestESPRoomExamples(t *testing.T) {
	for _, c := range []struct {
		name string
		esp  ESP
		mtu  int
	}{
		{"AES-GCM", ESP{Encryption: "AES_GCM_16"}, 1426},
		{"AES-GCM in UDP", ESP{Encryption: "AES_GCM_16", Encapsulated: true}, 1418},
		{"AES-CBC, SHA-256", ESP{Encryption: "AES_CBC", Integrity: "HMAC_SHA2_256_128"}, 1418},
		{"AES-CBC, SHA-256 in UDP", ESP{Encryption: "AES_CBC", Integrity: "HMAC_SHA2_256_128", Encapsulated: true}, 1402},
		{"3DES, SHA-1 in UDP", ESP{Encryption: "3DES_CBC", Integrity: "HMAC_SHA1_96", Encapsulated: true}, 1418},
	} {
		p := lacPeer{sa: &SA{ESP: c.esp}}
		if got := p.tunnelMTU(&tunnelFacts{profile: &profile{}}, false); int(got) != c.mtu {
			t.Errorf("%s: MTU %d, want %d", c.name, got, c.mtu)
		}
	}
}
