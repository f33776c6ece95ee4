package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	radiusSecret = "radius-secret"
	// password is every subscriber's.
	password = "correct-horse"
	// fixedUser has a Framed-IP-Address of its own; everybody else gets an address from the pool.
	fixedUser = "fixed@isp.example"
	fixedAddr = "100.65.0.77"
	// heldUser is up during the whole run, and reports interim usage.
	heldUser = "held@isp.example"
	// interim is the shortest interval that RFC 2869 section 5.16 allows.
	interim = 60 * time.Second
)

// radius is a FreeRADIUS with its detail file.
type radius struct {
	*daemon
	detail string
}

// startRADIUS starts FreeRADIUS on 127.0.0.1, ports 1812 and 1813.
func startRADIUS(t *testing.T, out string) *radius {
	t.Helper()
	dir := filepath.Join(out, "freeradius")
	must(t, os.MkdirAll(dir, 0o755))
	r := &radius{detail: filepath.Join(dir, "detail")}
	authenticator := "yes"
	if os.Getenv(envLNS) == "l2tpns" {
		authenticator = "no" // it knows no Message-Authenticator
	}
	for name, text := range map[string]string{
		"radiusd.conf": fmt.Sprintf(radiusdConf, dir, radiusSecret, authenticator),
		"users":        fmt.Sprintf(radiusUsers, fixedUser, password, fixedAddr, heldUser, password, int(interim.Seconds()), password),
		"dictionary":   "",
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	d, err := startDaemon(out, "freeradius", "freeradius", "-d", dir, "-f", "-l", "stdout", "-t")
	must(t, err)
	r.daemon = d
	t.Cleanup(func() {
		if err := d.stop(syscall.SIGTERM, 10*time.Second); err != nil {
			t.Error(err)
		}
	})
	must(t, await(20*time.Second, d, func() error {
		text, err := os.ReadFile(d.log)
		if err == nil && !strings.Contains(string(text), "Ready to process requests") {
			err = fmt.Errorf("freeradius is not ready: %s", text)
		}
		return err
	}))
	return r
}

// A 3.2.1 signs its answers only when told to (CVE-2024-3596).
const radiusdConf = `
raddbdir = %[1]s
logdir = %[1]s
run_dir = %[1]s
libdir = /usr/lib/freeradius
pidfile = %[1]s/pid
max_requests = 16384
security {
	allow_core_dumps = no
	max_attributes = 200
	reject_delay = 0
	status_server = yes
}
client lab {
	ipaddr = 127.0.0.1
	secret = %[2]s
	require_message_authenticator = %[3]s
}
modules {
	pap {
	}
	chap {
	}
	mschap {
		use_mppe = no
	}
	files {
		filename = %[1]s/users
	}
	detail {
		filename = %[1]s/detail
		header = "%%t"
		permissions = 0644
		locking = no
		escape_filenames = no
	}
}
server default {
	listen {
		type = auth
		ipaddr = 127.0.0.1
		port = 1812
	}
	listen {
		type = acct
		ipaddr = 127.0.0.1
		port = 1813
	}
	authorize {
		update reply {
			Message-Authenticator := 0x00
		}
		chap
		mschap
		files
		pap
	}
	authenticate {
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
	accounting {
		detail
	}
}
`

// The DNS servers come by Microsoft's attributes (RFC 2548 section 2.7).
const radiusUsers = `
%[1]s Cleartext-Password := "%[2]s"
	Framed-IP-Address = %[3]s,
	MS-Primary-DNS-Server = 192.0.2.53,
	MS-Secondary-DNS-Server = 192.0.2.54

%[4]s Cleartext-Password := "%[5]s"
	Acct-Interim-Interval = %[6]d,
	MS-Primary-DNS-Server = 192.0.2.53,
	MS-Secondary-DNS-Server = 192.0.2.54

DEFAULT Cleartext-Password := "%[7]s"
	MS-Primary-DNS-Server = 192.0.2.53,
	MS-Secondary-DNS-Server = 192.0.2.54
`

// record is one accounting record of the detail file.
type record map[string]string

// number reads an attribute, 0 when it is absent.
func (r record) number(name string) uint64 {
	n, err := strconv.ParseUint(r[name], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// octets joins Acct-<way>-Octets with its gigawords (RFC 2869 section 5.1).
func (r record) octets(way string) uint64 {
	return r.number("Acct-"+way+"-Octets") + r.number("Acct-"+way+"-Gigawords")<<32
}

// records reads the accounting records of a user, in the order they came.
func (r *radius) records(user string) ([]record, error) {
	b, err := os.ReadFile(r.detail)
	if err != nil {
		if os.IsNotExist(err) {
			return nil, nil
		}
		return nil, err
	}
	var all []record
	for _, block := range strings.Split(string(b), "\n\n") {
		if rec := parseRecord(block); rec["User-Name"] == user {
			all = append(all, rec)
		}
	}
	return all, nil
}

// parseRecord reads one block of the detail file.
func parseRecord(block string) record {
	rec := record{}
	for _, line := range strings.Split(block, "\n") {
		if name, value, ok := strings.Cut(line, " = "); ok {
			rec[strings.TrimSpace(name)] = strings.Trim(value, `"`)
		}
	}
	return rec
}

// await waits for the n-th record of a kind (Start, Interim-Update, Stop) of a
// user, counted from 1, and gives it.
func (r *radius) await(limit time.Duration, user, kind string, n int) (record, error) {
	var found record
	err := await(limit, r.daemon, func() error {
		all, err := r.records(user)
		if err != nil {
			return err
		}
		seen := 0
		for _, rec := range all {
			if rec["Acct-Status-Type"] == kind {
				if seen++; seen == n {
					found = rec
					return nil
				}
			}
		}
		return fmt.Errorf("accounting: %d %s records of %s, want %d", seen, kind, user, n)
	})
	return found, err
}

// count counts the records of a user by kind.
func (r *radius) count(user string) (map[string]int, error) {
	all, err := r.records(user)
	n := map[string]int{}
	for _, rec := range all {
		n[rec["Acct-Status-Type"]]++
	}
	return n, err
}

func TestParseRecord(t *testing.T) {
	rec := parseRecord("Fri Nov 21 08:00:00 2025\n\tUser-Name = \"a@b\"\n\tAcct-Input-Octets = 5\n\tAcct-Input-Gigawords = 2\n")
	if rec["User-Name"] != "a@b" || rec.octets("Input") != 2<<32+5 || rec.octets("Output") != 0 {
		t.Errorf("parseRecord: %v", rec)
	}
}
