package l2tp

import (
	"crypto/md5"
	"encoding/binary"
)

// maxHidden is the longest value that still fits an AVP when hidden: two octets
// go to its length.
const maxHidden = maxValue - 2

// hideValue hides the value of the AVP that starts at start and ends dst (RFC
// 2661 section 4.3): the value gets its length put before it and padding after
// it, up to a multiple of 16 so that the length is not told, and is mixed with
// MD5 digests of the secret.
func hideValue(dst []byte, start int, secret, vector []byte) []byte {
	value := start + avpHeader
	n := len(dst) - value
	dst = append(dst, 0, 0)
	copy(dst[value+2:], dst[value:])
	binary.BigEndian.PutUint16(dst[value:], uint16(n))
	for i := 0; (len(dst)-value)%md5.Size != 0 && len(dst)-value < maxValue; i++ {
		var pad byte
		if len(vector) > 0 {
			pad = vector[i%len(vector)]
		}
		dst = append(dst, pad)
	}
	dst[start] |= avpHidden >> 8
	sum := firstDigest(binary.BigEndian.Uint16(dst[start+4:]), secret, vector)
	for block := dst[value:]; len(block) > 0; {
		n := xor(block, block, sum)
		if len(block) > n {
			sum = nextDigest(secret, block[:n])
		}
		block = block[n:]
	}
	return dst
}

// unhide reads a hidden value into the message's scratch buffer. size is the
// length of the whole body, which the buffer never needs to exceed; so it does
// not move while values alias it.
func (p *parser) unhide(avp RawAVP, size int) ([]byte, error) {
	m := p.m
	switch {
	case len(p.secret) == 0:
		return nil, ErrNoSecret
	case !m.Has(AVPRandomVector):
		return nil, ErrNoVector
	case avp.Vendor == VendorIETF && (avp.Attribute == avps[AVPRandomVector].attribute || avp.Attribute == 0):
		return nil, ErrHidden
	}
	if cap(m.scratch) < size {
		m.scratch = make([]byte, 0, size)
	}
	from := len(m.scratch)
	scratch := unhideValue(m.scratch, avp.Attribute, p.secret, m.RandomVector, avp.Value)
	plain := scratch[from:]
	if len(plain) < 2 || int(binary.BigEndian.Uint16(plain)) > len(plain)-2 {
		return nil, ErrHidden
	}
	m.scratch = scratch
	end := 2 + int(binary.BigEndian.Uint16(plain))
	return plain[2:end:end], nil
}

// unhideValue appends the plain form of a hidden value: length, value, padding.
func unhideValue(dst []byte, attribute uint16, secret, vector, hidden []byte) []byte {
	sum := firstDigest(attribute, secret, vector)
	for len(hidden) > 0 {
		var block [md5.Size]byte
		n := xor(block[:], hidden, sum)
		dst = append(dst, block[:n]...)
		if len(hidden) > n {
			sum = nextDigest(secret, hidden[:n])
		}
		hidden = hidden[n:]
	}
	return dst
}

// xor mixes up to one digest of src into dst, which may be the same, and returns
// how many octets it did.
func xor(dst, src []byte, sum [md5.Size]byte) int {
	n := min(len(src), md5.Size)
	for i := range n {
		dst[i] = src[i] ^ sum[i]
	}
	return n
}

// firstDigest is MD5(attribute type + secret + random vector).
func firstDigest(attribute uint16, secret, vector []byte) [md5.Size]byte {
	var room [256]byte
	b := binary.BigEndian.AppendUint16(room[:0], attribute)
	b = append(b, secret...)
	return md5.Sum(append(b, vector...))
}

// nextDigest is MD5(secret + previous block of ciphertext).
func nextDigest(secret, block []byte) [md5.Size]byte {
	var room [256]byte
	b := append(room[:0], secret...)
	return md5.Sum(append(b, block...))
}

// ChallengeResponse computes the Challenge Response AVP (RFC 2661 section
// 4.4.3): id is the type of the message it goes into, SCCRP or SCCCN.
func ChallengeResponse(id MessageType, secret, challenge []byte) [16]byte {
	var room [256]byte
	b := append(room[:0], byte(id))
	b = append(b, secret...)
	return md5.Sum(append(b, challenge...))
}
