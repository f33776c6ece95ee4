// Package mschap computes MS-CHAPv2's answers (RFC 2759 section 8), for who
// plays a subscriber and for who checks one. MD4 and DES are broken ciphers:
// nothing outside MS-CHAPv2 may use this package.
package mschap

import (
	"crypto/des"
	"crypto/sha1"
	"encoding/hex"
	"strings"
	"unicode/utf16"
)

// NTPasswordHash is MD4 over the password in UTF-16, low octet first
// (RFC 2759 section 8.3).
func NTPasswordHash(password string) [16]byte {
	units := utf16.Encode([]rune(password))
	b := make([]byte, 0, 2*len(units))
	for _, u := range units {
		b = append(b, byte(u), byte(u>>8))
	}
	return md4Sum(b)
}

// NTResponse is the 24 octets that prove the password (RFC 2759 section
// 8.1). A Windows domain before a backslash does not count in user.
func NTResponse(authenticator, peer [16]byte, user, password string) [24]byte {
	return NTResponseFromHash(authenticator, peer, user, NTPasswordHash(password))
}

// NTResponseFromHash is NTResponse for who keeps NTPasswordHash instead of
// the password.
func NTResponseFromHash(authenticator, peer [16]byte, user string, hash [16]byte) [24]byte {
	challenge := challengeHash(authenticator, peer, user)
	var key [21]byte
	copy(key[:], hash[:])
	var out [24]byte
	for i := range 3 {
		desEncrypt(out[8*i:8*i+8], challenge[:], [7]byte(key[7*i:]))
	}
	return out
}

// The magic constants of RFC 2759 section 8.7.
const (
	magic1 = "Magic server to client signing constant"
	magic2 = "Pad to make it do more than one iteration"
)

// AuthenticatorResponse is the "S=" and 40 hexadecimal digits of the
// Success (RFC 2759 section 8.7): the server's proof that it knows the password too.
func AuthenticatorResponse(authenticator, peer [16]byte, nt [24]byte, user, password string) string {
	hash := NTPasswordHash(password)
	hashHash := md4Sum(hash[:])
	h := sha1.New()
	h.Write(hashHash[:])
	h.Write(nt[:])
	h.Write([]byte(magic1))
	digest := h.Sum(nil)
	challenge := challengeHash(authenticator, peer, user)
	h.Reset()
	h.Write(digest)
	h.Write(challenge[:])
	h.Write([]byte(magic2))
	return "S=" + strings.ToUpper(hex.EncodeToString(h.Sum(nil)))
}

// challengeHash is ChallengeHash of RFC 2759 section 8.2.
func challengeHash(authenticator, peer [16]byte, user string) [8]byte {
	h := sha1.New()
	h.Write(peer[:])
	h.Write(authenticator[:])
	h.Write([]byte(user[strings.LastIndexByte(user, '\\')+1:]))
	return [8]byte(h.Sum(nil))
}

// desEncrypt encrypts one block with 56 bits of key (RFC 2759 section 8.6).
func desEncrypt(dst, src []byte, key [7]byte) {
	var k [8]byte
	var bits uint64
	for _, b := range key {
		bits = bits<<8 | uint64(b)
	}
	for i := range k {
		// The low bit is DES's parity, which nobody looks at.
		k[i] = byte(bits>>(49-7*i)) << 1
	}
	block, err := des.NewCipher(k[:])
	if err != nil {
		panic("mschap: DES refuses a key of 8 octets: " + err.Error())
	}
	block.Encrypt(dst, src)
}
