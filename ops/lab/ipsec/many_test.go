package ipsec

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"culvert/lns/ipsec/vici"
)

// manyAddr is the address of the i-th of many LACs.
func manyAddr(i int) string {
	i++
	return netip.AddrFrom4([4]byte{10, 4, byte(i >> 8), byte(i)}).String()
}

// helpMany has a charon set up SAs from many addresses, so many at a time, and prints how long each took.
func helpMany(args []string) error {
	f := flag.NewFlagSet("many", flag.ContinueOnError)
	socket, lns, key := f.String("socket", "", ""), f.String("lns", "", ""), f.String("key", "", "")
	count, atOnce := f.Int("count", 1, ""), f.Int("at-once", 32, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	ctx := context.Background()
	load, err := vici.Dial(ctx, *socket)
	if err != nil {
		return err
	}
	defer load.Close()
	var shared vici.Section
	shared.Set("type", "IKE")
	shared.Set("data", *key)
	if _, err := load.Call(ctx, "load-shared", shared); err != nil {
		return err
	}
	for i := range *count {
		if _, err := load.Call(ctx, "load-conn", manyConn(i, *lns)); err != nil {
			return err
		}
	}
	next := make(chan int)
	took := make([]time.Duration, *count)
	failed := make(chan error, *atOnce)
	began := time.Now()
	var all sync.WaitGroup
	for range *atOnce {
		all.Go(func() { failed <- initiateMany(ctx, *socket, next, took) })
	}
	go func() {
		defer close(next)
		for i := range *count {
			next <- i
		}
	}()
	all.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			return err
		}
	}
	slices.Sort(took)
	d := time.Since(began)
	fmt.Printf("IKE alone %.1f s: %.0f SAs a second, %d at a time; each median %v, 99%% %v, longest %v\n", d.Seconds(), float64(*count)/d.Seconds(), *atOnce,
		took[*count/2].Round(time.Millisecond), took[*count*99/100].Round(time.Millisecond), took[*count-1].Round(time.Millisecond))
	return nil
}

// initiateMany sets up those that next says, one after the other.
func initiateMany(ctx context.Context, socket string, next <-chan int, took []time.Duration) (failed error) {
	c, err := vici.Dial(ctx, socket)
	if err != nil {
		failed = err
	} else {
		defer c.Close()
	}
	for i := range next {
		if failed != nil {
			continue // the others need not wait
		}
		var args vici.Section
		args.Set("ike", fmt.Sprintf("lac%d", i))
		args.Set("child", "l2tp")
		args.Set("timeout", "120000")
		args.Set("loglevel", "-1")
		began := time.Now()
		if _, err := c.Call(ctx, "initiate", args); err != nil {
			failed = fmt.Errorf("SA %d: %w", i, err)
		}
		took[i] = time.Since(began)
	}
	return failed
}

func manyConn(i int, lns string) vici.Section {
	var conn, auth, child, children, all vici.Section
	auth.Set("auth", "psk")
	conn.Set("version", "2")
	conn.SetList("local_addrs", manyAddr(i))
	conn.SetList("remote_addrs", lns)
	conn.SetList("proposals", "aes256-sha256-ecp256")
	conn.Set("mobike", "no")
	conn.Set("rekey_time", "0")
	conn.SetSub("local", auth)
	conn.SetSub("remote", auth)
	child.Set("mode", "transport")
	child.SetList("local_ts", "dynamic[udp]") // its port floats (RFC 3193 section 4)
	child.SetList("remote_ts", "dynamic[udp/1701]")
	child.SetList("esp_proposals", "aes128gcm16-ecp256")
	child.Set("rekey_time", "0")
	children.SetSub("l2tp", child)
	conn.SetSub("children", children)
	all.SetSub(fmt.Sprintf("lac%d", i), conn)
	return all
}

// helpNone has a charon take all its SAs down, without waiting for each.
func helpNone(args []string) error {
	f := flag.NewFlagSet("none", flag.ContinueOnError)
	socket := f.String("socket", "", "")
	if err := f.Parse(args); err != nil {
		return err
	}
	ctx := context.Background()
	c, err := vici.Dial(ctx, *socket)
	if err != nil {
		return err
	}
	defer c.Close()
	var ids []string
	if err := c.Stream(ctx, "list-sas", nil, "list-sa", func(s vici.Section) {
		for _, it := range s {
			ids = append(ids, it.Sub.Get("uniqueid"))
		}
	}); err != nil {
		return err
	}
	for _, id := range ids {
		var args vici.Section
		args.Set("ike-id", id)
		args.Set("timeout", "-1")
		if _, err := c.Call(ctx, "terminate", args); err != nil {
			return err
		}
	}
	return nil
}
