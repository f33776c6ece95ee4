package radius

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"layeh.com/radius"
)

// Match says which sessions a Disconnect-Request means: those of which every
// field that is set is true. At least one is set.
type Match struct {
	AcctSessionID string
	User          string
	// Address is the subscriber's Framed-IP-Address.
	Address netip.Addr
}

// Disconnecter ends sessions on behalf of a DynAuth.
type Disconnecter interface {
	// Disconnect ends the sessions that m means (their Acct-Terminate-Cause
	// is Admin Reset) and tells how many there were. It may block for a
	// moment; an error says that there were some and they could not be ended.
	Disconnect(m Match) (int, error)
}

const (
	// dynWorkers is how many requests are answered at a time.
	dynWorkers = 4
	// defaultWindow is that of RFC 5176 section 6.3.
	defaultWindow = 300 * time.Second
	// maxAnswered bounds the answers that are kept for retransmissions.
	maxAnswered = 1024
)

// DynAuth answers Disconnect-Requests (RFC 5176), and CoA-Requests with a NAK.
type DynAuth struct {
	// Immutable.
	cfg    DynAuthConfig
	d      Disconnecter
	log    *slog.Logger
	conn   *net.UDPConn
	now    func() time.Time
	wg     sync.WaitGroup
	limits struct{ unknown, bad, malformed, stale limiter }

	mu       sync.Mutex
	stats    DynAuthStats
	answered map[dynKey][]byte // nil while it is being answered
	order    []dynKey          // the keys of answered, the oldest first
}

// dynKey is what two transmissions of one request have in common.
type dynKey struct {
	from netip.AddrPort
	id   byte
	auth [16]byte
}

// NewDynAuth listens and answers until Close. log may be nil.
func NewDynAuth(cfg DynAuthConfig, d Disconnecter, log *slog.Logger) (*DynAuth, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(cfg.Listen))
	if err != nil {
		return nil, fmt.Errorf("radius: dynauth: %w", err)
	}
	if cfg.Listen.Addr().IsUnspecified() {
		wantLocalAddress(conn)
	}
	s := newDynAuth(cfg, d, log)
	s.conn = conn
	s.wg.Add(dynWorkers)
	for range dynWorkers {
		go s.serve()
	}
	return s, nil
}

func newDynAuth(cfg DynAuthConfig, d Disconnecter, log *slog.Logger) *DynAuth {
	cfg.Window = orDefault(cfg.Window, defaultWindow)
	cfg.Clients = slices.Clone(cfg.Clients)
	for i, c := range cfg.Clients {
		cfg.Clients[i].Prefix = c.Prefix.Masked()
	}
	slices.SortStableFunc(cfg.Clients, func(a, b DynAuthClient) int { return cmp.Compare(b.Prefix.Bits(), a.Prefix.Bits()) })
	return &DynAuth{cfg: cfg, d: d, log: log, now: time.Now, answered: map[dynKey][]byte{}}
}

// Addr is the address it listens on.
func (s *DynAuth) Addr() netip.AddrPort {
	a := s.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// Stats gives the counters.
func (s *DynAuth) Stats() DynAuthStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Close stops listening and waits for requests that are being answered.
func (s *DynAuth) Close() error {
	err := s.conn.Close()
	s.wg.Wait()
	return err
}

func (s *DynAuth) serve() {
	defer s.wg.Done()
	buf, oob := make([]byte, maxPacket), make([]byte, 128)
	for {
		n, nn, _, from, err := s.conn.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			return
		}
		if reply := s.handle(buf[:n], from); reply != nil {
			// From the address that was asked, where there are several.
			_, _, _ = s.conn.WriteMsgUDPAddrPort(reply, replyFrom(oob[:nn]), from)
		}
	}
}

// secret gives the secret of whoever sends from an address.
func (s *DynAuth) secret(from netip.Addr) []byte {
	for _, c := range s.cfg.Clients {
		if c.Prefix.Contains(from.Unmap()) {
			return c.Secret
		}
	}
	return nil
}

// handle gives the answer to one datagram, nil for none.
func (s *DynAuth) handle(b []byte, from netip.AddrPort) []byte {
	secret := s.secret(from.Addr())
	if secret == nil {
		s.drop(&s.stats.UnknownClients, &s.limits.unknown, "Disconnect-Request of an unknown client dropped", from, nil)
		return nil
	}
	p, err := packetOf(b)
	if err == nil {
		err = requestCode(radius.Code(p[0]))
	}
	if err != nil {
		s.drop(&s.stats.Malformed, &s.limits.malformed, "datagram that is no Disconnect-Request dropped", from, err)
		return nil
	}
	sign := newSigner(secret)
	var zero [16]byte
	sig := sign.signature(p, &zero)
	if !sign.genuine(p, &zero) || sig == forged || sig == unsigned && s.cfg.RequireMessageAuthenticator {
		s.drop(&s.stats.BadAuthenticators, &s.limits.bad, "Disconnect-Request with a wrong authenticator dropped", from, nil)
		return nil
	}
	return s.genuine(p, from, sign)
}

func requestCode(c radius.Code) error {
	if c != radius.CodeDisconnectRequest && c != radius.CodeCoARequest {
		return fmt.Errorf("code %d", c)
	}
	return nil
}

// genuine answers a request whose sender is proven.
func (s *DynAuth) genuine(p []byte, from netip.AddrPort, sign *signer) []byte {
	req, err := decodeDynamic(p[headerLen:])
	if err != nil {
		s.drop(&s.stats.Malformed, &s.limits.malformed, "Disconnect-Request cannot be read", from, err)
		return nil
	}
	if !s.timely(req) {
		s.drop(&s.stats.Stale, &s.limits.stale,
			"Disconnect-Request with an old or absent Event-Timestamp dropped; check the clocks", from, nil)
		return nil
	}
	key := dynKey{from, p[1], [16]byte(p[authenticator:headerLen])}
	if reply, again := s.begin(key); again {
		return reply
	}
	cause, n := s.decide(radius.Code(p[0]), req)
	reply := s.reply(p, req, cause, sign)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answered[key] = reply
	s.stats.Disconnected += uint64(n)
	if cause == 0 {
		s.stats.ACKs++
	} else {
		s.stats.NAKs++
	}
	return reply
}

// timely checks the Event-Timestamp (RFC 5176 section 3.6).
func (s *DynAuth) timely(r *dynRequest) bool {
	if r.timestamp == 0 {
		return !s.cfg.RequireTimestamp
	}
	return s.now().Sub(time.Unix(int64(r.timestamp), 0)).Abs() <= s.cfg.Window
}

// begin notes a request, and says whether it was seen before; then there is
// its answer, unless it is still being answered.
func (s *DynAuth) begin(key dynKey) (reply []byte, again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Requests++
	if reply, again = s.answered[key]; again {
		s.stats.Duplicates++
		return reply, true
	}
	if len(s.order) >= maxAnswered {
		delete(s.answered, s.order[0])
		s.order = append(s.order[:0], s.order[1:]...)
	}
	s.order = append(s.order, key)
	s.answered[key] = nil
	return nil, false
}

// decide does what the request wants, and gives an Error-Cause (zero for an
// ACK) and how many sessions were ended.
func (s *DynAuth) decide(code radius.Code, r *dynRequest) (errorCause, int) {
	switch {
	case code == radius.CodeCoARequest:
		return causeUnsupportedExtension, 0
	case !s.meansUs(r):
		return causeNASMismatch, 0
	case r.cause != 0:
		return r.cause, 0
	case r.match == Match{}:
		return causeMissingAttribute, 0
	}
	n, err := s.d.Disconnect(r.match)
	s.log.Info("Disconnect-Request", "session", r.match.AcctSessionID, "user", r.match.User,
		"address", r.match.Address, "ended", n, "err", err)
	switch {
	case err != nil:
		return causeNotRemovable, n
	case n == 0:
		return causeNotFound, 0
	}
	return 0, n
}

// meansUs says whether the NAS that the request names, if any, is this one.
func (s *DynAuth) meansUs(r *dynRequest) bool {
	if r.nasID != "" && s.cfg.NASIdentifier != "" && r.nasID != s.cfg.NASIdentifier {
		return false
	}
	if len(s.cfg.NASAddresses) == 0 {
		return true
	}
	return !slices.ContainsFunc(r.nasAddrs, func(a netip.Addr) bool { return !slices.Contains(s.cfg.NASAddresses, a) })
}

// reply encodes the answer.
func (s *DynAuth) reply(p []byte, r *dynRequest, cause errorCause, sign *signer) []byte {
	code := radius.Code(p[0]) + 1 // ACK
	if cause != 0 {
		code++ // NAK
	}
	var w builder
	w.header(code, p[1])
	at := w.placeSignature()
	if cause != 0 {
		w.integer(typeErrorCause, uint32(cause))
	}
	for _, v := range r.proxyStates {
		w.octets(typeProxyState, v)
	}
	auth := [16]byte(p[authenticator:headerLen])
	reply := w.finish()
	sign.signResponse(reply, &auth, at)
	return reply
}

func (s *DynAuth) drop(counter *uint64, l *limiter, msg string, from netip.AddrPort, err error) {
	s.mu.Lock()
	*counter++
	s.mu.Unlock()
	args := []any{"from", from.String()}
	if err != nil {
		args = append(args, "err", err)
	}
	l.warn(s.log, msg, args...)
}
