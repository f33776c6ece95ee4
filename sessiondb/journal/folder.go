package journal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"culvert/sessiondb"
)

// What a journal's folder holds.
const (
	markerFile     = "JOURNAL"
	lockFile       = "LOCK"
	databaseFolder = "db"
	layout         = 1
)

// marker is the file that makes a folder a journal.
type marker struct {
	epoch uint32
	node  string
}

// claim takes the folder for this process and reads its marker; a folder that
// is empty or not there becomes a journal's.
func claim(dir, node string) (*folderLock, marker, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, marker{}, fmt.Errorf("journal %s: %w; make the folder, or give one that can be made", dir, err)
	}
	// Nothing is written, not even the lock file, before it is clear that
	// the folder is not somebody else's.
	if err := refuseForeign(dir); err != nil {
		return nil, marker{}, err
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, marker{}, err
	}
	mark, err := readMarker(dir)
	if errors.Is(err, fs.ErrNotExist) {
		mark = marker{node: node}
		err = mark.write(dir)
	}
	if err == nil && node != "" && mark.node != "" && node != mark.node {
		err = fmt.Errorf("journal %s: %w: it belongs to node %q and this is node %q; give this node its own folder, or its old name",
			dir, sessiondb.ErrCorrupt, mark.node, node)
	}
	if err != nil {
		lock.release()
		return nil, marker{}, err
	}
	return lock, mark, nil
}

// refuseForeign refuses a folder that is neither a journal nor empty.
func refuseForeign(dir string) error {
	names, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("journal %s: %w; give a folder that this user may read", dir, err)
	}
	foreign := ""
	for _, name := range names {
		switch name.Name() {
		case markerFile:
			return nil
		case lockFile, sealFile, markerFile + ".new", "lost+found":
		default:
			foreign = name.Name()
		}
	}
	if foreign != "" {
		return fmt.Errorf("journal %s: %w: the folder holds %q and no file %s, so it is not a journal; give an empty folder, or restore the file",
			dir, sessiondb.ErrCorrupt, foreign, markerFile)
	}
	return nil
}

// unreadable explains a damaged journal.
func unreadable(dir string, cause error) error {
	if errors.Is(cause, syscall.ENOSPC) || errors.Is(cause, fs.ErrPermission) {
		return fmt.Errorf("journal %s: %w", dir, cause)
	}
	return fmt.Errorf("journal %s: %w: %w; nothing was changed in it: restore it, or move it away (mv %s %s.damaged) to begin without its sessions",
		dir, sessiondb.ErrCorrupt, cause, dir, dir)
}

func (m marker) text() string {
	body := fmt.Sprintf("culvert journal %d\nepoch %d\nnode %q\n", layout, m.epoch, m.node)
	return body + fmt.Sprintf("check %08x\n", crc32.ChecksumIEEE([]byte(body)))
}

// write replaces the marker, on disk and at once.
func (m marker) write(dir string) error {
	name := filepath.Join(dir, markerFile)
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(m.text())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(name+".new", name); err != nil {
		return err
	}
	return syncFolder(dir)
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func readMarker(dir string) (marker, error) {
	text, err := os.ReadFile(filepath.Join(dir, markerFile))
	if errors.Is(err, fs.ErrNotExist) {
		return marker{}, err
	}
	if err != nil {
		return marker{}, unreadable(dir, err)
	}
	m, err := parseMarker(string(text))
	if err != nil {
		return m, unreadable(dir, err)
	}
	return m, nil
}

func parseMarker(text string) (marker, error) {
	var m marker
	var version int
	first, _, _ := strings.Cut(text, "\n")
	if n, _ := fmt.Sscanf(first, "culvert journal %d", &version); n == 1 && version != layout {
		return m, fmt.Errorf("file %s is of layout %d and this program reads layout %d", markerFile, version, layout)
	}
	_, err := fmt.Sscanf(text, "culvert journal %d\nepoch %d\nnode %q\n", &version, &m.epoch, &m.node)
	if err != nil || m.text() != text {
		return m, fmt.Errorf("file %s is damaged", markerFile)
	}
	return m, nil
}
