package interop

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"culvert/aaa/radius/radtest"
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

// radiusUsers is FreeRADIUS' users file. The DNS servers come by Microsoft's
// attributes (RFC 2548 section 2.7).
const radiusUsers = `
%[1]s Cleartext-Password := "%[2]s"
	Framed-IP-Address = %[3]s,
	Fall-Through = Yes

%[4]s Cleartext-Password := "%[2]s"
	Acct-Interim-Interval = %[5]d,
	Fall-Through = Yes

DEFAULT Cleartext-Password := "%[2]s"
	MS-Primary-DNS-Server = %[6]s,
	MS-Secondary-DNS-Server = %[7]s
`

// nameServers are what subscribers are told.
var nameServers = []string{"192.0.2.53", "192.0.2.54"}

// radius is a FreeRADIUS with its detail file.
type radius struct{ *radtest.FreeRADIUS }

func startRADIUS(t *testing.T, c *certs) radius {
	t.Helper()
	return radius{radtest.StartFreeRADIUS(t, radtest.FreeRADIUSConfig{
		Secret: radiusSecret, EAP: "md5", Certificates: c.radius, Record: true,
		Users: eapUsers + fmt.Sprintf(radiusUsers, fixedUser, password, fixedAddr, heldUser,
			int(interim.Seconds()), nameServers[0], nameServers[1]),
	})}
}

// keep copies the detail file and the log to where people look for them.
func (r radius) keep(out string) error {
	var errs []error
	for name, path := range map[string]string{"freeradius.detail": r.Detail, "freeradius.log": r.Log} {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // nothing was accounted
		}
		errs = append(errs, err, os.WriteFile(filepath.Join(out, name), text, 0o644))
	}
	return errors.Join(errs...)
}

// record is one accounting record of the detail file.
type record map[string][]string

// first is an attribute's first value, "" when it is absent.
func (r record) first(name string) string {
	if v := r[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// number reads an attribute, 0 when it is absent or no number.
func (r record) number(name string) uint64 {
	n, err := strconv.ParseUint(r.first(name), 10, 64)
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
func (r radius) records(user string) []record {
	var all []record
	for _, d := range r.Details() {
		if rec := record(d); rec.first("User-Name") == user {
			all = append(all, rec)
		}
	}
	return all
}

// await waits for the first record of a kind (Start, Interim-Update, Stop) of a user.
func (r radius) await(user, kind string) (record, error) {
	var found record
	err := await(interim+patience, nil, func() error {
		for _, rec := range r.records(user) {
			if rec.first("Acct-Status-Type") == kind {
				found = rec
				return nil
			}
		}
		return fmt.Errorf("accounting: no %s of %s", kind, user)
	})
	return found, err
}

// count counts the records of a user by kind.
func (r radius) count(user string) map[string]int {
	n := map[string]int{}
	for _, rec := range r.records(user) {
		n[rec.first("Acct-Status-Type")]++
	}
	return n
}

func TestRecord(t *testing.T) {
	rec := record{"User-Name": {"a@b"}, "Acct-Input-Octets": {"5"}, "Acct-Input-Gigawords": {"2"}}
	if rec.first("User-Name") != "a@b" || rec.octets("Input") != 2<<32+5 || rec.octets("Output") != 0 {
		t.Errorf("record: %v", rec)
	}
}
