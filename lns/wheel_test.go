package lns

import (
	"math/rand/v2"
	"testing"
	"time"
)

// fired notes when a timer fired.
type fired struct {
	timer timer
	at    time.Duration
	n     int
	again time.Duration // armed again so much later, when over zero
}

var wheelNow time.Duration

func (f *fired) expire(sh *shard) {
	f.at = wheelNow
	f.n++
	if f.again > 0 {
		sh.wheel.set(&f.timer, wheelNow+f.again)
	}
}

func runWheel(sh *shard, from, to, step time.Duration) {
	for wheelNow = from; wheelNow <= to; wheelNow += step {
		sh.wheel.run(wheelNow, sh)
	}
}

func TestWheelFiresOnceInTime(t *testing.T) {
	sh := &shard{}
	sh.wheel.init(0)
	r := rand.New(rand.NewPCG(1, 2))
	list := make([]*fired, 2000)
	for i := range list {
		f := &fired{}
		f.timer.who = f
		list[i] = f
		sh.wheel.set(&f.timer, time.Duration(r.Int64N(int64(3*time.Minute))))
	}
	runWheel(sh, 0, 4*time.Minute, 7*time.Millisecond)
	for i, f := range list {
		if f.n != 1 {
			t.Fatalf("timer %d fired %d times", i, f.n)
		}
		if late := f.at - f.timer.at; late < 0 || late > 3*wheelTick {
			t.Errorf("timer %d for %v fired at %v", i, f.timer.at, f.at)
		}
	}
	if sh.wheel.count != 0 {
		t.Errorf("%d timers left", sh.wheel.count)
	}
}

func TestWheelStopMoveAndRearm(t *testing.T) {
	sh := &shard{}
	sh.wheel.init(0)
	stopped, moved, again, past := &fired{}, &fired{}, &fired{again: time.Second}, &fired{}
	for _, f := range []*fired{stopped, moved, again, past} {
		f.timer.who = f
		sh.wheel.set(&f.timer, time.Second)
	}
	sh.wheel.stop(&stopped.timer)
	sh.wheel.stop(&stopped.timer)
	sh.wheel.set(&moved.timer, 5*time.Second)
	sh.wheel.set(&past.timer, -time.Second)
	runWheel(sh, 0, 10*time.Second, 10*time.Millisecond)
	if stopped.n != 0 || moved.n != 1 || again.n < 9 || past.n != 1 {
		t.Errorf("stopped fired %d, moved %d, rearmed %d, past %d times", stopped.n, moved.n, again.n, past.n)
	}
	if moved.at < 5*time.Second {
		t.Errorf("moved fired at %v", moved.at)
	}
	sh.wheel.set(&again.timer, never)
	if sh.wheel.count != 0 {
		t.Errorf("%d timers left", sh.wheel.count)
	}
}

func TestWheelAfterALongSleep(t *testing.T) {
	sh := &shard{}
	sh.wheel.init(0)
	f, late := &fired{}, &fired{}
	f.timer.who, late.timer.who = f, late
	sh.wheel.set(&f.timer, time.Second)
	sh.wheel.set(&late.timer, 2*time.Hour)
	wheelNow = time.Hour
	sh.wheel.run(wheelNow, sh)
	if f.n != 1 || late.n != 0 {
		t.Errorf("after an hour the timers fired %d and %d times", f.n, late.n)
	}
}

func BenchmarkWheelSetStop(b *testing.B) {
	sh := &shard{}
	sh.wheel.init(0)
	f := &fired{}
	f.timer.who = f
	b.ReportAllocs()
	for i := range b.N {
		sh.wheel.set(&f.timer, time.Duration(i)*time.Millisecond)
		sh.wheel.stop(&f.timer)
	}
}
