package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"culvert/ops/lab/guest"
)

// poll is how often a file is looked at: system calls cost 70 us in a guest.
const poll = 20 * time.Millisecond

// serve answers requests from r on w until r ends.
func serve(r io.Reader, w io.Writer) error {
	var mu sync.Mutex
	enc := json.NewEncoder(w)
	send := func(reply guest.Reply) {
		mu.Lock()
		defer mu.Unlock()
		// A channel that is gone shows at the next read.
		_ = enc.Encode(reply)
	}
	send(guest.Reply{})
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		var req guest.Request
		if err := json.Unmarshal(line, &req); err != nil {
			send(guest.Reply{Error: fmt.Sprintf("bad request %q: %v", line, err)})
			continue
		}
		go func() { send(answer(&req)) }()
	}
}

// answer does what one request asks.
func answer(req *guest.Request) guest.Reply {
	reply := guest.Reply{ID: req.ID}
	limit := time.Duration(req.Millis) * time.Millisecond
	var err error
	switch req.Op {
	case guest.OpRun:
		reply.Output, reply.Code, err = run(req.Text, limit)
	case guest.OpPut:
		err = put(req.Path, req.Text, os.FileMode(req.Mode), req.Append)
	case guest.OpGet:
		var b []byte
		b, err = os.ReadFile(req.Path)
		reply.Output = string(b)
	case guest.OpWait:
		reply.Output, err = wait(req.Path, req.Text, limit)
	case guest.OpOff:
		err = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	default:
		err = fmt.Errorf("unknown operation %q", req.Op)
	}
	if err != nil {
		reply.Error = err.Error()
	}
	return reply
}

// run runs a script. Its output goes through a file, not a pipe: a daemon
// that the script starts may keep its standard output without being waited for.
func run(script string, limit time.Duration) (output string, code int, err error) {
	out, err := os.CreateTemp("", "agent")
	if err != nil {
		return "", 0, err
	}
	defer out.Close()
	defer os.Remove(out.Name())
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return "", 0, err
	}
	late := time.AfterFunc(limit, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	err = cmd.Wait()
	if !late.Stop() {
		err = fmt.Errorf("killed after %v", limit)
	} else if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = nil
	}
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		code = 128 + int(ws.Signal())
	} else {
		code = ws.ExitStatus()
	}
	b, readErr := os.ReadFile(out.Name())
	return string(b), code, errors.Join(err, readErr)
}

// put writes a file, making its folder.
func put(path, text string, mode os.FileMode, more bool) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	how := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if more {
		how = os.O_WRONLY | os.O_CREATE | os.O_APPEND
	}
	f, err := os.OpenFile(path, how, mode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close(), os.Chmod(path, mode))
}

// wait waits for a file, and for a text in it, and gives its contents.
func wait(path, text string, limit time.Duration) (string, error) {
	for end := time.Now().Add(limit); ; time.Sleep(poll) {
		b, err := os.ReadFile(path)
		if err == nil && bytes.Contains(b, []byte(text)) {
			return string(b), nil
		}
		if time.Now().After(end) {
			if err == nil {
				err = fmt.Errorf("%s does not contain %q", path, text)
			}
			return string(b), fmt.Errorf("after %v: %w", limit, err)
		}
	}
}
