package early

import "time"

// The room of a store, and how long it keeps a packet: longer than a charon that does its work takes for one message.
const (
	storeOctets  = 4 << 20
	storePackets = 8192
	keepFor      = 2 * time.Second
)

// store keeps the newest packets: two rings, of octets and of what is in them.
type store struct {
	octets  []byte
	packets []kept
	// end is where the next packet goes, counted from the first one ever; so is kept.at. Octet n is octets[n % len(octets)].
	end         int
	oldest, len int // of packets
}

// kept is one packet of a store.
type kept struct {
	id    spi
	at, n int
	when  time.Duration
}

func newStore() *store {
	return &store{octets: make([]byte, storeOctets), packets: make([]kept, storePackets)}
}

// add keeps a copy of a packet, in the place of the oldest ones where it has to.
func (s *store) add(id spi, packet []byte, now time.Duration) {
	n := len(packet)
	if n > len(s.octets) {
		return
	}
	at := s.end
	if rest := len(s.octets) - at%len(s.octets); rest < n {
		at += rest // a packet lies in one piece
	}
	s.end = at + n
	for s.len > 0 && (s.len == len(s.packets) || s.packets[s.oldest].at < s.end-len(s.octets)) {
		s.drop()
	}
	copy(s.octets[at%len(s.octets):], packet)
	s.packets[(s.oldest+s.len)%len(s.packets)] = kept{id, at, n, now}
	s.len++
}

// drop forgets the oldest packet.
func (s *store) drop() {
	s.packets[s.oldest] = kept{}
	s.oldest = (s.oldest + 1) % len(s.packets)
	s.len--
}

// take gives what has come for an SPI, in its order, to give, and forgets it and all that is too old. The octets are lent.
func (s *store) take(id spi, now time.Duration, give func(packet []byte)) {
	for s.len > 0 && now-s.packets[s.oldest].when > keepFor {
		s.drop()
	}
	for i := range s.len {
		k := &s.packets[(s.oldest+i)%len(s.packets)]
		if k.id != id {
			continue
		}
		at := k.at % len(s.octets)
		give(s.octets[at : at+k.n])
		k.id = spi{}
	}
}
