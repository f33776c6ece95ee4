package ipsec

import (
	"net/netip"
	"strconv"
	"time"

	"culvert/lns"
	"culvert/lns/ipsec/vici"
)

// child is one CHILD_SA as charon shows it in list-sa and its events.
type child struct {
	sa     lns.SA
	spiIn  string
	spiOut string
	state  string
	usage  lns.SAUsage
	// localID is the identity that is ours to the peer.
	localID string
}

// ikeFacts is what all CHILD_SAs of an IKE SA share.
type ikeFacts struct {
	conn    string
	profile string
	localID string
	sa      lns.SA // with the fields of the IKE SA
}

// parseIKE reads an IKE SA's section; false where it is none of ours.
func parseIKE(it *vici.Item) (ikeFacts, bool) {
	profile, ok := profileOf(it.Name)
	if !ok || it.Kind != vici.Sub {
		return ikeFacts{}, false
	}
	s := it.Sub
	f := ikeFacts{conn: it.Name, profile: profile, localID: s.Get("local-id")}
	f.sa = lns.SA{
		Profile: profile, Identity: s.Get("remote-id"), IKEVersion: int(number(s.Get("version"))), IKEID: uint32(number(s.Get("uniqueid"))),
		Local:  addrPort(s.Get("local-host"), s.Get("local-port")),
		Remote: addrPort(s.Get("remote-host"), s.Get("remote-port")),
	}
	// Who has proved itself by EAP or XAuth is known by that name: the IKE identity proves nothing then.
	for _, key := range []string{"remote-eap-id", "remote-xauth-id"} {
		if id := s.Get(key); id != "" {
			f.sa.Identity = id
		}
	}
	return f, true
}

// parseChild reads a CHILD_SA's section.
func (f *ikeFacts) parseChild(s vici.Section, now time.Time) child {
	c := child{sa: f.sa, spiIn: s.Get("spi-in"), spiOut: s.Get("spi-out"), state: s.Get("state"), localID: f.localID}
	c.sa.ChildID = uint32(number(s.Get("uniqueid")))
	c.sa.Mark = mark(s.Get("mark-in"))
	c.sa.ESP = lns.ESP{
		Encryption: s.Get("encr-alg"), Integrity: s.Get("integ-alg"), KeyBits: int(number(s.Get("encr-keysize"))),
		Encapsulated: s.Get("encap") == "yes", Tunnel: s.Get("mode") == "TUNNEL",
	}
	c.sa.Since = now.Add(-time.Duration(number(s.Get("install-time"))) * time.Second)
	c.usage = lns.SAUsage{
		InOctets: number(s.Get("bytes-in")), InPackets: number(s.Get("packets-in")),
		OutOctets: number(s.Get("bytes-out")), OutPackets: number(s.Get("packets-out")),
		SPIIn: c.spiIn, SPIOut: c.spiOut, State: c.state,
		Rekey: after(now, s.Get("rekey-time")), Expires: after(now, s.Get("life-time")),
	}
	return c
}

// carries says whether packets can pass through a CHILD_SA in its state. One
// that was rekeyed still takes what was under way.
func (c *child) carries() bool {
	switch c.state {
	case "INSTALLED", "REKEYING", "REKEYED", "UPDATING":
		return true
	}
	return false
}

// number reads a number, 0 where there is none.
func number(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

// mark reads a mark, which charon writes in hexadecimal.
func mark(s string) uint32 {
	n, _ := strconv.ParseUint(s, 16, 32)
	return uint32(n)
}

// after is a time so many seconds from now; charon counts below zero what is overdue.
func after(now time.Time, s string) time.Time {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return time.Time{}
	}
	return now.Add(time.Duration(n) * time.Second)
}

func addrPort(host, port string) netip.AddrPort {
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(number(port)))
}
