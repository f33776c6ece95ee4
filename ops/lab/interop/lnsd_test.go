package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"culvert/aaa/radius/radtest"
	"culvert/ops/lab/proc"
	"culvert/sessiondb/postgres/pgtest"
)

// lnsd is the server under test, with its database and its operator's command.
type lnsd struct {
	*proc.Daemon
	socket string
	bin    string
	db     *pgx.Conn
}

// established is a tunnel's state in the API; one that is closing lingers.
const established = "TUNNEL_STATE_ESTABLISHED"

// disconnectAddr is where Disconnect-Requests go.
var disconnectAddr = netip.MustParseAddrPort("127.0.0.1:3799")

const lnsdConfig = `node: lns1
shutdown: drop
l2tp:
  listen: ["%[1]s:1701", "%[15]s:1701"]
plane:
  device: culvert0
subscriber:
  local_address: %[2]s
lacs:
  - name: secured
    prefixes: [%[3]s/32, %[4]s/32]
    secret: %[5]s
    mru: 1460
    auth: [chap, mschapv2, pap, eap]
  - name: open
    prefixes: [%[6]s/32]
    mru: 1460
  - name: strange
    prefixes: [%[16]s/32]
    secret: %[5]s
    hello: 1s
  - name: l2tpns
    prefixes: [%[17]s/32]
    secret: %[5]s
    auth: [pap]
radius:
  auth:
    servers: [{name: lab, address: "%[13]s", secret: %[7]s}]
  acct:
    servers: [{name: lab, address: "%[14]s", secret: %[7]s}]
  disconnect:
    listen: %[8]s
    clients: [{prefix: 127.0.0.1/32, secret: %[7]s}]
pools:
  - name: main
    ranges: [%[9]s]
    exclude: [%[2]s]
    skip_edges: true
journal:
  dir: %[10]s/journal
database:
  url: %[11]s
  migrate: true
api:
  socket: %[12]s/lnsd.sock
log:
  level: debug
`

// startLNSD starts a PostgreSQL and lnsd from bin.
func startLNSD(t *testing.T, out, bin string, db *pgtest.Server, aaa radius) *lnsd {
	t.Helper()
	// The journal is temporary, and a socket's path must be short.
	dir, err := os.MkdirTemp("", "lnsd")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	url := db.NewDatabase(t)
	file := filepath.Join(out, "lnsd.yaml")
	must(t, os.WriteFile(file, fmt.Appendf(nil, lnsdConfig, lnsAddr, gatewayAddr, securedAddr, heldAddr, tunnelSecret,
		openAddr, radiusSecret, disconnectAddr, pool, dir, url, dir, aaa.Auth, aaa.Acct, otherLNSAddr, strangeAddr, l2tpnsAddr), 0o644))
	s := &lnsd{bin: bin, socket: filepath.Join(dir, "lnsd.sock")}
	s.Daemon, err = proc.Start(out, "lnsd", nil, filepath.Join(bin, "lnsd"), "run", "--supervise", "--config", file)
	must(t, err)
	t.Cleanup(func() {
		if err := s.Stop(syscall.SIGTERM, patience); err != nil {
			t.Error(err)
		}
	})
	must(t, await(patience, s.Daemon, func() error {
		_, err := s.ctl("status")
		return err
	}))
	s.db, err = pgx.Connect(t.Context(), url)
	must(t, err)
	t.Cleanup(func() { s.db.Close(context.Background()) })
	return s
}

// build builds the programs under test into dir.
func build(dir string) error {
	cmd := exec.Command("go", "build", "-o", dir+"/", "culvert/cmd/lnsd", "culvert/cmd/lnsctl", "culvert/cmd/lacsim")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// ctl runs lnsctl.
func (s *lnsd) ctl(args ...string) (string, error) {
	return output(patience, filepath.Join(s.bin, "lnsctl"), append([]string{"--address", "unix://" + s.socket}, args...)...)
}

// tunnel and session are what is used of lnsctl's JSON.
type tunnel struct {
	ID       int    `json:"id"`
	Local    string `json:"local"`
	Peer     string `json:"peer"`
	PeerName string `json:"peer_name"`
	State    string `json:"state"`
}

type session struct {
	ID      string `json:"id"`
	User    string `json:"user"`
	Address string `json:"address"`
}

// tunnels and sessions give what lnsctl lists.
func (s *lnsd) tunnels() (list []tunnel, err error) {
	err = s.list("tunnel", &list)
	return list, err
}

func (s *lnsd) sessions() (list []session, err error) {
	err = s.list("session", &list)
	return list, err
}

func (s *lnsd) list(what string, into any) error {
	text, err := s.ctl("-o", "json", what, "list")
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("lnsctl %s list: %w: %s", what, err, text)
	}
	return nil
}

// checkRow checks that a call's session is in the database.
func (s *lnsd) checkRow(c *call, id string) error {
	return await(patience, s.Daemon, func() error {
		var user, address string
		err := s.db.QueryRow(context.Background(),
			"select user_name, host(address) from sessions where acct_session_id = $1", id).Scan(&user, &address)
		if err != nil {
			return fmt.Errorf("sessions: %s: %w", id, err)
		}
		if user != c.line.user || address != c.addr {
			return fmt.Errorf("sessions: %s has %s and %s, want %s and %s", id, user, address, c.line.user, c.addr)
		}
		return nil
	})
}

// checkHistory checks that a session's row has moved to the history, with
// its octets and cause.
func (s *lnsd) checkHistory(id string, in, out uint64, cause string) error {
	return await(patience, nil, func() error {
		ctx := context.Background()
		var n int
		if err := s.db.QueryRow(ctx, "select count(*) from sessions where acct_session_id = $1", id).Scan(&n); err != nil {
			return err
		}
		if n != 0 {
			return fmt.Errorf("sessions: %s is still there", id)
		}
		var gotCause string
		var gotIn, gotOut uint64
		err := s.db.QueryRow(ctx, "select cause, in_octets, out_octets from session_history where acct_session_id = $1", id).
			Scan(&gotCause, &gotIn, &gotOut)
		if err != nil {
			return fmt.Errorf("session_history: %s: %w", id, err)
		}
		if gotIn != in || gotOut != out || gotCause != cause {
			return fmt.Errorf("session_history: %s has %d and %d octets and cause %q, want %d, %d and %q", id, gotIn, gotOut, gotCause, in, out, cause)
		}
		return nil
	})
}

// disconnectRequest sends a Disconnect-Request (RFC 5176) with the given
// attribute, and gives radclient's report of the answer.
func disconnectRequest(t *testing.T, attribute string) string {
	t.Helper()
	return radtest.Radclient(t, disconnectAddr, "disconnect", radiusSecret, attribute)
}
