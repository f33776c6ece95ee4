package ipsec

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"culvert/lns"
)

// heldBlocks is a kernel with policies in memory.
type heldBlocks struct {
	kernel
	set  map[block]bool
	fail error
}

func (k *heldBlocks) Blocks() ([]block, error) { return slices.Collect(maps.Keys(k.set)), k.fail }
func (k *heldBlocks) Unblock(b block) error {
	delete(k.set, b)
	return nil
}

func TestWallState(t *testing.T) {
	listen := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:1701")}
	p := profile("a", nil)
	k := &heldBlocks{set: map[block]bool{}}
	list, missing, err := wallState(k, listen, []lns.LACProfile{p}, true)
	if err != nil || len(list) != 0 || missing != 2+markBits {
		t.Errorf("with nothing set: %d in force, %d missing, %v", len(list), missing, err)
	}
	for _, b := range wall(listen, []lns.LACProfile{p}, true) {
		k.set[b] = true
	}
	k.set[block{Local: listen[0], Remote: netip.MustParsePrefix("198.51.100.0/24"), In: true}] = true // of an older configuration
	list, missing, err = wallState(k, listen, []lns.LACProfile{p}, true)
	text := strings.Join(list, "\n")
	if err != nil || len(list) != 3+markBits || missing != 0 {
		t.Errorf("with all set: %d in force, %d missing, %v", len(list), missing, err)
	}
	for _, want := range []string{"clear L2TP to 192.0.2.1:1701 from anybody", "clear L2TP from 192.0.2.1:1701 to anybody", "from 198.51.100.0/24", "bits 0x800000"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if n, err := removeWall(k); n != 3+markBits || err != nil || len(k.set) != 0 {
		t.Errorf("%d removed, %d left, %v", n, len(k.set), err)
	}
	k.fail = errNoKernel
	if _, _, err := wallState(k, listen, nil, true); !errors.Is(err, errNoKernel) {
		t.Error(err)
	}
}
