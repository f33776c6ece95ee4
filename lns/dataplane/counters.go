package dataplane

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// counts is what one session has counted: a cache line of its own. It is Go's memory or, where
// the plane has a CounterFile, a slot of that.
type counts struct {
	// id is the session's in a file, 0 in a free slot.
	id                           atomic.Uint64
	inPackets, inOctets, spoofed atomic.Uint64
	outPackets, outOctets        atomic.Uint64
	// ns is the next Ns of data messages, where they are numbered.
	ns atomic.Uint32
	_  [12]byte
}

const countsSize = 64

var _ [countsSize]byte = [unsafe.Sizeof(counts{})]byte{}

func (c *counts) set(v *Counters) {
	c.inOctets.Store(v.InOctets)
	c.inPackets.Store(v.InPackets)
	c.outOctets.Store(v.OutOctets)
	c.outPackets.Store(v.OutPackets)
	c.spoofed.Store(v.Spoofed)
}

func (c *counts) get() Counters {
	return Counters{
		InOctets: c.inOctets.Load(), InPackets: c.inPackets.Load(),
		OutOctets: c.outOctets.Load(), OutPackets: c.outPackets.Load(),
		Spoofed: c.spoofed.Load(),
	}
}

// atLeast takes what is more of two counts of one session.
func (v Counters) atLeast(o *Counters) Counters {
	return Counters{
		InOctets: max(v.InOctets, o.InOctets), InPackets: max(v.InPackets, o.InPackets),
		OutOctets: max(v.OutOctets, o.OutOctets), OutPackets: max(v.OutPackets, o.OutPackets),
		Spoofed: max(v.Spoofed, o.Spoofed),
	}
}

// CounterFile keeps sessions' counters where they survive the process, kill -9 included: the
// forwarding goroutines count in a mapped file, which costs them nothing. It
// survives the machine as far as the kernel has written it to disk. A plane finds a
// session's counters in it by Session.ID; what an earlier process has left and no
// session has claimed when the plane starts is forgotten; by a plane with a fence, when it is told to (Settler). One plane uses it at a time.
type CounterFile struct {
	// Under the plane's lock.
	file   *os.File
	log    *slog.Logger
	chunks [][]byte
	// left are slots of the earlier process, by id; nil once it is settled that nobody else claims them.
	left map[uint64]*counts
	// free are slots in the order they became so, from head on: one is used
	// again late, since a packet may be counted on it that was on its way.
	free   []*counts
	head   int
	failed bool
}

// The layout: a header of a page, and chunks of slots.
const (
	counterMagic  = "culvert counters"
	counterFormat = 1
	counterHeader = 4096
	counterChunk  = 1 << 20
	// restingSlots wait before the first of them is used again.
	restingSlots = 1024
)

// OpenCounters opens the file, and makes it when it is not there. It refuses, and
// leaves as it is, a file that is something else, or of a newer format.
func OpenCounters(path string, log *slog.Logger) (*CounterFile, error) {
	if log == nil {
		log = slog.Default()
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("counters: %w", err)
	}
	c := &CounterFile{file: f, log: log, left: map[uint64]*counts{}}
	if err := c.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("counters: %s: %w", path, err), c.Close())
	}
	return c, nil
}

func (c *CounterFile) open() error {
	info, err := c.file.Stat()
	if err != nil {
		return err
	}
	header := make([]byte, len(counterMagic)+1)
	if info.Size() == 0 {
		copy(header, counterMagic)
		header[len(counterMagic)] = counterFormat
		_, err := c.file.WriteAt(header, 0)
		return err
	}
	if _, err := c.file.ReadAt(header, 0); err != nil || string(header[:len(counterMagic)]) != counterMagic {
		return errors.New("it is no file of counters; move it away, or name another journal.dir")
	}
	if v := header[len(counterMagic)]; v != counterFormat {
		return fmt.Errorf("it has format %d, and this lnsd knows %d; start the lnsd that has written it, or move it away: sessions then go on with what they had when they were accounted last", v, counterFormat)
	}
	for off := int64(counterHeader); off+counterChunk <= info.Size(); off += counterChunk {
		if err := c.mapChunk(off); err != nil {
			return err
		}
	}
	return nil
}

// mapChunk maps one chunk and sorts its slots.
func (c *CounterFile) mapChunk(off int64) error {
	mem, err := unix.Mmap(int(c.file.Fd()), off, counterChunk, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mapping it: %w", err)
	}
	c.chunks = append(c.chunks, mem)
	for at := 0; at < counterChunk; at += countsSize {
		s := (*counts)(unsafe.Pointer(&mem[at]))
		id := s.id.Load()
		if id == 0 || c.left == nil {
			c.free = append(c.free, s)
			continue
		}
		if twin := c.left[id]; twin != nil {
			// A damaged file. One slot goes on with what is more of both, the other is free.
			v, w := twin.get(), s.get()
			v = v.atLeast(&w)
			twin.set(&v)
			s.id.Store(0)
			c.free = append(c.free, s)
			continue
		}
		c.left[id] = s
	}
	return nil
}

// grow adds a chunk, whose space is really there: a hole could not be written when the disk is full.
func (c *CounterFile) grow() error {
	off := int64(counterHeader + len(c.chunks)*counterChunk)
	if err := unix.Fallocate(int(c.file.Fd()), 0, off, counterChunk); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("making it larger: %w", err)
	}
	if info, err := c.file.Stat(); err != nil || info.Size() < off+counterChunk {
		if _, err := c.file.WriteAt(make([]byte, counterChunk), off); err != nil {
			return fmt.Errorf("making it larger: %w", err)
		}
	}
	return c.mapChunk(off)
}

// take gives the counts of a session, which begin where it was when it was counted last, in this
// file or as the caller knows. found says that it was in the file. A nil CounterFile gives Go's memory.
func (c *CounterFile) take(id uint64, known *Counters) (s *counts, found bool) {
	if c != nil && id != 0 {
		if s = c.left[id]; s != nil {
			delete(c.left, id)
			v := s.get().atLeast(known)
			s.set(&v)
			return s, true
		}
		s = c.slot()
	}
	if s == nil {
		s, id = new(counts), 0
	}
	s.set(known)
	s.ns.Store(0)
	s.id.Store(id)
	return s, false
}

// slot gives a free slot, or nil when the file cannot grow.
func (c *CounterFile) slot() *counts {
	if len(c.free)-c.head <= restingSlots && !c.failed {
		if err := c.grow(); err != nil {
			c.failed = true
			c.log.Error("counters of further sessions would not survive this process; look at the disk", "file", c.file.Name(), "err", err)
		}
	}
	if len(c.free) == c.head {
		return nil
	}
	s := c.free[c.head]
	c.head++
	if c.head > restingSlots && c.head*2 > len(c.free) {
		c.free, c.head = append(c.free[:0], c.free[c.head:]...), 0
	}
	return s
}

// give takes back a session's counts.
func (c *CounterFile) give(s *counts) {
	if c != nil && s.id.Swap(0) != 0 {
		c.free = append(c.free, s)
	}
}

// settle forgets what no session has claimed.
func (c *CounterFile) settle() {
	if c == nil {
		return
	}
	for _, s := range c.left {
		s.id.Store(0)
		c.free = append(c.free, s)
	}
	c.left = nil
}

// Close closes the file; the plane is closed before. What is mapped stays so for the rest of the
// process, since nobody can say who still looks at a counter.
func (c *CounterFile) Close() error { return c.file.Close() }
