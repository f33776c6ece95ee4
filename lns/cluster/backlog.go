package cluster

import (
	"sync"

	"culvert/lns/dataplane"
)

// backlog is datagrams that are not where they belong: they came to, or are to leave from, a node that
// may not answer for their address. It keeps them, in frames, until they can be given on.
type backlog struct {
	mu     sync.Mutex
	frames lateFrames
	size   int
	lost   int
	// woken has something in it when there may be frames.
	woken chan struct{}
}

// The bounds of a backlog, in octets, and of one frame of it.
const (
	maxLate   = 16 << 20
	lateFrame = 1 << 16
)

// lateKinds are the frames of a backlog, by whether their datagrams leave.
var lateKinds = [2]frameKind{frameCame, frameLeaves}

func newBacklog() *backlog { return &backlog{woken: make(chan struct{}, 1)} }

// add copies datagrams; for Fence.Divert. Those of an IPsec SA are lost: the other node does not have it.
func (l *backlog) add(out bool, batch []dataplane.Datagram) {
	way := 0
	if out {
		way = 1
	}
	l.mu.Lock()
	for i := range batch {
		d := &batch[i]
		if d.Mark != 0 || l.size+len(d.B) > maxLate {
			l.lost++
			continue
		}
		list := l.frames[way]
		if n := len(list); n == 0 || len(list[n-1])+len(d.B) > lateFrame {
			list = append(list, make([]byte, 0, lateFrame))
		}
		at := &list[len(list)-1]
		before := len(*at)
		*at = appendDatagram(*at, d)
		l.size += len(*at) - before
		l.frames[way] = list
	}
	l.mu.Unlock()
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// lateFrames are the frames of a backlog, by whether their datagrams leave.
type lateFrames [2][][]byte

// take gives what is there.
func (l *backlog) take() lateFrames {
	l.mu.Lock()
	defer l.mu.Unlock()
	frames := l.frames
	l.frames, l.size = lateFrames{}, 0
	return frames
}

// each gives f the frames until it fails.
func (frames lateFrames) each(f func(frameKind, []byte) error) error {
	for way, list := range frames {
		for _, b := range list {
			if err := f(lateKinds[way], b); err != nil {
				return err
			}
		}
	}
	return nil
}

// missed is how many datagrams were not kept.
func (l *backlog) missed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}
