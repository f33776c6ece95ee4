//go:build !linux

package ipsec

import (
	"io"
	"net/netip"

	"culvert/lns/ipsec/early"
)

// noXFRM is a system without XFRM.
type noXFRM struct{}

func newKernel() kernel { return noXFRM{} }

func (noXFRM) Blocks() ([]block, error)                    { return nil, errNoKernel }
func (noXFRM) Block(block) error                           { return errNoKernel }
func (noXFRM) Unblock(block) error                         { return errNoKernel }
func (noXFRM) Early(early.Config) (io.Closer, error)       { return nil, errNoKernel }
func (noXFRM) Snapshot([]netip.AddrPort) (snapshot, error) { return nil, errNoKernel }
