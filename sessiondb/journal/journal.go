package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"culvert/sessiondb"
)

// Options of a journal. The zero value is good.
type Options struct {
	// Node, when not empty, is kept in the folder; the folder of a node of
	// another name is refused.
	Node string
	// CacheBytes bounds the memory for blocks read from disk; 0 means 8 MiB.
	CacheBytes int64
	// MinFree is how much space the file system must have left for changes
	// to be taken; 0 means 128 MiB, a negative number means no check.
	MinFree int64
	// Log takes what an operator should know; nil means slog.Default.
	Log *slog.Logger
}

var (
	// ErrInUse says that a process has the journal open already.
	ErrInUse = errors.New("journal is in use")
	// ErrFull says that the file system has too little space left. The
	// change was not made; later ones are when there is space again.
	ErrFull = errors.New("no space for the journal")
)

// Journal implements sessiondb.Journal. Its methods are safe for concurrent
// use; changes of calls that overlap share their writes.
type Journal struct {
	dir   string
	epoch uint32
	db    *pebble.DB
	fs    *walFS
	lock  *folderLock
	space spaceCheck

	// mu guards the count of calls that use db, and broken.
	mu     sync.Mutex
	idle   sync.Cond
	users  int
	closed bool
	// broken is why the journal takes no more changes.
	broken error
}

// Open opens the journal in folder dir, and makes the folder when it is not
// there. It refuses, and leaves as it was, a folder that another process has
// open (ErrInUse), and one that holds something else, is another node's or
// cannot be read (sessiondb.ErrCorrupt). The error names the folder and says
// what to do.
func Open(dir string, opts Options) (*Journal, error) {
	return openOn(vfs.Default, dir, opts)
}

// openOn opens a journal whose database is on file system under.
func openOn(under vfs.FS, dir string, opts Options) (*Journal, error) {
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	lock, mark, err := claim(dir, opts.Node)
	if err != nil {
		return nil, err
	}
	j := &Journal{dir: dir, lock: lock}
	j.idle.L = &j.mu
	if err := j.open(under, mark, opts); err != nil {
		lock.release()
		return nil, err
	}
	return j, nil
}

// open checks the seal, opens the database and counts the epoch, in that
// order: a folder whose mark has an epoch has the rest.
func (j *Journal) open(under vfs.FS, mark marker, opts Options) (err error) {
	seal, err := j.unseal(mark)
	if err != nil {
		return unreadable(j.dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, seal.close())
		}
	}()
	j.fs = newWALFS(under, seal)
	options := pebbleOptions(opts, j.fs)
	options.ErrorIfNotExists = mark.epoch > 0
	j.db, err = openPebble(filepath.Join(j.dir, databaseFolder), options)
	if err != nil {
		return unreadable(j.dir, err)
	}
	mark.epoch++
	if opts.Node != "" {
		mark.node = opts.Node
	}
	if err := mark.write(j.dir); err != nil {
		return errors.Join(fmt.Errorf("journal %s: counting its epoch: %w", j.dir, err), j.db.Close())
	}
	j.epoch = mark.epoch
	j.space = spaceCheck{dir: j.dir, least: opts.MinFree}
	return nil
}

// unseal checks the logs and manifests before Pebble reads, and changes, them.
func (j *Journal) unseal(mark marker) (*seal, error) {
	get := openSeal
	if mark.epoch == 0 { // nothing was ever confirmed
		get = createSeal
	}
	s, err := get(j.dir)
	if err != nil {
		return nil, err
	}
	if err := s.begin(filepath.Join(j.dir, databaseFolder)); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// openPebble turns the panics with which Pebble meets some damage into errors.
func openPebble(dir string, options *pebble.Options) (db *pebble.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return pebble.Open(dir, options)
}

// Epoch implements sessiondb.Journal. It is on disk before Open returns, so
// that it rises even when the machine fails.
func (j *Journal) Epoch() uint32 { return j.epoch }

// Apply implements sessiondb.Store. It returns when the changes are in the
// kernel's page cache. ErrFull, sessiondb.ErrInvalid and sessiondb.ErrClosed
// are about this call; any other error is final, and says so.
func (j *Journal) Apply(ctx context.Context, changes []sessiondb.Change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := sessiondb.Validate(changes); err != nil {
		return err
	}
	if err := j.enter(); err != nil {
		return err
	}
	defer j.leave()
	if err := j.space.check(time.Now()); err != nil {
		return err
	}
	b := j.db.NewBatch()
	defer b.Close()
	if err := encodeChanges(b, changes); err != nil {
		return err
	}
	return j.commit(b)
}

// commit writes b. Pebble's answer to a failed write is Logger.Fatalf, which
// panics with a fatalError here; its commit pipeline is of no use afterwards.
func (j *Journal) commit(b *pebble.Batch) (err error) {
	defer func() {
		if r := recover(); r != nil {
			failure, ok := r.(fatalError)
			if !ok {
				panic(r)
			}
			err = j.fail(failure)
		}
	}()
	return b.Commit(pebble.Sync)
}

func (j *Journal) fail(cause error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken == nil {
		j.broken = fmt.Errorf("journal %s takes no more changes until it is opened again: %w", j.dir, cause)
	}
	return j.broken
}

// enter and leave frame every use of the database, so that Close can wait for
// the running ones and refuse later ones.
func (j *Journal) enter() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return fmt.Errorf("journal %s: %w", j.dir, sessiondb.ErrClosed)
	}
	if j.broken != nil {
		return j.broken
	}
	j.users++
	return nil
}

func (j *Journal) leave() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.users--; j.users == 0 {
		j.idle.Broadcast()
	}
}

// Size gives the octets that the journal has on disk.
func (j *Journal) Size() int64 {
	if j.enter() != nil {
		return 0
	}
	defer j.leave()
	return int64(j.db.Metrics().DiskSpaceUsage())
}

// Close waits for the running calls, brings everything to disk and gives up
// the folder. Closing again does nothing.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	j.closed = true
	for j.users > 0 {
		j.idle.Wait()
	}
	defer j.lock.release()
	err := errors.Join(j.fs.syncLogs(), closePebble(j.db))
	if err == nil && j.broken == nil {
		err = j.fs.seal.finish()
	}
	return errors.Join(err, j.fs.seal.close())
}

// closePebble turns Pebble's panic about iterators that are still open into an error.
func closePebble(db *pebble.DB) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return db.Close()
}
