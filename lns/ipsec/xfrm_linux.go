package ipsec

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"culvert/lns/ipsec/early"
)

// wallPriority marks our policies among the host's. It is behind (above) all that
// charon computes, so that an SA's policy always comes first.
const wallPriority = 0x43554c56

// xfrm is the kernel's IPsec over netlink.
type xfrm struct{}

func newKernel() kernel { return xfrm{} }

// excuse tells a kernel without XFRM from one that refuses.
func excuse(err error) error {
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: %w", errNoKernel, err)
	}
	return err
}

func (xfrm) Blocks() ([]block, error) {
	var list []block
	err := eachPolicy(func(p *netlink.XfrmPolicy) {
		if p.Priority == wallPriority && p.Action == netlink.XFRM_POLICY_BLOCK && p.Proto == unix.IPPROTO_UDP {
			list = append(list, blockOf(p))
		}
	})
	return list, err
}

// eachPolicy lists both families; the library takes an address's family from what it asked for.
func eachPolicy(f func(*netlink.XfrmPolicy)) error {
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		list, err := netlink.XfrmPolicyList(family)
		if err != nil {
			return excuse(err)
		}
		for i := range list {
			f(&list[i])
		}
	}
	return nil
}

func blockOf(p *netlink.XfrmPolicy) block {
	b := block{In: p.Dir == netlink.XFRM_DIR_IN}
	local, remote, port := p.Src, p.Dst, p.SrcPort
	if b.In {
		local, remote, port = p.Dst, p.Src, p.DstPort
	}
	b.Local = netip.AddrPortFrom(prefixOf(local).Addr(), uint16(port))
	b.Remote = prefixOf(remote)
	if p.Mark != nil {
		b.Mark, b.Mask = p.Mark.Value, p.Mark.Mask
	}
	return b
}

func prefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	a, _ := netip.AddrFromSlice(n.IP)
	bits, of := n.Mask.Size()
	if of == 32 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, bits)
}

func (b block) policy() *netlink.XfrmPolicy {
	p := &netlink.XfrmPolicy{Proto: unix.IPPROTO_UDP, Priority: wallPriority, Action: netlink.XFRM_POLICY_BLOCK}
	bits := b.Local.Addr().BitLen()
	if b.Local.Addr().IsUnspecified() {
		bits = 0
	}
	local, remote := ipNet(netip.PrefixFrom(b.Local.Addr(), bits)), ipNet(b.Remote)
	if b.In {
		p.Dir, p.Src, p.Dst, p.DstPort = netlink.XFRM_DIR_IN, remote, local, int(b.Local.Port())
	} else {
		p.Dir, p.Src, p.Dst, p.SrcPort = netlink.XFRM_DIR_OUT, local, remote, int(b.Local.Port())
	}
	if b.Mask != 0 {
		p.Mark = &netlink.XfrmMark{Value: b.Mark, Mask: b.Mask}
	}
	return p
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func (xfrm) Block(b block) error {
	err := netlink.XfrmPolicyAdd(b.policy())
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return excuse(err)
}

func (xfrm) Unblock(b block) error {
	err := netlink.XfrmPolicyDel(b.policy())
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return excuse(err)
}

// xfrmSnapshot is a snapshot of SAs, all of them, and of policies for L2TP.
type xfrmSnapshot struct {
	states   []netlink.XfrmState
	policies []netlink.XfrmPolicy
}

func (xfrm) Snapshot(listen []netip.AddrPort) (snapshot, error) {
	s := &xfrmSnapshot{}
	var err error
	if s.states, err = netlink.XfrmStateList(netlink.FAMILY_ALL); err != nil {
		return nil, excuse(err)
	}
	err = eachPolicy(func(p *netlink.XfrmPolicy) {
		if forL2TP(p, listen) && len(p.Tmpls) > 0 {
			s.policies = append(s.policies, *p)
		}
	})
	return s, err
}

func (s *xfrmSnapshot) Sweep(live alive) (int, error) {
	known := map[int]bool{} // reqids of SAs that live
	for i := range s.states {
		if live.spis[uint32(s.states[i].Spi)] {
			known[s.states[i].Reqid] = true
		}
	}
	var errs []error
	stale := map[int]bool{} // reqids of policies for L2TP that belong to nobody
	for i := range s.policies {
		p := &s.policies[i]
		reqid := p.Tmpls[0].Reqid
		if known[reqid] && (p.Mark == nil || live.marks[p.Mark.Value]) {
			continue
		}
		stale[reqid] = true
		if err := netlink.XfrmPolicyDel(p); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, err)
		}
	}
	n := 0
	for i := range s.states {
		st := &s.states[i]
		if st.Proto != netlink.XFRM_PROTO_ESP || live.spis[uint32(st.Spi)] || !stale[st.Reqid] {
			continue
		}
		if err := netlink.XfrmStateDel(st); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("SPI %08x: %w", st.Spi, err))
			continue
		}
		n++
	}
	return n, errors.Join(errs...)
}

func (xfrm) Early(c early.Config) (io.Closer, error) {
	k, err := early.Open(c)
	if err != nil {
		return nil, err
	}
	return k, nil
}

// forL2TP says whether a policy protects UDP of one of our addresses' ports.
func forL2TP(p *netlink.XfrmPolicy, listen []netip.AddrPort) bool {
	if p.Proto != unix.IPPROTO_UDP || p.Priority == wallPriority {
		return false
	}
	local, port := prefixOf(p.Src), p.SrcPort
	if p.Dir != netlink.XFRM_DIR_OUT {
		local, port = prefixOf(p.Dst), p.DstPort
	}
	for _, l := range listen {
		if int(l.Port()) == port && (l.Addr().IsUnspecified() || local.Addr() == l.Addr()) {
			return true
		}
	}
	return false
}
