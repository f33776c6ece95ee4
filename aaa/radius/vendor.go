package radius

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"culvert/aaa"
)

// vendorAddr says where a vendor's address attribute goes in a grant.
type vendorAddr struct {
	name  string
	field func(*aaa.Grant) *netip.Addr
}

func dns(i int) func(*aaa.Grant) *netip.Addr {
	return func(g *aaa.Grant) *netip.Addr { return &g.DNS[i] }
}
func nbns(i int) func(*aaa.Grant) *netip.Addr {
	return func(g *aaa.Grant) *netip.Addr { return &g.NBNS[i] }
}

// vendorType is a vendor and one of its attributes.
type vendorType struct {
	vendor uint32
	t      byte
}

var vendorAddrs = map[vendorType]vendorAddr{
	{vendorMicrosoft, 28}: {"MS-Primary-DNS-Server", dns(0)},
	{vendorMicrosoft, 29}: {"MS-Secondary-DNS-Server", dns(1)},
	{vendorMicrosoft, 30}: {"MS-Primary-NBNS-Server", nbns(0)},
	{vendorMicrosoft, 31}: {"MS-Secondary-NBNS-Server", nbns(1)},
	{vendorAscend, 135}:   {"Ascend-Client-Primary-DNS", dns(0)},
	{vendorAscend, 136}:   {"Ascend-Client-Secondary-DNS", dns(1)},
	{vendorAscend, 78}:    {"Ascend-Client-Primary-WINS", nbns(0)},
	{vendorAscend, 79}:    {"Ascend-Client-Secondary-WINS", nbns(1)},
	{vendorHuawei, 135}:   {"Huawei-Primary-DNS", dns(0)},
	{vendorHuawei, 136}:   {"Huawei-Secondary-DNS", dns(1)},
	{vendorHuawei, 75}:    {"Huawei-Primary-WINS", nbns(0)},
	{vendorHuawei, 76}:    {"Huawei-Secondary-WINS", nbns(1)},
	{vendorRedback, 1}:    {"Client-DNS-Pri", dns(0)},
	{vendorRedback, 2}:    {"Client-DNS-Sec", dns(1)},
	{vendorRedback, 99}:   {"RB-Client-NBNS-Pri", nbns(0)},
	{vendorRedback, 100}:  {"RB-Client-NBNS-Sec", nbns(1)},
	{vendorERX, 4}:        {"ERX-Primary-Dns", dns(0)},
	{vendorERX, 5}:        {"ERX-Secondary-Dns", dns(1)},
	{vendorERX, 6}:        {"ERX-Primary-Wins", nbns(0)},
	{vendorERX, 7}:        {"ERX-Secondary-Wins", nbns(1)},
	{vendorNokia, 9}:      {"Alc-Primary-Dns", dns(0)},
	{vendorNokia, 10}:     {"Alc-Secondary-Dns", dns(1)},
	{vendorNokia, 29}:     {"Alc-Primary-Nbns", nbns(0)},
	{vendorNokia, 30}:     {"Alc-Secondary-Nbns", nbns(1)},
}

// vendorPools are vendors' attributes that name an address pool.
var vendorPools = map[vendorType]bool{
	{vendorERX, 2}:      true, // ERX-Address-Pool-Name
	{vendorRedback, 36}: true, // IP-Address-Pool-Name
	{vendorHuawei, 88}:  true, // Huawei-Framed-Pool
}

// known says whether a vendor's attributes are looked into: others may have any
// form inside (RFC 2865 section 5.26).
func known(vendor uint32) bool {
	switch vendor {
	case vendorCisco, vendorMicrosoft, vendorAscend, vendorHuawei, vendorRedback, vendorERX, vendorNokia:
		return true
	}
	return false
}

func (d *decoder) vendorSpecific(v []byte) error {
	if len(v) < 4 {
		return &attrError{"Vendor-Specific", fmt.Sprintf("has %d octets, too few for a vendor", len(v))}
	}
	vendor := binary.BigEndian.Uint32(v)
	if !known(vendor) {
		return nil
	}
	for v = v[4:]; len(v) > 0; v = v[v[1]:] {
		if len(v) < 2 || v[1] < 2 || int(v[1]) > len(v) {
			return &attrError{fmt.Sprintf("Vendor-Specific of vendor %d", vendor), "has an attribute of wrong length"}
		}
		if err := d.vendorAttribute(vendorType{vendor, v[0]}, v[2:v[1]]); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) vendorAttribute(t vendorType, v []byte) error {
	if a, ok := vendorAddrs[t]; ok {
		addr, err := ipv4(a.name, v)
		if err == nil && addr.IsValid() {
			*a.field(&d.grant) = addr
		}
		return err
	}
	switch {
	case vendorPools[t]:
		// Framed-Pool, which everybody has, goes before.
		if d.grant.Pool == "" {
			d.grant.Pool = string(v)
		}
	case t == vendorType{vendorMicrosoft, msCHAP2Success}:
		return d.mschapSuccess(v)
	case t == vendorType{vendorMicrosoft, msCHAPError}:
		d.mschapError = mschapText(v)
	case t == vendorType{vendorCisco, 1}:
		return d.ciscoPair(string(v))
	}
	return nil
}

// mschapSuccess reads an identifier and "S=" with 40 hexadecimal digits (RFC
// 2548 section 2.3.3).
func (d *decoder) mschapSuccess(v []byte) error {
	if len(v) < 43 || string(v[1:3]) != "S=" {
		return &attrError{"MS-CHAP2-Success", `is not an identifier and "S=" with 40 digits`}
	}
	d.grant.MSCHAPSuccess = string(v[1:])
	return nil
}

// mschapText reads MS-CHAP-Error's text. The identifier in front (RFC 2548
// section 2.1.5) is left out by some servers.
func mschapText(v []byte) string {
	if len(v) > 2 && v[1] == 'E' && v[2] == '=' {
		return string(v[1:])
	}
	return string(v)
}

// ciscoPair reads the Cisco-AVPairs that say what standard attributes say, and
// skips all others.
func (d *decoder) ciscoPair(s string) error {
	name, value, _ := strings.Cut(strings.TrimRight(s, "\x00"), "=")
	switch name {
	case "ip:addr-pool":
		if d.grant.Pool == "" {
			d.grant.Pool = value
		}
	case "ip:dns-servers", "ip:wins-servers":
		to := &d.grant.DNS
		if name == "ip:wins-servers" {
			to = &d.grant.NBNS
		}
		for i, f := range strings.Fields(value) {
			a, err := netip.ParseAddr(f)
			if err != nil || !a.Is4() {
				return &attrError{"Cisco-AVPair", fmt.Sprintf("%q does not list IPv4 addresses", s)}
			}
			if i < len(to) {
				to[i] = a
			}
		}
	}
	return nil
}
