package ipsec

import (
	"fmt"
	"strings"
	"time"
)

// charon is a strongSwan in one namespace.
type charon struct {
	l   *lab
	ns  string
	dir string
}

const plugins = "random nonce openssl x509 revocation constraints pubkey pkcs1 pkcs8 pem curve25519 gcm hmac kdf kernel-netlink socket-default vici eap-identity eap-mschapv2 curl"

// startCharon starts a strongSwan; extra goes into its own section of strongswan.conf.
func (l *lab) startCharon(ns, extra string) (*charon, error) {
	c := &charon{l, ns, dir + "/" + ns}
	conf := fmt.Sprintf(`%s
charon-systemd {
  load = %s
  plugins { vici { socket = unix://%s/vici } }
  filelog { f { path = %s/charon.log
    flush_line = yes
    time_format = %%T
    default = 1 } }
  journal { default = -1 }
  %s
}
swanctl { load = random openssl x509 pem pkcs1 pkcs8 }
`, c.shipped(), plugins, c.dir, c.dir, extra)
	if err := l.Put(c.dir+"/strongswan.conf", conf, 0o600); err != nil {
		return nil, err
	}
	return c, c.start()
}

// shipped gives the LNS's charon the settings that the project ships; those that follow come before them.
func (c *charon) shipped() string {
	if c.ns != "lns" {
		return ""
	}
	return "include " + lnsDir + "/culvert.conf"
}

// start starts the daemon, for the first time or again.
func (c *charon) start() error {
	_, err := c.l.sh(c.ns, 20*time.Second, `cd %s && mkdir -p x509 x509ca private x509crl && rm -f vici
STRONGSWAN_CONF=$PWD/strongswan.conf setsid /usr/sbin/charon-systemd >charon.out.log 2>&1 </dev/null & echo $! > %s/charon.pid
for i in $(seq 300); do [ -S %s/vici ] && exit 0; sleep 0.1; done; cat charon.out.log; exit 1`, c.dir, c.dir, c.dir)
	return err
}

// kill ends it as a crash does.
func (c *charon) kill() error {
	_, err := c.l.Run(10*time.Second, fmt.Sprintf("p=$(cat %s/charon.pid); kill -9 $p; while [ -d /proc/$p ]; do sleep 0.05; done", c.dir))
	return err
}

// swan runs swanctl.
func (c *charon) swan(limit time.Duration, args string) (string, error) {
	command, rest, _ := strings.Cut(args, " ")
	return c.l.sh(c.ns, limit, "STRONGSWAN_CONF=%s/strongswan.conf SWANCTL_DIR=%s swanctl %s --uri unix://%s/vici %s 2>&1", c.dir, c.dir, command, c.dir, rest)
}

// conn is a connection of a LAC's strongSwan, as its administrator writes it.
type conn struct {
	name    string
	version int
	psk     string   // or
	eap     string   // the name of a user, whose password psk is, or
	who     identity // a certificate
	id      string
	own     bool // its key is that of its id, before others
	ike     string
	esp     string
	encap   bool
	port    string // of our side; "1701" where it says nothing
	lns     string // the LNS's address; lnsAddr where it says nothing
	more    string // lines of the connection
	child   string // lines of the child
}

// configure gives a LAC's strongSwan these connections, instead of those it had.
func (c *charon) configure(list ...conn) error {
	var b, secrets strings.Builder
	b.WriteString("connections {\n")
	for i, x := range list {
		auth := "auth = psk"
		switch {
		case x.eap != "":
			auth = "auth = eap-mschapv2\n      eap_id = " + x.eap
			fmt.Fprintf(&secrets, "  eap-%d { \n    id = %s\n    secret = %q\n  }\n", i, x.eap, x.psk)
		case x.psk == "":
			auth = fmt.Sprintf("auth = pubkey\n      certs = %s.pem", x.name)
			if err := c.l.Put(c.dir+"/x509/"+x.name+".pem", x.who.cert, 0o600); err != nil {
				return err
			}
			if err := c.l.Put(c.dir+"/private/"+x.name+".pem", x.who.key, 0o600); err != nil {
				return err
			}
		default:
			owner := ""
			if x.own {
				owner = "    id-own = " + x.id + "\n    id-any = %any\n" // the LNS may be anybody
			}
			fmt.Fprintf(&secrets, "  ike-%d { \n%s    secret = %q\n  }\n", i, owner, x.psk)
		}
		if x.id != "" {
			auth += "\n      id = " + x.id
		}
		remote := "auth = psk"
		if x.psk == "" || x.eap != "" {
			remote = "auth = pubkey\n      id = lns.example.net"
		}
		encap := "no"
		if x.encap {
			encap = "yes"
		}
		fmt.Fprintf(&b, `  %s {
    version = %d
    remote_addrs = %s
    proposals = %s
    encap = %s
    %s
    local {
      %s
    }
    remote {
      %s
    }
    children { l2tp {
      mode = transport
      local_ts = dynamic[udp/%s]
      remote_ts = dynamic[udp/1701]
      esp_proposals = %s
      %s
    } }
  }
`, x.name, x.version, or(x.lns, lnsAddr), or(x.ike, "aes256-sha256-ecp256"), encap, x.more, auth, remote, or(x.port, "1701"), or(x.esp, "aes128gcm16-ecp256"), x.child)
	}
	b.WriteString("}\nsecrets {\n" + secrets.String() + "}\n")
	if err := c.l.Put(c.dir+"/x509ca/ca.pem", c.l.pki.ca, 0o600); err != nil {
		return err
	}
	if err := c.l.Put(c.dir+"/swanctl.conf", b.String(), 0o600); err != nil {
		return err
	}
	_, err := c.swan(20*time.Second, "--load-all --noprompt --clear")
	return err
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// initiate sets up a connection's SA.
func (c *charon) initiate(name string) error {
	_, err := c.swan(30*time.Second, "--initiate --child l2tp --ike "+name+" --timeout 60")
	return err
}

// terminate ends a connection's SAs.
func (c *charon) terminate(name string) error {
	_, err := c.swan(20*time.Second, "--terminate --ike "+name+" --timeout 10")
	return err
}

// drop ends all of a connection without asking anybody, whatever state it is in.
func (c *charon) drop(name string) {
	_, _ = c.swan(20*time.Second, "--terminate --ike "+name+" --force --timeout 3") // there may be none
}
