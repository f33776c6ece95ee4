package ops

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// localInfo is what is known of a client without TLS: one on the unix socket,
// or one on a loopback address where that is allowed.
type localInfo struct {
	credentials.CommonAuthInfo
	// who is the client in words, for the log.
	who string
}

// AuthType names the way the client is known.
func (localInfo) AuthType() string { return "local" }

// transport shakes hands by what kind of connection it is, so that one gRPC
// server serves them all.
type transport struct {
	tls credentials.TransportCredentials // nil: plain TCP is allowed on loopback
	log *slog.Logger
}

// ServerHandshake makes the client known.
func (t transport) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	info := localInfo{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}}
	if u, ok := c.(*net.UnixConn); ok {
		who, err := unixPeer(u)
		info.who = who
		info.SecurityLevel = credentials.PrivacyAndIntegrity
		return c, info, err
	}
	if t.tls != nil {
		conn, auth, err := t.tls.ServerHandshake(c)
		if err != nil {
			t.log.Info("TLS handshake failed", "client", c.RemoteAddr().String(), "err", err)
		}
		return conn, auth, err
	}
	info.who = "loopback"
	return c, info, nil
}

// ClientHandshake is for clients; a server has none.
func (transport) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("not a client")
}

// Info describes the protocol.
func (transport) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone copies.
func (t transport) Clone() credentials.TransportCredentials { return t }

// OverrideServerName is for clients.
func (transport) OverrideServerName(string) error { return errors.New("not a client") }

// unixPeer says which user's process is at the other end.
func unixPeer(c *net.UnixConn) (string, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return "", err
	}
	var cred *unix.Ucred
	var sockErr error
	err = raw.Control(func(fd uintptr) {
		cred, sockErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, sockErr); err != nil {
		return "", err
	}
	return fmt.Sprintf("uid=%d pid=%d", cred.Uid, cred.Pid), nil
}

// client is who calls, in words for the log and the message of a refusal, and as what.
type client struct {
	who  string
	role Role
}

// identify tells the client of a call.
func identify(ctx context.Context, rules []RoleRule) client {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return client{who: "unknown"}
	}
	switch info := p.AuthInfo.(type) {
	case localInfo:
		return client{info.who, RoleOperator}
	case credentials.TLSInfo:
		return certified(&info.State, rules)
	}
	return client{who: p.Addr.String()}
}

// certified gives a verified certificate the highest role that a rule has for it.
func certified(state *tls.ConnectionState, rules []RoleRule) client {
	if len(state.VerifiedChains) == 0 {
		return client{who: "unverified"}
	}
	subject := state.VerifiedChains[0][0].Subject
	c := client{who: subject.String()}
	for _, r := range rules {
		name := r.CommonName == "" || r.CommonName == subject.CommonName
		unit := r.Unit == "" || slices.Contains(subject.OrganizationalUnit, r.Unit)
		if name && unit && r.Role > c.role {
			c.role = r.Role
		}
	}
	return c
}
