package guest

import (
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// nudgeEvery is how long a packet can lie in a User-Mode Linux guest unseen: its driver at times looks at a packet
// only when the next one comes, and peers in the guest cannot tell that from a packet that was lost.
const nudgeEvery = 50 * time.Millisecond

// nudgeFrame is what comes then: of an Ethertype for experiments (IEEE 802 section 9.2.3), which no kernel heeds or answers.
var nudgeFrame = append([]byte{
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0x02, 0x00, 0x00, 0x00, 0x00, 0x01,
	0x88, 0xb5,
}, make([]byte, 46)...)

// nudge sends a frame into a tap device of this network namespace again and again until done.
func nudge(tap string, done <-chan struct{}) error {
	dev, err := net.InterfaceByName(tap)
	if err != nil {
		return fmt.Errorf("guest: %w", err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("guest: a packet socket for %s: %w", tap, err)
	}
	go func() {
		defer unix.Close(fd)
		tick := time.NewTicker(nudgeEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				// While the device is down there is nothing to wake.
				_ = unix.Sendto(fd, nudgeFrame, 0, &unix.SockaddrLinklayer{Ifindex: dev.Index})
			}
		}
	}()
	return nil
}
