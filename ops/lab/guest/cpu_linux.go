package guest

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// guests counts those that were given a processor.
var guests atomic.Uint32

// onOneCPU runs start with what it starts kept to one of the machine's processors, the last first, each guest to the next one. User-Mode
// Linux is one processor in several processes that wait for each other; where each of these waits wakes another processor of a virtual
// machine, the guest has a third of its speed, and less on a busy host.
func onOneCPU(start func() error) error {
	// The thread's affinity is what a child begins with.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return fmt.Errorf("guest: the processors of this process: %w", err)
	}
	one.Set(pick(&all, int(guests.Add(1)-1)))
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return fmt.Errorf("guest: one processor for the guest: %w", err)
	}
	return errors.Join(start(), unix.SchedSetaffinity(0, &all))
}

// pick gives the nth processor of a set, from its end, round and round.
func pick(all *unix.CPUSet, n int) int {
	n %= all.Count()
	for cpu := len(all)*64 - 1; ; cpu-- {
		if all.IsSet(cpu) {
			if n == 0 {
				return cpu
			}
			n--
		}
	}
}
