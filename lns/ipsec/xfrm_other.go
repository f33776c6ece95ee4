//go:build !linux

package ipsec

import "net/netip"

// noXFRM is a system without XFRM.
type noXFRM struct{}

func newKernel() kernel { return noXFRM{} }

func (noXFRM) Blocks() ([]block, error)                    { return nil, errNoKernel }
func (noXFRM) Block(block) error                           { return errNoKernel }
func (noXFRM) Unblock(block) error                         { return errNoKernel }
func (noXFRM) Snapshot([]netip.AddrPort) (snapshot, error) { return nil, errNoKernel }
