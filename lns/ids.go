package lns

import "slices"

// idAllocator hands out 16-bit ids, 0 excepted, and never the same one soon
// again: freed ids wait in line, and an id is reused only when the fresh ones
// are used up or quarantine others have been freed since. So ids stay dense
// (the plane's tables are arrays over them) and a late packet for an ended
// session meets nobody.
type idAllocator struct {
	fresh uint16   // the lowest id that was never used
	limit uint16   // the highest id that may be used
	freed []uint16 // in the order they were freed, from head on
	head  int
	// old of freed are from before a restore: nobody knows when they were freed.
	old  int
	used int
}

// quarantine is how many ids are freed before the first of them comes back
// while there are fresh ones.
const quarantine = 256

func newIDAllocator(limit uint16) idAllocator { return idAllocator{fresh: 1, limit: limit} }

// take gives an id that is not in use, or false when all are.
func (a *idAllocator) take() (uint16, bool) {
	// The old ones have rested only when that many others have been freed behind them.
	waiting := len(a.freed) - max(a.head, a.old)
	exhausted := a.fresh > a.limit || a.fresh == 0
	if waiting > quarantine || exhausted && len(a.freed) > a.head {
		id := a.freed[a.head]
		a.head++
		if a.head > 1024 && a.head*2 > len(a.freed) {
			a.freed = append(a.freed[:0], a.freed[a.head:]...)
			a.head, a.old = 0, max(0, a.old-a.head)
		}
		a.used++
		return id, true
	}
	if exhausted {
		return 0, false
	}
	id := a.fresh
	a.fresh++
	a.used++
	return id, true
}

// release puts an id that take gave in line for reuse.
func (a *idAllocator) release(id uint16) {
	a.used--
	a.freed = append(a.freed, id)
}

// restore marks ids as in use, in an allocator that has given none. Those
// between them wait in line; fresh ones begin no lower than they did, nor than fresh.
func (a *idAllocator) restore(used []uint16, fresh uint16) {
	slices.Sort(used)
	a.used = len(used)
	for _, id := range used {
		if id < a.fresh {
			continue
		}
		for ; a.fresh < id; a.fresh++ {
			a.freed = append(a.freed, a.fresh)
		}
		a.fresh = id + 1
	}
	for ; a.fresh != 0 && a.fresh < fresh; a.fresh++ {
		a.freed = append(a.freed, a.fresh)
	}
	a.old = len(a.freed)
}

// leap leaves out n fresh ids, if there are so many: another allocator may have given
// them, and only that one knew.
func (a *idAllocator) leap(n uint16) {
	if a.fresh != 0 && a.fresh <= a.limit && a.limit-a.fresh > n {
		a.fresh += n
	}
}
