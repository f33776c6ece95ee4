package wheel

import (
	"testing"
	"time"
)

// modelled is a timer and when it ought to fire.
type modelled struct {
	Timer
	t     *testing.T
	w     *Wheel
	due   time.Duration // Never while stopped
	by    time.Duration // the latest time, for one that was due when it was set
	again time.Duration
}

// Expire checks that the timer is due.
func (m *modelled) Expire(now time.Duration, t *Timer) {
	if t != &m.Timer || t.Active() || now < m.due {
		m.t.Fatalf("a timer for %v fires at %v, set: %v", m.due, now, t.Active())
	}
	m.due = Never
	if m.again > 0 {
		m.set(now, now+m.again)
	}
}

func (m *modelled) set(now, at time.Duration) {
	m.w.Set(&m.Timer, at, m)
	m.due, m.by = at, max(at, now)+2*Tick
}

// FuzzWheel sets, moves and stops timers and lets time pass, beside a list of when each is due:
// none fires before its time or more than a Tick after it, none is lost, and Next is never too late.
func FuzzWheel(f *testing.F) {
	f.Add([]byte{0, 10, 0, 1, 200, 1, 3, 20, 0, 3, 255, 0})
	f.Add([]byte{16, 5, 3, 17, 5, 3, 34, 0, 0, 3, 9, 9, 2, 1, 0, 3, 255, 255})
	f.Add([]byte{1, 255, 255, 4, 3, 1, 3, 255, 127, 3, 255, 127})
	f.Fuzz(func(t *testing.T, ops []byte) {
		now := time.Hour + 3*time.Millisecond
		w := New(now)
		var timers [16]modelled
		for i := range timers {
			timers[i] = modelled{t: t, w: w, due: Never}
		}
		for ; len(ops) >= 3; ops = ops[3:] {
			m, d := &timers[ops[0]>>4], time.Duration(ops[1])*time.Millisecond<<(ops[2]&15)
			switch ops[0] % 5 {
			case 0, 1:
				m.set(now, now+d-10*time.Millisecond)
			case 2:
				w.Stop(&m.Timer)
				m.due = Never
			case 3:
				now += d
				w.Advance(now)
			case 4:
				m.again = d
			}
			set := 0
			for i := range timers {
				m := &timers[i]
				if m.Active() != (m.due != Never) {
					t.Fatalf("a timer for %v is set: %v", m.due, m.Active())
				}
				if !m.Active() {
					continue
				}
				set++
				if now > m.by {
					t.Fatalf("at %v a timer for %v has not fired", now, m.due)
				}
				if next := w.Next(); next > max(m.due, now)+Tick {
					t.Fatalf("Next is %v, a timer is due at %v", next, m.due)
				}
			}
			if set != w.Len() {
				t.Fatalf("%d timers are set, the wheel has %d", set, w.Len())
			}
		}
	})
}
