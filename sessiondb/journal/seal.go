package journal

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// seal is what tells a log or manifest that was damaged from one whose end was
// never written. Pebble cannot: to it both are an end, and it goes on without
// what was behind, which may be thousands of sessions.
//
// It is a small file, mapped into memory, with the size and checksum of every
// log and manifest as of the last confirmed write; updating it costs no
// system call, and like the logs it survives the process, in the page cache.
// When the machine fails, it may be on disk in another state than they are.
// So it counts only within one boot of the machine, or after a clean Close,
// which brings all to disk.
type seal struct {
	file *os.File
	// mu guards which slots are in use. A slot's numbers belong to the one
	// goroutine that writes its file.
	mu  sync.Mutex
	mem []byte
}

// The layout: a header of one slot's size, and the slots.
const (
	sealFile  = "SEAL"
	sealMagic = "culvert seal 1\n\x00"
	slotSize  = 128
	slots     = 64
	sealSize  = slotSize * (1 + slots)

	// In the header.
	offClean = 16
	offBoot  = 24
	bootSize = 64
	// In a slot. There are two pairs of numbers, so that one of them is
	// whole whenever the process dies.
	offUsed   = 0 // the length of the name; 0: free
	offActive = 8 // which pair counts
	offPairs  = 16
	offName   = 48
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// createSeal makes the seal of a journal that has no content yet.
func createSeal(dir string) (*seal, error) {
	content := make([]byte, sealSize)
	copy(content, sealMagic)
	name := filepath.Join(dir, sealFile)
	// Written out, because a hole in a mapped file cannot report a full disk.
	if err := os.WriteFile(name, content, 0o600); err != nil {
		return nil, err
	}
	return openSeal(dir)
}

// openSeal maps the seal of a journal.
func openSeal(dir string) (*seal, error) {
	f, err := os.OpenFile(filepath.Join(dir, sealFile), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != sealSize {
		err = fmt.Errorf("file %s has %d octets, should have %d", sealFile, info.Size(), sealSize)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	mem, err := syscall.Mmap(int(f.Fd()), 0, sealSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mapping file %s: %w", sealFile, err), f.Close())
	}
	s := &seal{file: f, mem: mem}
	if !bytes.HasPrefix(mem, []byte(sealMagic)) {
		return nil, errors.Join(fmt.Errorf("file %s is damaged", sealFile), s.close())
	}
	return s, nil
}

// number gives access to a number at an offset that is a multiple of 8.
func (s *seal) number(off int) *uint64 { return (*uint64)(unsafe.Pointer(&s.mem[off])) }

// begin checks the files in folder db if the seal counts, and makes it count
// for this boot.
func (s *seal) begin(db string) error {
	boot := bootID()
	stored := string(bytes.TrimRight(s.mem[offBoot:offBoot+bootSize], "\x00"))
	if atomic.LoadUint64(s.number(offClean)) == 1 || boot != "" && boot == stored {
		if err := s.verify(db); err != nil {
			return err
		}
	} else {
		clear(s.mem[slotSize:])
	}
	clear(s.mem[offBoot : offBoot+bootSize])
	copy(s.mem[offBoot:offBoot+bootSize], boot)
	atomic.StoreUint64(s.number(offClean), 0)
	return nil
}

// bootID names this boot of the machine; empty: unknown.
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return string(bytes.TrimSpace(id[:min(len(id), bootSize)]))
}

// verify compares every file in use with what is kept of it.
func (s *seal) verify(db string) error {
	for i := 1; i <= slots; i++ {
		slot := i * slotSize
		length := atomic.LoadUint64(s.number(slot + offUsed))
		active := atomic.LoadUint64(s.number(slot + offActive))
		if length > slotSize-offName || active > 1 {
			return fmt.Errorf("file %s is damaged", sealFile)
		}
		if length == 0 {
			continue
		}
		name := string(s.mem[slot+offName : slot+offName+int(length)])
		pair := slot + offPairs + 16*int(active)
		size, sum := atomic.LoadUint64(s.number(pair)), atomic.LoadUint64(s.number(pair+8))
		if err := verifyFile(filepath.Join(db, filepath.Base(name)), size, sum); err != nil {
			return err
		}
	}
	return nil
}

func verifyFile(name string, size, sum uint64) error {
	f, err := os.Open(name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && size == 0 {
			return nil // the process died before the file was made
		}
		return err
	}
	defer f.Close()
	h := crc32.New(castagnoli)
	n, err := io.Copy(h, io.LimitReader(f, int64(size)))
	if err != nil {
		return err
	}
	if uint64(n) < size {
		return fmt.Errorf("file %s is damaged: %d of its %d octets are missing", filepath.Base(name), size-uint64(n), size)
	}
	if uint64(h.Sum32()) != sum {
		return fmt.Errorf("file %s is damaged: its checksum is wrong", filepath.Base(name))
	}
	return nil
}

// claim gives a slot to a new, empty file.
func (s *seal) claim(name string) (slot int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(name) > slotSize-offName {
		return 0, fmt.Errorf("name %s is too long for file %s", name, sealFile)
	}
	for i := 1; i <= slots; i++ {
		slot := i * slotSize
		if atomic.LoadUint64(s.number(slot+offUsed)) != 0 {
			continue
		}
		clear(s.mem[slot : slot+slotSize])
		copy(s.mem[slot+offName:], name)
		atomic.StoreUint64(s.number(slot+offUsed), uint64(len(name)))
		return slot, nil
	}
	return 0, fmt.Errorf("no place in file %s for %s", sealFile, name)
}

// update says how far a slot's file is confirmed.
func (s *seal) update(slot int, size uint64, sum uint32) {
	other := 1 - atomic.LoadUint64(s.number(slot+offActive))
	pair := slot + offPairs + 16*int(other)
	atomic.StoreUint64(s.number(pair), size)
	atomic.StoreUint64(s.number(pair+8), uint64(sum))
	atomic.StoreUint64(s.number(slot+offActive), other)
}

// forget frees the slot of a file that is about to be removed.
func (s *seal) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 1; i <= slots; i++ {
		slot := i * slotSize
		length := int(atomic.LoadUint64(s.number(slot + offUsed)))
		if length == len(name) && string(s.mem[slot+offName:slot+offName+length]) == name {
			atomic.StoreUint64(s.number(slot+offUsed), 0)
		}
	}
}

// finish makes the seal count on any boot; all files are on disk.
func (s *seal) finish() error {
	atomic.StoreUint64(s.number(offClean), 1)
	return s.file.Sync() // writes mapped pages as well
}

func (s *seal) close() error {
	return errors.Join(syscall.Munmap(s.mem), s.file.Close())
}
