package dataplane

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// pollable makes a file of a non-blocking descriptor that the runtime's poller
// waits for. With that made sure of, its RawConn fails only once it is closed, or has a deadline in the past.
func pollable(fd int, name string) (*os.File, syscall.RawConn, error) {
	f := os.NewFile(uintptr(fd), name)
	if err := f.SetDeadline(time.Time{}); err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("%s cannot be polled: %w", name, err)
	}
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, raw, nil
}

// longAgo is a deadline that ends all reading from a file.
var longAgo = time.Unix(1, 0)
