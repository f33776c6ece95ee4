package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	culvertv1 "culvert/proto/culvert/v1"
)

// defaultAddress is where lnsd listens for local operators.
const defaultAddress = "unix:///run/culvert/lnsd.sock"

// maxMessage has room for the largest page.
const maxMessage = 32 << 20

// connection says which node and how to reach it.
type connection struct {
	Address   string        `default:"${address}" env:"CULVERT_ADDRESS" placeholder:"ADDRESS" help:"The node: unix:///path or host:port (default ${address})."`
	TLSCA     string        `name:"tls-ca" env:"CULVERT_TLS_CA" placeholder:"FILE" help:"Authorities of the node's certificate, PEM (default: the system's)."`
	TLSCert   string        `name:"tls-cert" env:"CULVERT_TLS_CERT" placeholder:"FILE" help:"Your client certificate, PEM."`
	TLSKey    string        `name:"tls-key" env:"CULVERT_TLS_KEY" placeholder:"FILE" help:"Its key, PEM."`
	TLSName   string        `name:"tls-name" env:"CULVERT_TLS_NAME" placeholder:"NAME" help:"The name in the node's certificate, if it is not the host in --address."`
	Plaintext bool          `help:"Without TLS; only to a loopback address."`
	Timeout   time.Duration `default:"10s" help:"How long to wait for an answer (watch: for the connection)."`
}

// client calls a node. It remembers why the last attempt to connect failed,
// since gRPC keeps that only as text.
type client struct {
	*grpc.ClientConn
	address string
	tls     bool

	mu     sync.Mutex
	dialed error
}

// dial prepares a client; the first call connects.
func (c *connection) dial() (*client, error) {
	network, addr, err := splitAddress(c.Address)
	if err != nil {
		return nil, err
	}
	creds, name, err := c.credentials(network, addr)
	if err != nil {
		return nil, err
	}
	cl := &client{address: c.Address, tls: creds.Info().SecurityProtocol == "tls"}
	// The dialer knows the address; what gRPC calls the node is only a name.
	cl.ClientConn, err = grpc.NewClient("passthrough:///"+name,
		grpc.WithTransportCredentials(creds), grpc.WithAuthority(name),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			conn, err := d.DialContext(ctx, network, addr)
			cl.mu.Lock()
			cl.dialed = err
			cl.mu.Unlock()
			return conn, err
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	return cl, err
}

func (c *client) dialError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dialed
}

func splitAddress(s string) (network, addr string, err error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		path = strings.TrimPrefix(path, "//")
		if path == "" {
			return "", "", usagef("--address: %q has no path; write e.g. %s", s, defaultAddress)
		}
		return "unix", path, nil
	}
	if _, _, err := net.SplitHostPort(s); err != nil {
		return "", "", usagef("--address: %q is neither unix:///path nor host:port", s)
	}
	return "tcp", s, nil
}

// localName is what a node is called where no certificate says its name.
const localName = "lnsd"

// credentials also gives the name that the node must prove to have.
func (c *connection) credentials(network, addr string) (credentials.TransportCredentials, string, error) {
	if network == "unix" {
		return insecure.NewCredentials(), localName, nil
	}
	host, _, _ := net.SplitHostPort(addr)
	if c.Plaintext {
		if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
			return nil, "", usagef("--plaintext: %s is not a loopback address; use --tls-cert, --tls-key and --tls-ca", host)
		}
		return insecure.NewCredentials(), localName, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, ServerName: host}
	if c.TLSName != "" {
		config.ServerName = c.TLSName
	}
	if err := c.readCertificates(config); err != nil {
		return nil, "", err
	}
	return credentials.NewTLS(config), config.ServerName, nil
}

func (c *connection) readCertificates(config *tls.Config) error {
	if c.TLSCert == "" || c.TLSKey == "" {
		return usagef("--address %s wants a client certificate: give --tls-cert and --tls-key (and --tls-ca)", c.Address)
	}
	pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return usagef("--tls-cert, --tls-key: %v", err)
	}
	config.Certificates = []tls.Certificate{pair}
	if c.TLSCA == "" {
		return nil // the system's authorities
	}
	pem, err := os.ReadFile(c.TLSCA)
	if err != nil {
		return usagef("--tls-ca: %v", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return usagef("--tls-ca: %s has no PEM certificate", c.TLSCA)
	}
	return nil
}

// call connects, and gives f a context that ends with --timeout.
func (a *app) call(f func(ctx context.Context, c *client) error) error {
	c, err := a.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(a.ctx, a.Timeout)
	defer cancel()
	return a.explain(c, f(ctx, c))
}

func (c *client) lacs() culvertv1.LACServiceClient       { return culvertv1.NewLACServiceClient(c) }
func (c *client) tunnels() culvertv1.TunnelServiceClient { return culvertv1.NewTunnelServiceClient(c) }
func (c *client) sessions() culvertv1.SessionServiceClient {
	return culvertv1.NewSessionServiceClient(c)
}
func (c *client) cluster() culvertv1.ClusterServiceClient {
	return culvertv1.NewClusterServiceClient(c)
}
func (c *client) ipsec() culvertv1.IPsecServiceClient { return culvertv1.NewIPsecServiceClient(c) }
func (c *client) node() culvertv1.NodeServiceClient   { return culvertv1.NewNodeServiceClient(c) }
