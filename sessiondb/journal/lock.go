package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// folderLock keeps other processes, and other openings in this one, away. The
// kernel releases it when the process ends, however that happens.
type folderLock struct{ file *os.File }

func lockFolder(dir string) (*folderLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w; give a folder that this user may write", dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(f.Name())
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("journal %s: %w by %s; stop that process, or give this one its own folder",
				dir, ErrInUse, strings.TrimSpace(string(holder)))
		}
		return nil, fmt.Errorf("journal %s: locking it: %w", dir, err)
	}
	// The number is for people only; the lock does not depend on it.
	err = errors.Join(f.Truncate(0), writeAt(f, fmt.Sprintf("process %d\n", os.Getpid())))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("journal %s: locking it: %w", dir, err)
	}
	return &folderLock{f}, nil
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

func (l *folderLock) release() { l.file.Close() }

// spaceCheck refuses changes while the file system is nearly full, because
// Pebble does not survive a log that cannot be written.
type spaceCheck struct {
	dir   string
	least int64

	mu   sync.Mutex
	next time.Time
	err  error
}

// How much must be free unless Options say otherwise, and how long an answer
// of the file system is good for.
const (
	defaultMinFree = 128 << 20
	spaceInterval  = 250 * time.Millisecond
)

func (s *spaceCheck) check(now time.Time) error {
	if s.least < 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.next) {
		return s.err
	}
	s.next = now.Add(spaceInterval)
	s.err = nil
	var st syscall.Statfs_t
	if syscall.Statfs(s.dir, &st) != nil {
		return nil // the write will tell
	}
	least := s.least
	if least == 0 {
		least = defaultMinFree
	}
	if free := int64(st.Bavail) * st.Bsize; free < least {
		s.err = fmt.Errorf("%w: journal %s has %d MiB left and needs %d; make room on its file system",
			ErrFull, s.dir, free>>20, least>>20)
	}
	return s.err
}
