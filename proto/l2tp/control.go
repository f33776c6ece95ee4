package l2tp

import (
	"errors"
	"time"
)

// ErrQueueFull says that the peer acknowledges too slowly for what is sent.
var ErrQueueFull = errors.New("l2tp: control send queue is full")

// ControlConfig configures the reliable delivery of control messages. Zero
// fields mean the defaults they name.
type ControlConfig struct {
	// Window is the receive window offered to the peer, in messages: how many may
	// arrive ahead of a missing one. Default 128.
	Window uint16
	// RetryFirst is the time before the first retransmission; each further one
	// waits twice as long, up to RetryCap. Defaults 1 s and 8 s (RFC 2661 section
	// 5.8).
	RetryFirst time.Duration
	RetryCap   time.Duration
	// MaxRetries is how often a message is retransmitted before the peer counts as
	// dead. Default 5.
	MaxRetries int
	// Hello is the silence after which a HELLO is sent; 0 sends none. Any control
	// message of the peer ends a silence.
	Hello time.Duration
	// AckDelay is how long an acknowledgement waits for a message to ride on.
	// Default 50 ms; a negative value sends it at once.
	AckDelay time.Duration
	// SendQueue bounds the messages waiting for acknowledgement or for their first
	// transmission. Default 4,096.
	SendQueue int
}
