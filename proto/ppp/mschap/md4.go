package mschap

import (
	"encoding/binary"
	"math/bits"
)

// md4Sum is MD4 (RFC 1320). It is here because the standard library has
// none and the protocol packages use nothing else.
func md4Sum(msg []byte) [16]byte {
	state := [4]uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}
	padded := append(append([]byte(nil), msg...), 0x80)
	for len(padded)%64 != 56 {
		padded = append(padded, 0)
	}
	padded = binary.LittleEndian.AppendUint64(padded, uint64(len(msg))*8)
	for ; len(padded) > 0; padded = padded[64:] {
		md4Block(&state, padded[:64])
	}
	var out [16]byte
	for i, v := range state {
		binary.LittleEndian.PutUint32(out[4*i:], v)
	}
	return out
}

// md4Rounds has, for each of the three rounds, the order of the words, the
// shifts and the constant (RFC 1320 section 3.4).
var md4Rounds = [3]struct {
	order  [16]int
	shifts [4]int
	add    uint32
	mix    func(x, y, z uint32) uint32
}{
	{
		[16]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, [4]int{3, 7, 11, 19}, 0,
		func(x, y, z uint32) uint32 { return x&y | ^x&z },
	},
	{
		[16]int{0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15}, [4]int{3, 5, 9, 13}, 0x5a827999,
		func(x, y, z uint32) uint32 { return x&y | x&z | y&z },
	},
	{
		[16]int{0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15}, [4]int{3, 9, 11, 15}, 0x6ed9eba1,
		func(x, y, z uint32) uint32 { return x ^ y ^ z },
	},
}

// md4Block mixes one block of 64 octets into the state.
func md4Block(state *[4]uint32, block []byte) {
	a, b, c, d := state[0], state[1], state[2], state[3]
	for _, r := range md4Rounds {
		for i, word := range r.order {
			x := binary.LittleEndian.Uint32(block[4*word:])
			t := bits.RotateLeft32(a+r.mix(b, c, d)+x+r.add, r.shifts[i%4])
			a, b, c, d = d, t, b, c
		}
	}
	state[0] += a
	state[1] += b
	state[2] += c
	state[3] += d
}
