package radius

import (
	"fmt"
	"time"

	"culvert/aaa"

	"layeh.com/radius"
)

// EAP over RADIUS (RFC 3579). A conversation belongs to the server that began
// it: State means nothing to another. The State of an aaa.Challenge is therefore the index
// of the server in its group, in one octet, and then the server's State, if it sent one.

// invalidEAPPacket is the Error-Cause with which a server says that it has ignored a
// Response (RFC 3579 section 2.2).
const invalidEAPPacket = 202

// affinity says which servers an exchange must not be given to, as bits: for the
// rest of a conversation, all but the one that began it.
func (g *group) affinity(req *aaa.Request) (uint64, error) {
	if req.EAP == nil || len(req.EAP.State) == 0 {
		return 0, nil
	}
	i := int(req.EAP.State[0])
	if i >= len(g.servers) {
		return 0, fmt.Errorf("radius: State names server %d of %d", i, len(g.servers))
	}
	return ^(uint64(1) << i), nil
}

// eap appends the subscriber's Response, in as many EAP-Messages as it needs, side by side
// (RFC 3579 section 3.1), with the State that it answers and the MTU that the
// server's fragments have to fit (section 2.4).
func (e *encoder) eap(c *aaa.EAPResponse) error {
	if c == nil || len(c.Packet) == 0 {
		return fmt.Errorf("no EAP packet in a request by EAP")
	}
	// What else is in the request has to find room behind it.
	if attributes := (len(c.Packet) + maxValue - 1) / maxValue; len(e.b)+len(c.Packet)+2*attributes > maxPacket/2 {
		return fmt.Errorf("EAP packet of %d octets is too long for RADIUS", len(c.Packet))
	}
	for rest := c.Packet; len(rest) > 0; {
		n := min(len(rest), maxValue)
		e.octets(typeEAPMessage, rest[:n])
		rest = rest[n:]
	}
	if len(c.State) > 1 {
		e.octets(typeState, c.State[1:])
	}
	if c.MTU != 0 {
		e.integer(typeFramedMTU, uint32(c.MTU))
	}
	return nil
}

// eapAttrs is what only answers to EAP have.
type eapAttrs struct {
	// message is the EAP-Messages put together; state is the State, and states how many there were.
	message, state []byte
	states         int
	errorCause     uint32
}

// eapAttribute reads one of them.
func (d *decoder) eapAttribute(t radius.Type, v []byte) (err error) {
	if d.eap == nil {
		d.eap = &eapAttrs{}
	}
	switch t {
	case typeEAPMessage:
		d.eap.message = append(d.eap.message, v...)
	case typeState:
		d.eap.state, d.eap.states = append([]byte(nil), v...), d.eap.states+1
	case typeErrorCause:
		d.eap.errorCause, err = integer("Error-Cause", v)
	}
	return err
}

// eapPacket is the EAP packet for the subscriber; nil where there is none.
func (d *decoder) eapPacket() []byte {
	if d.eap == nil {
		return nil
	}
	return d.eap.message
}

// decodeChallenge reads an Access-Challenge to a request by EAP from the server
// of that index. Without EAP-Message there is nothing to ask the subscriber, and it is a rejection
// (RFC 2865 section 4.4); an error that is no *aaa.RejectError tells of a malformed answer.
func decodeChallenge(b []byte, index int) (*aaa.Challenge, error) {
	var d decoder
	if err := d.attributes(b); err != nil {
		return nil, err
	}
	if d.eap == nil || len(d.eap.message) == 0 {
		return nil, &aaa.RejectError{Message: "the RADIUS server challenges without an EAP-Message"}
	}
	if d.eap.states > 1 {
		return nil, &attrError{"State", fmt.Sprintf("is there %d times", d.eap.states)}
	}
	return &aaa.Challenge{
		EAP: d.eap.message, State: append([]byte{byte(index)}, d.eap.state...),
		Timeout: min(d.grant.SessionTimeout, maxChallengeTimeout), Ignored: d.eap.errorCause == invalidEAPPacket,
	}, nil
}

// maxChallengeTimeout bounds what a server may ask for in an Access-Challenge.
const maxChallengeTimeout = 10 * time.Minute
