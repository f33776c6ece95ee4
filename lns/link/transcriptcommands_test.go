package link

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"culvert/proto/ppp"
)

// message is what goes with a verdict: a text, or an EAP packet as eap=HEX.
func (s *script) message(f []string) string {
	text := strings.Join(f, " ")
	if packet, ok := strings.CutPrefix(text, "eap="); ok {
		return string(s.hex(packet))
	}
	return text
}

// challenge reads eap=, state= (both in hexadecimal), timeout= and ignored.
func (s *script) challenge(fields []string) {
	var c Challenge
	for _, f := range fields {
		switch key, value, _ := strings.Cut(f, "="); key {
		case "eap":
			c.Packet = s.hex(value)
		case "state":
			c.State = s.hex(value)
		case "timeout":
			c.Timeout = s.duration(value)
		case "ignored":
			c.Ignored = true
		default:
			s.t.Fatalf("unknown field %q of a challenge", f)
		}
	}
	if err := s.link.Challenge(s.now, &c, s.fx); err != nil {
		s.note("refused: " + err.Error())
	}
}

// wait lets time go by, with every tick that is wanted.
func (s *script) wait(d time.Duration) {
	end := s.now + d
	for s.link.Deadline() <= end {
		s.now = s.link.Deadline()
		s.link.Tick(s.now, s.fx)
		s.show()
	}
	s.now = end
}

// config sets fields of the configuration.
func (s *script) config(fields []string) {
	for _, f := range fields {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "auth":
			s.cfg.Auth = nil
			for _, m := range strings.Split(value, ",") {
				s.cfg.Auth = append(s.cfg.Auth, map[string]Method{"pap": MethodPAP, "chap": MethodCHAP, "mschapv2": MethodMSCHAPv2, "eap": MethodEAP}[m])
			}
			if value == "none" {
				s.cfg.Auth = nil
			}
		case "mru":
			s.cfg.MRU = uint16(s.number(value))
		case "echo":
			s.cfg.EchoInterval = s.duration(value)
		case "failures":
			s.cfg.EchoFailures = int(s.number(value))
		case "setup":
			s.cfg.SetupTimeout = s.duration(value)
		case "authtimeout":
			s.cfg.AuthTimeout = s.duration(value)
		case "tries":
			s.cfg.MaxConfigure = uint8(s.number(value))
		case "nbns":
			one, two, _ := strings.Cut(value, ",")
			s.net.NBNS = [2]netip.Addr{netip.MustParseAddr(one), netip.MustParseAddr(two)}
		case "proxy":
			s.cfg.Proxy = map[string]ProxyPolicy{"accept": ProxyAccept, "strict": ProxyStrict, "always": ProxyAlways}[value]
		case "rejectpfc":
			s.cfg.RejectPFC = true
		case "rejectacfc":
			s.cfg.RejectACFC = true
		case "dns":
			s.net.DNS = [2]netip.Addr{}
		case "noaddress":
			s.net.Local, s.net.Peer = netip.Addr{}, netip.Addr{}
		default:
			s.t.Fatalf("unknown setting %q", f)
		}
	}
	if err := s.cfg.Validate(); err != nil {
		s.t.Fatal(err)
	}
}

// proxy reads sent=, received=, auth=, name=, id=, challenge=, response=;
// all values but auth, name and id in hexadecimal.
func (s *script) proxy(fields []string) *Proxy {
	if len(fields) == 0 {
		return nil
	}
	p := new(Proxy)
	for _, f := range fields {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "sent":
			p.LastSent = s.hex(value)
		case "received":
			p.LastReceived = s.hex(value)
		case "auth":
			p.AuthType = uint16(s.number(value))
		case "name":
			p.AuthName = []byte(value)
		case "id":
			p.AuthID = uint16(s.number(value))
		case "challenge":
			p.AuthChallenge = s.hex(value)
		case "response":
			p.AuthResponse = s.hex(value)
		default:
			s.t.Fatalf("unknown proxy field %q", f)
		}
	}
	return p
}

// frame builds a frame from "PROTOCOL CODE ID data...", or "raw HEX".
func (s *script) frame(f []string) []byte {
	if f[0] == "raw" {
		return s.hex(strings.Join(f[1:], ""))
	}
	p := protocolNamed(f[0])
	code, id := s.code(p, f[1]), uint8(s.number(f[2]))
	var data []byte
	switch {
	case p == ppp.ProtocolPAP:
		data = ppp.AppendPAPRequest(nil, id, f[3], f[4])[4:]
	case p == ppp.ProtocolCHAP && code == ppp.CHAPResponse:
		data = ppp.AppendCHAPValue(nil, code, id, s.hex(f[3]), f[4])[4:]
	case p == ppp.ProtocolEAP:
		data = s.hex(strings.Join(f[3:], ""))
	case code <= ppp.ConfigureReject:
		for _, o := range f[3:] {
			data = s.option(data, p, o)
		}
	default:
		data = s.hex(strings.Join(f[3:], ""))
	}
	return frameOf(p, ppp.AppendPacket(nil, code, id, data))
}

func frameOf(p ppp.Protocol, packet []byte) []byte {
	return append(ppp.AppendHeader(nil, p, false, false), packet...)
}

func (s *script) number(v string) uint64 {
	n, err := strconv.ParseUint(v, 0, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *script) duration(v string) time.Duration {
	d, err := time.ParseDuration(v)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *script) hex(v string) []byte {
	b, err := hex.DecodeString(v)
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}
