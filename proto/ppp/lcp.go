package ppp

import (
	"encoding/binary"
	"fmt"
)

// The types of LCP's options (RFC 1661 section 6, RFC 1662 section 7.1).
const (
	OptionMRU     uint8 = 1
	OptionACCM    uint8 = 2
	OptionAuth    uint8 = 3
	OptionQuality uint8 = 4
	OptionMagic   uint8 = 5
	OptionPFC     uint8 = 7
	OptionACFC    uint8 = 8
)

// DefaultMRU is a peer's MRU when it says nothing, in octets.
const DefaultMRU = 1500

// The algorithms of CHAP (RFC 1994 section 3, RFC 2759 section 3).
const (
	AlgorithmMD5      uint8 = 5
	AlgorithmMSCHAP   uint8 = 0x80
	AlgorithmMSCHAPv2 uint8 = 0x81
)

// Auth is the value of an Authentication-Protocol option. The zero value is
// no authentication.
type Auth struct {
	Protocol Protocol
	// Algorithm is CHAP's; 0 for others.
	Algorithm uint8
}

// The authentication protocols that Culvert speaks.
var (
	AuthPAP      = Auth{Protocol: ProtocolPAP}
	AuthCHAP     = Auth{Protocol: ProtocolCHAP, Algorithm: AlgorithmMD5}
	AuthMSCHAPv2 = Auth{Protocol: ProtocolCHAP, Algorithm: AlgorithmMSCHAPv2}
	AuthEAP      = Auth{Protocol: ProtocolEAP}
)

// LCPConfig is a set of LCP options: zero values are absent.
type LCPConfig struct {
	MRU     uint16
	HasACCM bool
	// ACCM has a bit for each control character to escape; it matters to
	// the LAC only (RFC 1662 section 7.1, RFC 2661 section 6.14).
	ACCM uint32
	Auth Auth
	// Quality is the Quality-Protocol's protocol.
	Quality Protocol
	// Magic is never zero when present.
	Magic     uint32
	PFC, ACFC bool
}

// Set puts one option into c. Errors are ErrUnknownOption, or wrap
// ErrOptionValue for a wrong length or impossible value; c is then unchanged.
func (c *LCPConfig) Set(o Option) error {
	v := o.Value
	if want, ok := lcpOptionLen(o.Type); !ok {
		return ErrUnknownOption
	} else if len(v) < want.min || len(v) > want.max {
		return fmt.Errorf("%w: option %d with %d octets", ErrOptionValue, o.Type, len(v))
	}
	switch o.Type {
	case OptionMRU:
		c.MRU = binary.BigEndian.Uint16(v)
	case OptionACCM:
		c.ACCM, c.HasACCM = binary.BigEndian.Uint32(v), true
	case OptionAuth:
		return c.setAuth(v)
	case OptionQuality:
		c.Quality = Protocol(binary.BigEndian.Uint16(v))
	case OptionMagic:
		return c.setMagic(v)
	case OptionPFC:
		c.PFC = true
	case OptionACFC:
		c.ACFC = true
	}
	return nil
}

// setMagic takes a Magic-Number, which is never zero (RFC 1661 section 6.4).
func (c *LCPConfig) setMagic(v []byte) error {
	m := binary.BigEndian.Uint32(v)
	if m == 0 {
		return fmt.Errorf("%w: magic number 0", ErrOptionValue)
	}
	c.Magic = m
	return nil
}

// setAuth takes an Authentication-Protocol, whose data only CHAP has.
func (c *LCPConfig) setAuth(v []byte) error {
	a := Auth{Protocol: Protocol(binary.BigEndian.Uint16(v))}
	switch {
	case a.Protocol == ProtocolCHAP && len(v) == 3:
		a.Algorithm = v[2]
	case a.Protocol == ProtocolCHAP, (a.Protocol == ProtocolPAP || a.Protocol == ProtocolEAP) && len(v) != 2:
		return fmt.Errorf("%w: authentication protocol %v with %d octets", ErrOptionValue, a.Protocol, len(v))
	}
	c.Auth = a
	return nil
}

// lenRange is how many octets an option's value may have.
type lenRange struct{ min, max int }

// lcpOptionLen says how long a known option's value is.
func lcpOptionLen(typ uint8) (lenRange, bool) {
	switch typ {
	case OptionMRU:
		return lenRange{2, 2}, true
	case OptionACCM, OptionMagic:
		return lenRange{4, 4}, true
	case OptionAuth, OptionQuality:
		return lenRange{2, 253}, true
	case OptionPFC, OptionACFC:
		return lenRange{0, 0}, true
	}
	return lenRange{}, false
}

// ParseLCPConfig decodes all options of a Configure-Request, strictly: any
// unknown or invalid option is an error.
func ParseLCPConfig(b []byte) (LCPConfig, error) {
	var c LCPConfig
	if err := setAll(b, c.Set); err != nil {
		return LCPConfig{}, err
	}
	return c, nil
}

// Append appends the options that are present, in the order of their types.
func (c *LCPConfig) Append(dst []byte) []byte {
	if c.MRU != 0 {
		dst = appendOption16(dst, OptionMRU, c.MRU)
	}
	if c.HasACCM {
		dst = appendOption32(dst, OptionACCM, c.ACCM)
	}
	if c.Auth != (Auth{}) {
		dst = c.Auth.append(dst)
	}
	if c.Quality != 0 {
		dst = appendOption16(dst, OptionQuality, uint16(c.Quality))
	}
	if c.Magic != 0 {
		dst = appendOption32(dst, OptionMagic, c.Magic)
	}
	if c.PFC {
		dst = append(dst, OptionPFC, 2)
	}
	if c.ACFC {
		dst = append(dst, OptionACFC, 2)
	}
	return dst
}

// append appends the Authentication-Protocol option.
func (a Auth) append(dst []byte) []byte {
	if a.Protocol != ProtocolCHAP {
		return appendOption16(dst, OptionAuth, uint16(a.Protocol))
	}
	return append(dst, OptionAuth, 5, byte(a.Protocol>>8), byte(a.Protocol), a.Algorithm)
}

// String gives the usual name, such as "CHAP-MD5".
func (a Auth) String() string {
	switch a {
	case Auth{}:
		return "none"
	case AuthCHAP:
		return "CHAP-MD5"
	case AuthMSCHAPv2:
		return "MS-CHAPv2"
	}
	if a.Protocol == ProtocolCHAP {
		return fmt.Sprintf("CHAP-%d", a.Algorithm)
	}
	return a.Protocol.String()
}
