package radius

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/subtle"
	"hash"
)

// signer computes authenticators with one secret. It keeps its hashes, so it
// is for one goroutine at a time.
type signer struct {
	secret []byte
	md     hash.Hash
	mac    hash.Hash
	sum    []byte
}

func newSigner(secret []byte) *signer {
	return &signer{secret: secret, md: md5.New(), mac: hmac.New(md5.New, secret), sum: make([]byte, 0, md5.Size)}
}

// digest is MD5 over the packet with auth in the Authenticator's place, and the secret
// (RFC 2865 section 3, RFC 2866 section 3).
func (s *signer) digest(packet []byte, auth *[16]byte) []byte {
	s.md.Reset()
	s.md.Write(packet[:authenticator])
	s.md.Write(auth[:])
	s.md.Write(packet[headerLen:])
	s.md.Write(s.secret)
	s.sum = s.md.Sum(s.sum[:0])
	return s.sum
}

// messageAuthenticator is HMAC-MD5 over the packet with auth in the
// Authenticator's place and zeros in its own, which is at offset at (RFC 3579
// section 3.2).
func (s *signer) messageAuthenticator(packet []byte, auth *[16]byte, at int) []byte {
	var zero [16]byte
	s.mac.Reset()
	s.mac.Write(packet[:authenticator])
	s.mac.Write(auth[:])
	s.mac.Write(packet[headerLen:at])
	s.mac.Write(zero[:])
	s.mac.Write(packet[at+16:])
	s.sum = s.mac.Sum(s.sum[:0])
	return s.sum
}

// signRequest puts the Message-Authenticator, if at is not zero, into a
// request whose Authenticator is random (Access-Request, Status-Server).
func (s *signer) signRequest(packet []byte, at int) {
	auth := [16]byte(packet[authenticator:headerLen])
	copy(packet[at:], s.messageAuthenticator(packet, &auth, at))
}

// signHashed signs a request whose Authenticator is a digest: accounting, and
// those of RFC 5176, which may have a Message-Authenticator at offset at.
func (s *signer) signHashed(packet []byte, at int) {
	var zero [16]byte
	if at != 0 {
		copy(packet[at:], s.messageAuthenticator(packet, &zero, at))
	}
	copy(packet[authenticator:], s.digest(packet, &zero))
}

// signResponse signs the answer to a request with Authenticator auth.
func (s *signer) signResponse(packet []byte, auth *[16]byte, at int) {
	if at != 0 {
		copy(packet[at:], s.messageAuthenticator(packet, auth, at))
	}
	copy(packet[authenticator:], s.digest(packet, auth))
}

// genuine checks the Authenticator of an answer to the request with
// Authenticator auth, or of a hashed request when auth is zero.
func (s *signer) genuine(packet []byte, auth *[16]byte) bool {
	return subtle.ConstantTimeCompare(s.digest(packet, auth), packet[authenticator:headerLen]) == 1
}

// signature says what a packet's Message-Authenticator is like.
type signature int

const (
	unsigned signature = iota
	isSigned
	forged
)

// signature looks for a Message-Authenticator and checks it. Attributes after
// a malformed one are not looked at.
func (s *signer) signature(packet []byte, auth *[16]byte) signature {
	found := unsigned
	for rest := packet[headerLen:]; len(rest) > 0; {
		at := len(packet) - len(rest) + 2
		t, v, next, err := nextAttr(rest, at-2)
		if err != nil {
			break
		}
		if t == typeMessageAuthenticator {
			if len(v) != 16 || subtle.ConstantTimeCompare(s.messageAuthenticator(packet, auth, at), v) != 1 {
				return forged
			}
			found = isSigned
		}
		rest = next
	}
	return found
}
