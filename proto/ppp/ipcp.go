package ppp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// The types of IPCP's options (RFC 1332 section 3, RFC 1877 section 1).
const (
	OptionIPAddresses   uint8 = 1
	OptionIPCompression uint8 = 2
	OptionIPAddress     uint8 = 3
	OptionPrimaryDNS    uint8 = 129
	OptionPrimaryNBNS   uint8 = 130
	OptionSecondaryDNS  uint8 = 131
	OptionSecondaryNBNS uint8 = 132
)

// IPCPConfig is a set of IPCP options: zero Addrs are absent, 0.0.0.0 asks.
type IPCPConfig struct {
	Address netip.Addr
	// Compression is the IP-Compression-Protocol: 0x002d is Van Jacobson's.
	// Its data are not kept.
	Compression uint16
	// DNS and NBNS are primary and secondary servers.
	DNS, NBNS [2]netip.Addr
}

// Addr is the field that an address option of this type belongs to, or nil
// for any other type.
func (c *IPCPConfig) Addr(typ uint8) *netip.Addr {
	switch typ {
	case OptionIPAddress:
		return &c.Address
	case OptionPrimaryDNS:
		return &c.DNS[0]
	case OptionSecondaryDNS:
		return &c.DNS[1]
	case OptionPrimaryNBNS:
		return &c.NBNS[0]
	case OptionSecondaryNBNS:
		return &c.NBNS[1]
	}
	return nil
}

// Set puts one option into c. Errors are ErrUnknownOption, also for the
// deprecated IP-Addresses, or wrap ErrOptionValue; c is then unchanged.
func (c *IPCPConfig) Set(o Option) error {
	if o.Type == OptionIPCompression && len(o.Value) >= 2 {
		c.Compression = binary.BigEndian.Uint16(o.Value)
		return nil
	}
	field := c.Addr(o.Type)
	if field == nil && o.Type != OptionIPCompression {
		return ErrUnknownOption
	}
	if len(o.Value) != 4 || field == nil {
		return fmt.Errorf("%w: option %d with %d octets", ErrOptionValue, o.Type, len(o.Value))
	}
	*field = netip.AddrFrom4([4]byte(o.Value))
	return nil
}

// ParseIPCPConfig decodes all options of a Configure-Request, strictly: any
// unknown or invalid option is an error.
func ParseIPCPConfig(b []byte) (IPCPConfig, error) {
	var c IPCPConfig
	if err := setAll(b, c.Set); err != nil {
		return IPCPConfig{}, err
	}
	return c, nil
}

// Append appends the options that are present, in the order of their types.
func (c *IPCPConfig) Append(dst []byte) []byte {
	if c.Compression != 0 {
		dst = appendOption16(dst, OptionIPCompression, c.Compression)
	}
	for _, typ := range [...]uint8{OptionIPAddress, OptionPrimaryDNS, OptionPrimaryNBNS, OptionSecondaryDNS, OptionSecondaryNBNS} {
		if a := c.Addr(typ); a.Is4() {
			v := a.As4()
			dst = AppendOption(dst, typ, v[:])
		}
	}
	return dst
}
