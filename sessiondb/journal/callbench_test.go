package journal

import (
	"math/rand/v2"
	"testing"

	"culvert/sessiondb"
	"culvert/sessiondb/storetest"
)

// BenchmarkCalls is what the records of a whole call cost, from ICRQ to CDN, as a
// busy shard applies them: 10,000 calls in 100 tunnels come and go, 3 in each
// phase in each step, and each step writes the tunnels that it has touched.
func BenchmarkCalls(b *testing.B) {
	const calls, tunnels, together = 10_000, 100, 3
	j := mustOpen(b, b.TempDir())
	random := rand.New(rand.NewPCG(1, 2))
	order := random.Perm(calls)
	records := make([]sessiondb.Session, calls)
	for i := range records {
		s := storetest.SessionOf(i)
		s.Key.Tunnel.ID, s.Key.ID = uint16(1+i%tunnels), uint16(1+i/tunnels)
		s.State = make([]byte, 200)
		records[i] = s
	}
	tunnel := storetest.TunnelOf(1)
	usage := make([]byte, 150)
	cpu := cpuTime()
	b.ReportAllocs()
	b.ResetTimer()
	var changes []sessiondb.Change
	for n := 0; n < b.N; n += together {
		changes = changes[:0]
		for k := range together {
			// The phases of a call are calls/4 apart.
			for phase := range 4 {
				at := n + k - phase*calls/4
				if at < 0 {
					break
				}
				s := &records[order[at%calls]]
				call := &sessiondb.Call{Key: s.Key, Node: s.Node, PeerID: s.PeerID}
				entry := func(stop int) *sessiondb.Entry {
					return &sessiondb.Entry{Seq: uint64(2*at + stop + 1), Payload: usage}
				}
				switch phase {
				case 0:
					changes = append(changes, sessiondb.Change{Op: sessiondb.PutCall, Call: call})
				case 1:
					changes = append(changes, sessiondb.Change{Op: sessiondb.PutEntry, Entry: entry(0)}, sessiondb.Change{Op: sessiondb.PutSession, Session: s})
				case 2:
					changes = append(changes, sessiondb.Change{Op: sessiondb.DropEntry, Entry: entry(0)}, sessiondb.Change{Op: sessiondb.PutEntry, Entry: entry(1)},
						sessiondb.Change{Op: sessiondb.DropSession, Session: s, End: &sessiondb.End{}}, sessiondb.Change{Op: sessiondb.DropCall, Call: call})
				case 3:
					changes = append(changes, sessiondb.Change{Op: sessiondb.DropEntry, Entry: entry(1)})
				}
			}
		}
		for range together {
			t := tunnel
			t.Key.ID = uint16(1 + random.IntN(tunnels))
			t.Ns++
			changes = append(changes, sessiondb.Change{Op: sessiondb.PutTunnel, Tunnel: &t})
		}
		if err := j.Apply(b.Context(), changes); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/1000/float64(b.N), "cpu-us/call")
}
