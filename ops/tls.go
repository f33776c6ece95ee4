package ops

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificates serves TLS from files, and reads them again when they change,
// so that renewing a certificate needs no restart.
type certificates struct {
	files [3]string // certificate, key, client authorities
	log   *slog.Logger

	mu     sync.Mutex
	stamps [3]time.Time
	config *tls.Config
}

func newCertificates(c *Config) (*certificates, error) {
	s := &certificates{files: [3]string{c.Certificate, c.Key, c.ClientCA}, log: c.Log}
	stamps, err := s.stat()
	if err != nil {
		return nil, err
	}
	if s.config, err = s.load(); err != nil {
		return nil, err
	}
	s.stamps = stamps
	return s, nil
}

// tlsConfig is what a listener uses; each handshake asks for the current files.
func (s *certificates) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{"h2"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.current(), nil },
	}
}

// current has the configuration of the files as they are now; while they
// cannot be used, that of the last good ones.
func (s *certificates) current() *tls.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	stamps, err := s.stat()
	if err == nil && stamps == s.stamps {
		return s.config
	}
	var config *tls.Config
	if err == nil {
		s.stamps = stamps // a broken file is complained about once, not at each handshake
		config, err = s.load()
	}
	if err != nil {
		s.log.Error("TLS files cannot be used; going on with the ones before", "err", err)
		return s.config
	}
	s.log.Info("TLS files read again")
	s.config = config
	return config
}

func (s *certificates) stat() (stamps [3]time.Time, err error) {
	for i, f := range s.files {
		info, err := os.Stat(f)
		if err != nil {
			return stamps, fmt.Errorf("%s: %w", [3]string{"certificate", "key", "client_ca"}[i], err)
		}
		stamps[i] = info.ModTime()
	}
	return stamps, nil
}

func (s *certificates) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(s.files[0], s.files[1])
	if err != nil {
		return nil, fmt.Errorf("certificate %s, key %s: %w", s.files[0], s.files[1], err)
	}
	pem, err := os.ReadFile(s.files[2])
	if err != nil {
		return nil, fmt.Errorf("client_ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("client_ca: %s has no PEM certificate", s.files[2])
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"h2"},
		Certificates: []tls.Certificate{pair},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
	}, nil
}
