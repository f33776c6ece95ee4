//go:build !linux

package vici

// PID is not known on this system.
func (c *Conn) PID() int { return 0 }
