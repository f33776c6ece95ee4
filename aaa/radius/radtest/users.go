package radtest

import (
	"bytes"
	"crypto/md5"
	"crypto/subtle"
	"strings"

	"layeh.com/radius"
	"layeh.com/radius/rfc2759"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/vendors/microsoft"
)

// authenticate answers an Access-Request.
func (s *Server) authenticate(p *radius.Packet, how *Behaviour) *radius.Packet {
	if s.cfg.Script != nil {
		return s.cfg.Script(p)
	}
	name := rfc2865.UserName_GetString(p)
	user, ok := s.cfg.Users[name]
	if !ok && s.cfg.AnyPassword != "" {
		user, ok = User{Password: s.cfg.AnyPassword}, true
	}
	accept := p.Response(radius.CodeAccessAccept)
	if ok && !how.Reject && p.Get(rfc2869.EAPMessage_Type) != nil {
		r := eap(p, accept, user.Password)
		if r == accept {
			s.grant(accept, &user)
		}
		return r
	}
	if how.Reject || !ok || !verify(p, accept, name, user.Password) {
		return refuse(p)
	}
	s.grant(accept, &user)
	return accept
}

// grant adds what a user gets.
func (s *Server) grant(accept *radius.Packet, user *User) {
	accept.Attributes = append(accept.Attributes, user.Reply...)
	accept.Attributes = append(accept.Attributes, s.cfg.Reply...)
}

func refuse(p *radius.Packet) *radius.Packet {
	r := p.Response(radius.CodeAccessReject)
	_ = rfc2865.ReplyMessage_AddString(r, "wrong name or password")
	if v := microsoft.MSCHAP2Response_Get(p); len(v) > 0 {
		_ = microsoft.MSCHAPError_Add(r, append(v[:1:1], "E=691 R=0 C=00000000000000000000000000000000 V=3 M=wrong name or password"...))
	}
	return r
}

// verify checks the password by whichever method the request uses, and adds
// to the answer what the method wants there.
func verify(p, accept *radius.Packet, name, password string) bool {
	if v := p.Get(rfc2865.UserPassword_Type); v != nil {
		clear, err := radius.UserPassword(v, p.Secret, p.Authenticator[:])
		return err == nil && subtle.ConstantTimeCompare(clear, []byte(password)) == 1
	}
	if v := p.Get(rfc2865.CHAPPassword_Type); len(v) == 17 {
		return verifyCHAP(p, v, password)
	}
	if v := microsoft.MSCHAP2Response_Get(p); len(v) == 50 {
		return verifyMSCHAP(p, accept, v, name, password)
	}
	return false
}

func verifyCHAP(p *radius.Packet, v []byte, password string) bool {
	challenge := p.Get(rfc2865.CHAPChallenge_Type)
	if challenge == nil {
		challenge = p.Authenticator[:]
	}
	h := md5.New()
	h.Write(v[:1])
	h.Write([]byte(password))
	h.Write(challenge)
	return subtle.ConstantTimeCompare(h.Sum(nil), v[1:]) == 1
}

func verifyMSCHAP(p, accept *radius.Packet, v []byte, name, password string) bool {
	challenge, peer, response := microsoft.MSCHAPChallenge_Get(p), v[2:18], v[26:50]
	if len(challenge) != 16 {
		return false
	}
	// RFC 2759 section 4: the name counts without its Windows domain.
	for _, n := range []string{name, name[strings.LastIndexByte(name, '\\')+1:]} {
		want, err := rfc2759.GenerateNTResponse(challenge, peer, []byte(n), []byte(password))
		if err != nil || !bytes.Equal(want, response) {
			continue
		}
		success, err := rfc2759.GenerateAuthenticatorResponse(challenge, peer, response, []byte(n), []byte(password))
		if err != nil {
			return false
		}
		return microsoft.MSCHAP2Success_Add(accept, append(v[:1:1], success...)) == nil
	}
	return false
}
