package dataplane

import "encoding/binary"

// fragment sends a packet that is longer than mtu in fragments (RFC 791
// section 3.2). The packet may be a fragment itself.
func (d *downstream) fragment(s *session, packet []byte, size, mtu int) {
	step := (mtu - size) &^ 7
	payload := packet[size:]
	bits := fragmentBits(packet)
	if bits&dontFragment != 0 {
		// Its sender meant it to stay whole, and may have given all of its kind one
		// identification (RFC 6864 section 4.1): the fragments need one of their own.
		bits &^= dontFragment
		d.identification++
		binary.BigEndian.PutUint16(packet[4:], d.identification)
	}
	for at := 0; at < len(payload); at += step {
		n := min(step, len(payload)-at)
		off := d.room(&d.fragments, size+n)
		f := d.fragments.buf[off : off+size+n]
		copy(f, packet[:size])
		copy(f[size:], payload[at:at+n])
		if at > 0 {
			dropOptions(f[20:size])
		}
		more := bits & moreFragments
		if at+n < len(payload) {
			more = moreFragments
		}
		binary.BigEndian.PutUint16(f[2:], uint16(size+n))
		binary.BigEndian.PutUint16(f[6:], more|bits&offsetMask+uint16(at/8))
		setHeaderChecksum(f, size)
		d.send(s, d.fragments.buf, off, size+n)
	}
}

// dropOptions overwrites options that only the first fragment carries with no-operations.
func dropOptions(b []byte) {
	const copied = 0x80
	for i := 0; i < len(b); {
		n := 1
		if b[i] == 0 {
			return
		}
		if b[i] != 1 {
			if i+1 >= len(b) || b[i+1] < 2 || i+int(b[i+1]) > len(b) {
				return
			}
			n = int(b[i+1])
		}
		if b[i]&copied == 0 {
			for j := range n {
				b[i+j] = 1
			}
		}
		i += n
	}
}
