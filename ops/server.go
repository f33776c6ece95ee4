package ops

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	grpchealth "google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	culvertv1 "culvert/proto/culvert/v1"
)

// Server serves the gRPC API and HTTP. New makes one; Serve and Close each
// may be called once, from any goroutine.
type Server struct {
	cfg    Config
	grpc   *grpc.Server
	health *grpchealth.Server
	http   *http.Server

	// tcp, unix and web are nil where nothing was configured.
	tcp, unix, web net.Listener

	stop     sync.Once
	stopping chan struct{}
}

// New opens all listeners, so that what cannot work is known before the
// node takes a call, and serves none of them yet. The error names the field of Config to mend.
func New(cfg Config, node Node) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg.withDefaults(), stopping: make(chan struct{})}
	creds, err := serverTransport(&s.cfg)
	if err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		s.closeListeners()
		return nil, err
	}
	s.grpc = s.newGRPC(creds, node)
	s.http = newHTTP(&s.cfg, node)
	return s, nil
}

func serverTransport(cfg *Config) (transport, error) {
	if cfg.Address == "" || cfg.PlainLoopback {
		return transport{log: cfg.Log}, nil
	}
	certs, err := newCertificates(cfg)
	if err != nil {
		return transport{}, err
	}
	return transport{tls: credentials.NewTLS(certs.tlsConfig()), log: cfg.Log}, nil
}

func (s *Server) listen() (err error) {
	if s.cfg.Socket != "" {
		if s.unix, err = listenSocket(&s.cfg); err != nil {
			return err
		}
	}
	if s.cfg.Address != "" {
		if s.tcp, err = net.Listen("tcp", s.cfg.Address); err != nil {
			return fmt.Errorf("address: cannot listen on %s: %w", s.cfg.Address, err)
		}
	}
	if s.cfg.HTTP != "" {
		if s.web, err = net.Listen("tcp", s.cfg.HTTP); err != nil {
			return fmt.Errorf("http: cannot listen on %s: %w", s.cfg.HTTP, err)
		}
	}
	return nil
}

func (s *Server) newGRPC(creds transport, node Node) *grpc.Server {
	g := &guard{rules: s.cfg.Roles, log: s.cfg.Log}
	server := grpc.NewServer(
		grpc.Creds(creds),
		grpc.UnaryInterceptor(g.unary), grpc.StreamInterceptor(g.stream),
		grpc.MaxRecvMsgSize(1<<20), grpc.MaxConcurrentStreams(100), grpc.ConnectionTimeout(10*time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	)
	culvertv1.RegisterLACServiceServer(server, &lacService{node: node})
	culvertv1.RegisterTunnelServiceServer(server, &tunnelService{node: node, usage: s.cfg.Sources.SAUsage})
	culvertv1.RegisterSessionServiceServer(server, &sessionService{node: node, stopping: s.stopping})
	culvertv1.RegisterNodeServiceServer(server, &nodeService{node: node, cfg: &s.cfg})
	culvertv1.RegisterClusterServiceServer(server, &clusterService{cfg: &s.cfg})
	culvertv1.RegisterIPsecServiceServer(server, &ipsecService{node: node, src: &s.cfg.Sources})
	s.health = grpchealth.NewServer()
	for name := range server.GetServiceInfo() {
		s.health.SetServingStatus(name, healthv1.HealthCheckResponse_SERVING)
	}
	healthv1.RegisterHealthServer(server, s.health)
	reflection.Register(server)
	return server
}

// Serve serves until Close, and then returns nil; or until a listener fails.
func (s *Server) Serve() error {
	var tasks []func() error
	for _, l := range []net.Listener{s.unix, s.tcp} {
		if l != nil {
			tasks = append(tasks, func() error { return s.grpc.Serve(l) })
		}
	}
	if s.web != nil {
		tasks = append(tasks, func() error { return s.http.Serve(s.web) })
	}
	failed := make(chan error, len(tasks))
	for _, task := range tasks {
		go func() { failed <- task() }()
	}
	var err error
	for range tasks {
		e := <-failed
		if e != nil && !errors.Is(e, http.ErrServerClosed) && !errors.Is(e, grpc.ErrServerStopped) && err == nil {
			err = e
			s.abort()
		}
	}
	if len(tasks) == 0 {
		<-s.stopping
	}
	return err
}

// Close stops taking calls, ends watches, lets calls that are under way
// finish until ctx is done, and then cuts them off.
func (s *Server) Close(ctx context.Context) error {
	s.stop.Do(func() { close(s.stopping) })
	s.health.Shutdown()
	graceful := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(graceful)
	}()
	err := s.http.Shutdown(ctx)
	select {
	case <-graceful:
	case <-ctx.Done():
		err = errors.Join(err, ctx.Err())
		s.grpc.Stop()
		<-graceful
	}
	if err != nil {
		s.http.Close()
	}
	s.closeListeners() // those that were never served
	return err
}

// abort is Close without grace.
func (s *Server) abort() {
	s.stop.Do(func() { close(s.stopping) })
	s.grpc.Stop()
	s.http.Close()
	s.closeListeners()
}

func (s *Server) closeListeners() {
	for _, l := range []net.Listener{s.unix, s.tcp, s.web} {
		if l != nil {
			l.Close()
		}
	}
}

// Addr is where the API listens on TCP, nil if nowhere.
func (s *Server) Addr() net.Addr { return addrOf(s.tcp) }

// HTTPAddr is where HTTP listens, nil if nowhere.
func (s *Server) HTTPAddr() net.Addr { return addrOf(s.web) }

func addrOf(l net.Listener) net.Addr {
	if l == nil {
		return nil
	}
	return l.Addr()
}
