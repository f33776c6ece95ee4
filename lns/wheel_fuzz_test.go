package lns

import (
	"testing"
	"time"
)

// modelTimer is a timer and when it ought to fire.
type modelTimer struct {
	timer
	t *testing.T
	w *wheel
	// now is the time of the run.
	now *time.Duration
	// due is never while it is stopped; by is the latest time, for one that was due when it was set.
	due, by time.Duration
	again   time.Duration
}

func (m *modelTimer) expire(*shard) {
	if m.timer.next != nil || *m.now < m.due {
		m.t.Fatalf("a timer for %v fires at %v, armed: %v", m.due, *m.now, m.timer.next != nil)
	}
	m.due = never
	if m.again > 0 {
		m.arm(*m.now + m.again)
	}
}

func (m *modelTimer) arm(at time.Duration) {
	m.w.set(&m.timer, at)
	m.due, m.by = at, max(at, *m.now)+2*wheelTick
}

// FuzzWheel arms, moves and stops timers and lets time pass, beside a list of when each is
// due: none fires before its time or long after it, and none is lost.
func FuzzWheel(f *testing.F) {
	f.Add([]byte{0, 10, 0, 1, 200, 1, 3, 20, 0, 3, 255, 0})
	f.Add([]byte{16, 5, 3, 17, 5, 3, 34, 0, 0, 3, 9, 9, 2, 1, 0, 3, 255, 255})
	f.Add([]byte{1, 255, 255, 4, 3, 1, 3, 255, 127, 3, 255, 127})
	w := new(wheel)
	f.Fuzz(func(t *testing.T, ops []byte) {
		now := time.Hour + 3*time.Millisecond
		w.init(now)
		w.count = 0
		var timers [16]modelTimer
		for i := range timers {
			timers[i] = modelTimer{t: t, w: w, now: &now, due: never}
			timers[i].who = &timers[i]
		}
		for ; len(ops) >= 3; ops = ops[3:] {
			m, d := &timers[ops[0]>>4], time.Duration(ops[1])*time.Millisecond<<(ops[2]&15)
			switch ops[0] % 5 {
			case 0, 1:
				m.arm(now + d - 25*time.Millisecond)
			case 2:
				w.stop(&m.timer)
				m.due = never
			case 3:
				now += d
				w.run(now, nil)
			case 4:
				m.again = d
			}
			armed := 0
			for i := range timers {
				m := &timers[i]
				if (m.timer.next != nil) != (m.due != never) {
					t.Fatalf("a timer for %v is armed: %v", m.due, m.timer.next != nil)
				}
				if m.due == never {
					continue
				}
				if armed++; now > m.by {
					t.Fatalf("at %v a timer for %v has not fired", now, m.due)
				}
			}
			if armed != w.count {
				t.Fatalf("%d timers are armed, the wheel has %d", armed, w.count)
			}
		}
	})
}
