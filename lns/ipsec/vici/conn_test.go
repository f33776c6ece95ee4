package vici

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// peer plays charon: it reads the requests that are due and answers each with packets.
func peer(t *testing.T, script func(read func() packet, write func(packetType, string, Section))) *Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	go script(func() packet {
		p, _, err := readPacket(theirs, nil)
		if err != nil {
			return packet{kind: 255}
		}
		return p
	}, func(kind packetType, name string, body Section) {
		b, err := appendPacket(nil, kind, name, body)
		if err == nil {
			_, _ = theirs.Write(b)
		}
	})
	return NewConn(ours)
}

// A charon whose queue of connections is full is tried again, until the caller has enough.
func TestDialWaitsForAFullQueue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vici")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	first, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, path); !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a full queue: %v", err)
	}
	time.AfterFunc(50*time.Millisecond, func() {
		if nfd, _, err := syscall.Accept(fd); err == nil {
			syscall.Close(nfd)
		}
	})
	second, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatalf("once there is room: %v", err)
	}
	second.Close()
	if _, err := Dial(t.Context(), path+"x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no socket at all: %v", err)
	}
}

func TestCall(t *testing.T) {
	c := peer(t, func(read func() packet, write func(packetType, string, Section)) {
		if p := read(); p.kind == cmdRequest && p.name == "version" {
			write(event, "log", Section{{Name: "msg", Kind: Value, Value: "hello"}})
			write(cmdResponse, "", Section{{Name: "version", Kind: Value, Value: "5.9.8"}})
		}
		read()
		write(cmdResponse, "", Section{{Name: "success", Kind: Value, Value: "no"}, {Name: "errmsg", Kind: Value, Value: "bad proposal"}})
		read()
		write(cmdUnknown, "", nil)
	})
	ctx := context.Background()
	s, err := c.Call(ctx, "version", nil)
	if err != nil || s.Get("version") != "5.9.8" {
		t.Fatalf("%+v, %v", s, err)
	}
	var refused *Error
	if _, err := c.Call(ctx, "load-conn", nil); !errors.As(err, &refused) || refused.Message != "bad proposal" {
		t.Errorf("%v; want charon's refusal", err)
	}
	if _, err := c.Call(ctx, "dance", nil); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v; want ErrUnknown", err)
	}
	name, body, err := c.Next(ctx)
	if err != nil || name != "log" || body.Get("msg") != "hello" {
		t.Errorf("%s %+v %v; want the event that came during the command", name, body, err)
	}
}

func TestStream(t *testing.T) {
	c := peer(t, func(read func() packet, write func(packetType, string, Section)) {
		read()
		write(eventConfirm, "", nil)
		read()
		write(event, "list-sa", Section{{Name: "a", Kind: Sub}})
		write(event, "ike-updown", nil)
		write(event, "list-sa", Section{{Name: "b", Kind: Sub}})
		write(cmdResponse, "", nil)
		if p := read(); p.kind == eventUnregister && p.name == "list-sa" {
			write(eventConfirm, "", nil)
		}
		read()
		write(eventUnknown, "", nil)
	})
	var names string
	err := c.Stream(context.Background(), "list-sas", nil, "list-sa", func(s Section) { names += s[0].Name })
	if err != nil || names != "ab" {
		t.Fatalf("%q, %v", names, err)
	}
	if n, _, err := c.Next(context.Background()); n != "ike-updown" || err != nil {
		t.Errorf("%q, %v; want the other event", n, err)
	}
	if err := c.Register(context.Background(), "weather"); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v; want ErrUnknown", err)
	}
}

func TestInterrupted(t *testing.T) {
	c := peer(t, func(read func() packet, _ func(packetType, string, Section)) { read() })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Call(ctx, "stats", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v; want the context's error", err)
	}
}

func TestHostileStream(t *testing.T) {
	for name, octets := range map[string][]byte{
		"a huge packet":       binary.BigEndian.AppendUint32(nil, MaxSegment+1),
		"an empty packet":     {0, 0, 0, 0},
		"an unknown type":     {0, 0, 0, 1, 99},
		"a request":           {0, 0, 0, 3, 0, 1, 'x'},
		"a half-sent message": {0, 0, 0, 9, 1},
	} {
		ours, theirs := net.Pipe()
		go func() {
			_, _ = theirs.Write(octets)
			theirs.Close()
		}()
		if _, _, err := NewConn(ours).Next(context.Background()); err == nil {
			t.Errorf("%s was taken for an event", name)
		}
		ours.Close()
	}
}
