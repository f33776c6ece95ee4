package ipsec

import (
	"errors"
	"fmt"
	"net/netip"

	"culvert/lns"
)

// WallState lists the kernel policies against clear L2TP that lnsd has set, in this life or an
// earlier one, in words, and says how many of them the profiles want that are not there. It needs
// neither a Manager nor charon.
func WallState(listen []netip.AddrPort, profiles []lns.LACProfile, marks bool) (inForce []string, missing int, err error) {
	return wallState(newKernel(), listen, profiles, marks)
}

func wallState(k kernel, listen []netip.AddrPort, profiles []lns.LACProfile, marks bool) (inForce []string, missing int, err error) {
	have, err := k.Blocks()
	if err != nil {
		return nil, 0, err
	}
	there := make(map[block]bool, len(have))
	for _, b := range have {
		there[b] = true
		inForce = append(inForce, b.String())
	}
	for _, b := range wall(listen, profiles, marks) {
		if !there[b] {
			missing++
		}
	}
	return inForce, missing, nil
}

// RemoveWall takes away all kernel policies against clear L2TP that lnsd has set, and nothing else, and
// says how many they were. A lnsd that runs, or starts, sets those that it wants again.
func RemoveWall() (int, error) { return removeWall(newKernel()) }

func removeWall(k kernel) (int, error) {
	have, err := k.Blocks()
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, b := range have {
		if err := k.Unblock(b); err != nil {
			errs = append(errs, fmt.Errorf("%v: %w", b, err))
		}
	}
	return len(have) - len(errs), errors.Join(errs...)
}

// String tells what the policy drops.
func (b block) String() string {
	way := "from " + b.Local.String() + " to"
	if b.In {
		way = "to " + b.Local.String() + " from"
	}
	who := b.Remote.String()
	if b.Remote.Bits() == 0 {
		who = "anybody"
	}
	s := "clear L2TP " + way + " " + who
	if b.Mask != 0 {
		s = fmt.Sprintf("L2TP %s %s whose mark has the bits %#x of %#x, where no SA has the mark", way, who, b.Mark, b.Mask)
	}
	return s
}
