package wheel

import (
	"math/rand/v2"
	"testing"
	"time"
)

type fired struct {
	Timer
	wheel *Wheel
	want  time.Duration
	at    time.Duration
	again time.Duration
	n     int
}

func (f *fired) Expire(now time.Duration, t *Timer) {
	f.at, f.n = now, f.n+1
	if f.again > 0 {
		f.wheel.Set(&f.Timer, now+f.again, f)
	}
}

func TestFiresOnceInTime(t *testing.T) {
	for _, at := range []time.Duration{-5, 0, 1, Tick - 1, Tick, Tick + 1, time.Second, 32 * time.Second, 33 * time.Second, 5 * time.Minute} {
		var w Wheel
		f := &fired{wheel: &w}
		w.Set(&f.Timer, at, f)
		if w.Len() != 1 || !f.Active() {
			t.Fatalf("%v: not set", at)
		}
		for now := time.Duration(0); now < 6*time.Minute && f.n == 0; now = max(w.Next(), now+Tick) {
			w.Advance(now)
		}
		if f.n != 1 || f.at < at || f.at > max(at, 0)+Tick {
			t.Errorf("timer for %v fired %d times, last at %v", at, f.n, f.at)
		}
		if w.Len() != 0 || f.Active() || w.Next() != Never {
			t.Errorf("%v: something is left: %d, next %v", at, w.Len(), w.Next())
		}
	}
}

func TestStopAndMove(t *testing.T) {
	w := New(time.Hour)
	stopped, moved := &fired{wheel: w}, &fired{wheel: w}
	w.Set(&stopped.Timer, time.Hour+time.Second, stopped)
	w.Set(&moved.Timer, time.Hour+time.Second, moved)
	w.Stop(&stopped.Timer)
	w.Stop(&stopped.Timer)
	w.Set(&moved.Timer, time.Hour+3*time.Second, moved)
	w.Advance(time.Hour + 2*time.Second)
	if moved.n != 0 {
		t.Error("moved timer fired at its old time")
	}
	w.Advance(time.Hour + 4*time.Second)
	if stopped.n != 0 || moved.n != 1 {
		t.Errorf("stopped fired %d times, moved %d", stopped.n, moved.n)
	}
	w.Set(&moved.Timer, Never, moved)
	if moved.Active() || moved.At() != Never {
		t.Error("Never set the timer")
	}
}

func TestRepeatsAndLongSleep(t *testing.T) {
	var w Wheel
	f := &fired{wheel: &w, again: 10 * time.Millisecond}
	w.Set(&f.Timer, 0, f)
	for now := time.Duration(0); now < time.Second; now += time.Millisecond {
		w.Advance(now)
	}
	if f.n < 70 || f.n > 100 {
		t.Errorf("fired %d times in a second", f.n)
	}
	n := f.n
	w.Advance(10 * time.Minute)
	if f.n != n+1 || f.at != 10*time.Minute {
		t.Errorf("after a long sleep fired %d times at %v", f.n-n, f.at)
	}
}

// stopOther stops another timer of the same slot while the slot is fired.
type stopOther struct {
	Timer
	w     *Wheel
	other *stopOther
	n     int
}

func (s *stopOther) Expire(time.Duration, *Timer) { s.n++; s.w.Stop(&s.other.Timer) }

func TestStopWhileFiring(t *testing.T) {
	var w Wheel
	a, b := &stopOther{w: &w}, &stopOther{w: &w}
	a.other, b.other = b, a
	w.Set(&a.Timer, time.Second, a)
	w.Set(&b.Timer, time.Second, b)
	w.Advance(2 * time.Second)
	if a.n+b.n != 1 || w.Len() != 0 {
		t.Errorf("fired %d and %d times, %d left", a.n, b.n, w.Len())
	}
}

func TestRandomAgainstModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var w Wheel
	timers := make([]*fired, 500)
	for i := range timers {
		timers[i] = &fired{wheel: &w}
	}
	for now := time.Duration(0); now < 3*time.Minute; now += time.Duration(rnd.IntN(int(200 * time.Millisecond))) {
		w.Advance(now)
		for _, f := range timers {
			if overdue := f.want != 0 && now-f.want >= Tick; overdue && f.Active() {
				t.Fatalf("at %v: timer for %v has not fired", now, f.want)
			}
			if f.n > 0 && f.at < f.want {
				t.Fatalf("timer for %v fired at %v", f.want, f.at)
			}
		}
		f := timers[rnd.IntN(len(timers))]
		f.n, f.want = 0, now+time.Duration(rnd.IntN(int(time.Minute)))
		w.Set(&f.Timer, f.want, f)
	}
}

func BenchmarkSetAndFire(b *testing.B) {
	var w Wheel
	timers := make([]fired, 60000)
	b.ReportAllocs()
	now := time.Duration(0)
	for i := 0; b.Loop(); i++ {
		f := &timers[i%len(timers)]
		w.Set(&f.Timer, now+time.Duration(i%3000)*time.Millisecond, f)
		now += 20 * time.Microsecond
		w.Advance(now)
	}
}
