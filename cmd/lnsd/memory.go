package main

import (
	"math"
	"os"
	"runtime/debug"
)

// gcFloor is what the garbage collector's reckoning has on top of what lives, in octets. The collector runs
// when the heap has doubled: while a node is small, and its sessions come and go by the thousand a second, that would be
// every few hundred milliseconds, for some hundredths of a call's processor time. With it there is that much more garbage
// before it runs. It is address space only: nobody writes there, so no memory is behind it.
const gcFloor = 32 << 20

// raiseGCFloor has the garbage collector run less often, unless who runs lnsd has decided that by GOGC or GOMEMLIMIT.
// What it gives is to be kept for as long as the process lives.
func raiseGCFloor() []byte {
	if os.Getenv("GOGC") != "" || debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return nil
	}
	return make([]byte, gcFloor)
}
