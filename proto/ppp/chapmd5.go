package ppp

import "crypto/md5"

// CHAPMD5 is the value of a Response (RFC 1994 section 4.1): the hash of
// identifier, secret and challenge.
func CHAPMD5(id uint8, secret string, challenge []byte) [16]byte {
	b := make([]byte, 0, 1+len(secret)+len(challenge))
	b = append(append(append(b, id), secret...), challenge...)
	return md5.Sum(b)
}
