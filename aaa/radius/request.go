package radius

import (
	"fmt"
	"net/netip"
	"time"

	"culvert/aaa"

	"layeh.com/radius"
)

// encoder makes one server's requests. It belongs to the server's sending
// goroutine.
type encoder struct {
	builder
	*signer
	nasID   string
	nasAddr netip.Addr
}

// accessRequest encodes an Access-Request with the given Request
// Authenticator. The error, if any, is for the subscriber: it can never be
// authenticated with such credentials.
func (e *encoder) accessRequest(id byte, auth *[16]byte, r *aaa.Request, now time.Time) ([]byte, error) {
	e.header(radius.CodeAccessRequest, id)
	copy(e.b[authenticator:], auth[:])
	// First, as draft-ietf-radext-deprecating-radius recommends against CVE-2024-3596.
	at := e.placeSignature()
	if len(r.Identity.User) > maxValue {
		return nil, fmt.Errorf("user name of %d octets is too long for RADIUS", len(r.Identity.User))
	}
	e.text(typeUserName, r.Identity.User)
	if err := e.credentials(&r.Credentials, auth); err != nil {
		return nil, err
	}
	e.nas(&r.Identity)
	e.line(&r.Identity)
	e.tunnel(&r.Identity)
	e.accessLine(r.Identity.Line)
	e.text(typeAcctSessionID, r.Identity.AcctSessionID)
	e.integer(typeEventTimestamp, uint32(now.Unix()))
	p := e.finish()
	e.signRequest(p, at)
	return p, nil
}

func (e *encoder) credentials(c *aaa.Credentials, auth *[16]byte) error {
	switch c.Method {
	case aaa.MethodPAP:
		if len(c.Password) > maxPasswordLen {
			return fmt.Errorf("password of %d octets is too long for RADIUS", len(c.Password))
		}
		v, err := radius.NewUserPassword(c.Password, e.secret, auth[:])
		if err != nil {
			return err
		}
		e.octets(typeUserPassword, v)
	case aaa.MethodCHAP:
		return e.chap(c)
	case aaa.MethodMSCHAPv2:
		return e.mschap(c)
	case aaa.MethodEAP:
		return e.eap(c.EAP)
	}
	return nil
}

func (e *encoder) chap(c *aaa.Credentials) error {
	if len(c.Response) != chapResponseLen {
		return fmt.Errorf("CHAP response of %d octets instead of %d", len(c.Response), chapResponseLen)
	}
	if len(c.Challenge) == 0 || len(c.Challenge) > maxValue {
		return fmt.Errorf("CHAP challenge of %d octets", len(c.Challenge))
	}
	var v [1 + chapResponseLen]byte
	v[0] = c.ID
	copy(v[1:], c.Response)
	e.octets(typeCHAPPassword, v[:])
	e.octets(typeCHAPChallenge, c.Challenge)
	return nil
}

// mschap turns the response of RFC 2759 section 4 into the attributes of RFC 2548
// section 2.3, which has the same fields in another order.
func (e *encoder) mschap(c *aaa.Credentials) error {
	if len(c.Response) != mschapResponseLen || len(c.Challenge) != mschapChallengeLen {
		return fmt.Errorf("MS-CHAPv2 response of %d octets to a challenge of %d", len(c.Response), len(c.Challenge))
	}
	var v [mschap2ResponseSize]byte
	v[0], v[1] = c.ID, c.Response[48]
	copy(v[2:], c.Response[:48])
	e.vendor(vendorMicrosoft, msCHAPChallenge, c.Challenge)
	e.vendor(vendorMicrosoft, msCHAP2Response, v[:])
	return nil
}

// nas appends who asks, and for which kind of service.
func (e *encoder) nas(id *aaa.Identity) {
	e.text(typeNASIdentifier, e.nasID)
	e.addr(typeNASIPAddress, typeNASIPv6Address, e.nasAddr)
	e.integer(typeNASPort, id.NASPort)
	e.integer(typeNASPortType, portVirtual)
	e.text(typeNASPortID, id.NASPortID)
	e.integer(typeServiceType, serviceFramed)
	e.integer(typeFramedProtocol, protocolPPP)
}

func (e *encoder) line(id *aaa.Identity) {
	e.text(typeCalledStationID, id.CalledStation)
	e.text(typeCallingStationID, id.CallingStation)
	e.text(typeConnectInfo, id.ConnectInfo)
}

// tunnel appends the attributes of RFC 2868, with tag 0.
func (e *encoder) tunnel(id *aaa.Identity) {
	e.integer(typeTunnelType, tunnelL2TP)
	medium := uint32(mediumIPv4)
	if c := id.TunnelClient.Unmap(); c.Is6() {
		medium = mediumIPv6
	}
	e.integer(typeTunnelMedium, medium)
	if id.TunnelClient.IsValid() {
		e.text(typeTunnelClientEndpoint, id.TunnelClient.Unmap().String())
	}
	if id.TunnelServer.IsValid() {
		e.text(typeTunnelServerEndpoint, id.TunnelServer.Unmap().String())
	}
	e.tagged(typeTunnelClientAuthID, id.TunnelClientName)
	e.tagged(typeTunnelServerAuthID, id.TunnelServerName)
	e.tagged(typeTunnelAssignmentID, id.TunnelAssignment)
	e.tagged(typeTunnelPrivateGroup, id.PrivateGroup)
}

// accountingRequest encodes an Accounting-Request (RFC 2866 section 4.1).
func (e *encoder) accountingRequest(id byte, u *aaa.Usage, now time.Time) []byte {
	e.header(radius.CodeAccountingRequest, id)
	e.integer(typeAcctStatusType, uint32(u.Kind))
	e.text(typeAcctSessionID, u.Identity.AcctSessionID)
	e.text(typeUserName, u.Identity.User)
	for _, c := range u.Class {
		e.octets(typeClass, c)
	}
	e.addr(typeFramedIPAddress, 0, u.Address)
	e.nas(&u.Identity)
	e.integer(typeAcctAuthentic, authenticRADIUS)
	e.integer(typeEventTimestamp, uint32(u.At.Unix()))
	e.integer(typeAcctDelayTime, delay(u, now))
	if u.Kind != aaa.UsageStart {
		e.counters(u)
	}
	if u.Kind == aaa.UsageStop {
		e.integer(typeAcctTerminate, uint32(u.Cause))
	}
	e.line(&u.Identity)
	e.tunnel(&u.Identity)
	e.tagged(typeTunnelConnection, u.Identity.TunnelConnection)
	if u.Kind == aaa.UsageStart {
		e.accessLine(u.Identity.Line)
	}
	// Last, because a packet may have no room for all of them.
	for _, r := range u.Routes {
		if r.Addr().Is4() {
			e.text(typeFramedRoute, r.String()+" 0.0.0.0 1")
		}
	}
	p := e.finish()
	e.signHashed(p, 0)
	return p
}

func (e *encoder) counters(u *aaa.Usage) {
	e.integer(typeAcctSessionTime, uint32(u.Duration/time.Second))
	e.integer(typeAcctInputOctets, uint32(u.InOctets))
	e.integer(typeAcctInputGigawords, uint32(u.InOctets>>32))
	e.integer(typeAcctOutputOctets, uint32(u.OutOctets))
	e.integer(typeAcctOutputGigawords, uint32(u.OutOctets>>32))
	e.integer(typeAcctInputPackets, uint32(u.InPackets))
	e.integer(typeAcctOutputPackets, uint32(u.OutPackets))
}

// delay is Acct-Delay-Time: how many seconds ago the record was made.
func delay(u *aaa.Usage, now time.Time) uint32 {
	if u.At.IsZero() || now.Before(u.At) {
		return 0
	}
	return uint32(min(now.Sub(u.At)/time.Second, 1<<32-1))
}

// statusServer encodes a Status-Server (RFC 5997 section 3).
func (e *encoder) statusServer(id byte, auth *[16]byte) []byte {
	e.header(radius.CodeStatusServer, id)
	copy(e.b[authenticator:], auth[:])
	at := e.placeSignature()
	e.text(typeNASIdentifier, e.nasID)
	e.addr(typeNASIPAddress, typeNASIPv6Address, e.nasAddr)
	p := e.finish()
	e.signRequest(p, at)
	return p
}
