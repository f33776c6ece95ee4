package ops

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	culvertv1 "culvert/proto/culvert/v1"
)

// text makes what a LAC or a subscriber sent fit a protobuf string, which must
// be UTF-8: one odd octet must not make a whole listing fail.
func text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// maxReason bounds what an operator may say to LACs and logs.
const maxReason = 200

// reason reads a request's reason.
func reason(s, otherwise string) (string, error) {
	if s == "" {
		return otherwise, nil
	}
	if len(s) > maxReason {
		return "", invalid("reason: has %d octets, %d are allowed", len(s), maxReason)
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", invalid("reason: has a control character; write one plain line")
	}
	return s, nil
}

// redact is a request as it may be logged: without secrets.
func redact(req any) string {
	m, ok := req.(proto.Message)
	if !ok {
		return ""
	}
	switch r := m.(type) {
	case *culvertv1.AddLACRequest:
		m = &culvertv1.AddLACRequest{Lac: withoutSecret(r.GetLac())}
	case *culvertv1.ChangeLACRequest:
		m = &culvertv1.ChangeLACRequest{Lac: withoutSecret(r.GetLac()), UpdateMask: r.GetUpdateMask()}
	}
	return compact(m)
}

func withoutSecret(l *culvertv1.LAC) *culvertv1.LAC {
	s := l.GetIpsec()
	if l.GetSecret() == "" && s.GetPsk() == "" && s.GetKey() == "" {
		return l
	}
	l = proto.CloneOf(l)
	if l.GetSecret() != "" {
		l.Secret, l.HasSecret = "", true
	}
	if s := l.GetIpsec(); s != nil {
		s.HasPsk, s.HasKey = s.HasPsk || s.Psk != "", s.HasKey || s.Key != ""
		s.Psk, s.Key = "", ""
	}
	return l
}

// compact is a message on one line. prototext varies its spaces on purpose; a
// log line should not.
func compact(m proto.Message) string {
	b, err := prototext.MarshalOptions{}.Marshal(m)
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(b)), " ")
}

// tunnelName is how people write a tunnel: its id, and before it the local
// address where that is needed.
func tunnelName(local string, id uint32) string {
	if local == "" {
		return strconv.FormatUint(uint64(id), 10)
	}
	return local + "/" + strconv.FormatUint(uint64(id), 10)
}
