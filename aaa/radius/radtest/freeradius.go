package radtest

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// TB is what the helpers for tests need of a testing.TB; this package is part
// of programs as well, which are spared package testing.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Skipf(format string, args ...any)
	Fatalf(format string, args ...any)
	TempDir() string
	Cleanup(func())
}

// FreeRADIUSConfig says how to run a FreeRADIUS.
type FreeRADIUSConfig struct {
	Secret string
	// Users is the text of its users file.
	Users string
	// Listen is its address (127.0.0.1); the ports are free ones.
	Listen netip.Addr
	// Wrap is a command that it is run by, such as "ip", "netns", "exec", NAME.
	Wrap []string
	// Unsigned leaves the Message-Authenticator out of its answers.
	Unsigned bool
	// Accounting is put into the section "accounting", before the detail file.
	Accounting string
	// EAP is the method of EAP that it asks for first ("md5", "mschapv2", "tls"); it knows
	// the first two, and TLS where Certificates are given. Empty is no EAP.
	EAP string
	// Certificates is a folder with ca.pem, server.pem and server.key for EAP-TLS.
	Certificates string
	// Record keeps every Access-Request for Requests.
	Record bool
}

// FreeRADIUS is a real FreeRADIUS in a folder of its own.
type FreeRADIUS struct {
	// Auth and Acct are where it listens, Dir is its folder, Detail and Log its files.
	Auth, Acct       netip.AddrPort
	Dir, Detail, Log string
	// requests is the file that Record fills.
	requests string

	t    TB
	cfg  FreeRADIUSConfig
	proc *os.Process
	done chan struct{}
}

// freeradiusPath is where Debian's package freeradius puts it.
const freeradiusPath = "/usr/sbin/freeradius"

// StartFreeRADIUS runs a FreeRADIUS until the test ends. Where it is not
// installed the test is skipped, or fails when CI=true.
func StartFreeRADIUS(t TB, cfg FreeRADIUSConfig) *FreeRADIUS {
	t.Helper()
	Need(t, freeradiusPath, "freeradius")
	if !cfg.Listen.IsValid() {
		cfg.Listen = netip.MustParseAddr("127.0.0.1")
	}
	dir := t.TempDir()
	f := &FreeRADIUS{t: t, cfg: cfg, Dir: dir, Detail: filepath.Join(dir, "detail"), Log: filepath.Join(dir, "radius.log"), requests: filepath.Join(dir, "requests")}
	f.Auth, f.Acct = netip.AddrPortFrom(cfg.Listen, freePort(t)), netip.AddrPortFrom(cfg.Listen, freePort(t))
	for name, text := range map[string]string{"radiusd.conf": f.config(), "users": cfg.Users, "dictionary": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatalf("FreeRADIUS: %v", err)
		}
	}
	t.Cleanup(f.Stop)
	f.Start()
	return f
}

// Need skips the test when a program is not there, or fails it when CI=true.
func Need(t TB, program, debianPackage string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed; install the Debian package %s", program, debianPackage)
	}
	t.Skipf("%s is not installed; install the Debian package %s", program, debianPackage)
}

// freePort finds a UDP port that is free on the loopback address.
func freePort(t TB) uint16 {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatalf("FreeRADIUS: %v", err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

func (f *FreeRADIUS) config() string {
	sign := "update reply {\nMessage-Authenticator := 0x00000000000000000000000000000000\n}"
	if f.cfg.Unsigned {
		sign = ""
	}
	record := ""
	if f.cfg.Record {
		record = "requests"
	}
	eap := [3]string{}
	if f.cfg.EAP != "" {
		eap = [3]string{f.eapModule(), "eap {\nok = return\n}", "eap"}
	}
	return strings.NewReplacer("DIR", f.Dir, "RECORD", record,
		"EAPMODULE", eap[0], "EAPAUTHORIZE", eap[1], "EAPAUTHENTICATE", eap[2], "SECRET", f.cfg.Secret, "LISTEN", f.cfg.Listen.String(), "SIGN", sign,
		"AUTHPORT", fmt.Sprint(f.Auth.Port()), "ACCTPORT", fmt.Sprint(f.Acct.Port()), "ACCOUNTING", f.cfg.Accounting).Replace(freeradiusConf)
}

// eapModule is the configuration of EAP. Fragments of EAP-TLS fit the Framed-MTU of the request.
func (f *FreeRADIUS) eapModule() string {
	tls := ""
	if f.cfg.Certificates != "" {
		tls = strings.ReplaceAll(eapTLS, "CERTS", f.cfg.Certificates)
	}
	return "eap {\ndefault_eap_type = " + f.cfg.EAP + "\ntimer_expire = 60\nmax_sessions = 4096\nmd5 {\n}\nmschapv2 {\n}\n" + tls + "}\n"
}

const eapTLS = `
tls-config tls-common {
	private_key_file = CERTS/server.key
	certificate_file = CERTS/server.pem
	ca_file = CERTS/ca.pem
	tls_min_version = "1.2"
	tls_max_version = "1.2"
	cipher_list = "DEFAULT"
	ecdh_curve = ""
	fragment_size = 1400
	include_length = yes
	cache {
		enable = no
	}
}
tls {
	tls = tls-common
}
`

const freeradiusConf = `
prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = DIR
logdir = DIR
run_dir = DIR
pidfile = DIR/freeradius.pid
max_request_time = 30
cleanup_delay = 5
max_requests = 65536
hostname_lookups = no
log {
	destination = files
	file = DIR/radius.log
}
security {
	max_attributes = 200
	reject_delay = 0
	status_server = yes
}
thread pool {
	start_servers = 4
	max_servers = 8
	min_spare_servers = 2
	max_spare_servers = 8
	max_requests_per_server = 0
}
client all4 {
	ipaddr = 0.0.0.0/0
	secret = SECRET
	require_message_authenticator = no
}
client all6 {
	ipv6addr = ::/0
	secret = SECRET
}
modules {
	pap {
	}
	chap {
	}
	mschap {
	}
	files {
		filename = DIR/users
	}
	EAPMODULE
	detail {
		filename = DIR/detail
		permissions = 0600
	}
	detail requests {
		filename = DIR/requests
		permissions = 0600
	}
}
server default {
	listen {
		type = auth
		ipaddr = LISTEN
		port = AUTHPORT
	}
	listen {
		type = acct
		ipaddr = LISTEN
		port = ACCTPORT
	}
	authorize {
		RECORD
		files
		chap
		mschap
		EAPAUTHORIZE
		pap
	}
	authenticate {
		EAPAUTHENTICATE
		Auth-Type PAP {
			pap
		}
		Auth-Type CHAP {
			chap
		}
		Auth-Type MS-CHAP {
			mschap
		}
	}
	post-auth {
		SIGN
		Post-Auth-Type REJECT {
			SIGN
		}
	}
	accounting {
		ACCOUNTING
		detail
	}
}
`

// Start runs it again after Stop, on the same ports with the same files.
func (f *FreeRADIUS) Start() {
	f.t.Helper()
	if err := os.Truncate(f.Log, 0); err != nil && !os.IsNotExist(err) {
		f.t.Fatalf("FreeRADIUS: %v", err)
	}
	args := append(append([]string(nil), f.cfg.Wrap...), freeradiusPath, "-f", "-l", f.Log, "-d", f.Dir)
	cmd := exec.Command(args[0], args[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// It signals its process group when it ends, so it needs its own.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	done := make(chan struct{})
	f.done = done
	go func() {
		// Pdeathsig is about the thread that starts the process.
		runtime.LockOSThread()
		defer close(done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		f.t.Fatalf("FreeRADIUS: %v", err)
	}
	f.proc = cmd.Process
	f.awaitReady(&out)
}

func (f *FreeRADIUS) awaitReady(out *bytes.Buffer) {
	f.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		log, _ := os.ReadFile(f.Log)
		if bytes.Contains(log, []byte("Ready to process requests")) {
			return
		}
		select {
		case <-f.done:
			f.t.Fatalf("FreeRADIUS has ended: %s%s", out, log)
		default:
		}
		if time.Now().After(end) {
			f.t.Fatalf("FreeRADIUS does not become ready: %s", log)
		}
	}
}

// Stop ends it, if it runs.
func (f *FreeRADIUS) Stop() {
	if f.proc == nil {
		return
	}
	_ = f.proc.Signal(syscall.SIGTERM)
	select {
	case <-f.done:
	case <-time.After(5 * time.Second):
		_ = f.proc.Kill()
		<-f.done
	}
	f.proc = nil
}

// PID is its process's, while it runs.
func (f *FreeRADIUS) PID() int { return f.proc.Pid }

// Pause stops it from answering until Resume, as a server that hangs.
func (f *FreeRADIUS) Pause() { _ = f.proc.Signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (f *FreeRADIUS) Resume() { _ = f.proc.Signal(syscall.SIGCONT) }

// Details reads the accounting records of its detail file, in order: the
// values of each attribute by name, without quotes.
func (f *FreeRADIUS) Details() []map[string][]string {
	f.t.Helper()
	return f.records(f.Detail)
}

// Requests reads the Access-Requests that came, in order, as Details does.
// The configuration has to say Record.
func (f *FreeRADIUS) Requests() []map[string][]string {
	f.t.Helper()
	return f.records(f.requests)
}

// records reads a file of the detail module.
func (f *FreeRADIUS) records(file string) []map[string][]string {
	f.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		f.t.Fatalf("FreeRADIUS: %v", err)
	}
	var out []map[string][]string
	for block := range strings.SplitSeq(string(text), "\n\n") {
		record := map[string][]string{}
		for line := range strings.SplitSeq(block, "\n") {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), " = "); ok && strings.HasPrefix(line, "\t") {
				record[name] = append(record[name], strings.Trim(value, `"`))
			}
		}
		if len(record) > 0 {
			out = append(out, record)
		}
	}
	return out
}

// Radclient runs FreeRADIUS' radclient: kind is auth, acct, disconnect, coa or
// status, attributes are lines of "Name = value". It gives its output.
func Radclient(t TB, server netip.AddrPort, kind, secret, attributes string) string {
	t.Helper()
	Need(t, "radclient", "freeradius-utils")
	cmd := exec.Command("radclient", "-x", "-r", "2", "-t", "2", server.String(), kind, secret)
	cmd.Stdin = strings.NewReader(attributes)
	out, _ := cmd.CombinedOutput()
	return string(out)
}
