package radtest

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/subtle"

	"layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2869"
)

// The octets of EAP that MD5-Challenge needs (RFC 3748 sections 4 and 5.4).
const (
	eapRequest  = 1
	eapResponse = 2
	eapSuccess  = 3
	eapFailure  = 4
	eapIdentity = 1
	eapMD5      = 4
)

// eap answers an Access-Request with EAP-Message, by MD5-Challenge: whoever said its identity is
// challenged. The challenge is in State, so that the server has nothing to remember; a
// server that is not for labs must not do so.
func eap(p *radius.Packet, accept *radius.Packet, password string) *radius.Packet {
	packet, _ := rfc2869.EAPMessage_Lookup(p)
	if len(packet) < 5 || packet[0] != eapResponse {
		return eapResult(refuse(p), eapFailure, 0)
	}
	id, typ, data := packet[1], packet[4], packet[5:]
	switch challenge := rfc2865.State_Get(p); {
	case typ == eapIdentity:
		challenge = make([]byte, 16)
		_, _ = rand.Read(challenge)
		r := p.Response(radius.CodeAccessChallenge)
		_ = rfc2865.State_Set(r, challenge)
		_ = rfc2869.EAPMessage_Set(r, append([]byte{eapRequest, id + 1, 0, 22, eapMD5, 16}, challenge...))
		return r
	case typ == eapMD5 && len(data) >= 17 && data[0] == 16 && len(challenge) == 16 && rightMD5(id, password, challenge, data[1:17]):
		return eapResult(accept, eapSuccess, id)
	}
	return eapResult(refuse(p), eapFailure, id)
}

func rightMD5(id byte, password string, challenge, response []byte) bool {
	want := md5.Sum(append(append([]byte{id}, password...), challenge...))
	return subtle.ConstantTimeCompare(want[:], response) == 1
}

func eapResult(r *radius.Packet, code, id byte) *radius.Packet {
	_ = rfc2869.EAPMessage_Set(r, []byte{code, id, 0, 4})
	return r
}
