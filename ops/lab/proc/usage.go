package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc (USER_HZ, 100 on every Linux that Go runs on).
const tick = 10 * time.Millisecond

// stat is the part of /proc/PID/stat that is of use here (proc(5)).
type stat struct {
	parent int
	// own is the process's time on processors, ended that of its children that have ended and
	// been waited for; user and system together.
	own, ended time.Duration
}

// readStat reads /proc/PID/stat.
func readStat(pid int) (stat, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(b)
}

// parseStat reads what follows the name in parentheses, which may hold anything.
func parseStat(b []byte) (stat, error) {
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 15 {
		return stat{}, fmt.Errorf("%q is no process status", b)
	}
	var n [5]int
	for i, at := range [5]int{1, 11, 12, 13, 14} { // ppid, utime, stime, cutime, cstime
		v, err := strconv.Atoi(string(fields[at]))
		if err != nil {
			return stat{}, err
		}
		n[i] = v
	}
	return stat{n[0], time.Duration(n[1]+n[2]) * tick, time.Duration(n[3]+n[4]) * tick}, nil
}

// CPU is the time on processors that a process has used, in user and kernel
// mode, with a resolution of 10 ms.
func CPU(pid int) (time.Duration, error) {
	s, err := readStat(pid)
	return s.own, err
}

// CPUTree is that of a process with all its children, those that have ended included.
func CPUTree(pid int) (time.Duration, error) {
	s, err := readStat(pid)
	if err != nil {
		return 0, err
	}
	sum := s.own + s.ended
	names, _ := filepath.Glob("/proc/[0-9]*")
	for _, name := range names {
		child, _ := strconv.Atoi(filepath.Base(name))
		if c, err := readStat(child); err == nil && c.parent == pid {
			sum += c.own + c.ended
		}
	}
	return sum, nil
}

// RSS is a process's resident memory in octets.
func RSS(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmRSS", pid)
}
