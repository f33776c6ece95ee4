package scale

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"culvert/ops/lab/proc"
)

const (
	// envSize picks the sizes: "full", or else the small ones.
	envSize = "CULVERT_SCALE"
	// envOut is where logs and results are left.
	envOut = "CULVERT_SCALE_OUT"
	// envProfile asks for CPU and heap profiles of lnsd beside the results.
	envProfile = "CULVERT_SCALE_PROFILE"
)

func TestMain(m *testing.M) {
	os.Exit(proc.Main(func() int {
		defer removeTemporary()
		return m.Run()
	}))
}

// temporary are folders to remove at the end.
var temporary []string

func removeTemporary() {
	for _, dir := range temporary {
		_ = os.RemoveAll(dir)
	}
}

// makeTemporary makes a folder that is removed at the end of the suite.
func makeTemporary(pattern string) (string, error) {
	dir, err := os.MkdirTemp("", pattern)
	temporary = append(temporary, dir)
	return dir, err
}

// full tells whether the sizes are those of the real proof.
func full() bool { return os.Getenv(envSize) == "full" }

// needsRoot skips a test outside of the suite's namespaces.
func needsRoot(t *testing.T) {
	t.Helper()
	if !proc.Inside() {
		t.Skip("needs root, for namespaces and devices")
	}
}

// must ends the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lab is what all runs share.
type lab struct {
	out string // results and logs
	bin string // the programs under test
}

var shared = sync.OnceValues(func() (*lab, error) {
	l := &lab{out: os.Getenv(envOut)}
	var err error
	if l.out == "" {
		if l.out, err = makeTemporary("scale"); err != nil {
			return nil, err
		}
	}
	if l.out, err = filepath.Abs(l.out); err != nil {
		return nil, err
	}
	if l.bin, err = makeTemporary("scale-bin"); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(l.out, 0o755); err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", l.bin+"/", "culvert/cmd/lnsd", "culvert/cmd/lacsim")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	return l, makeNetwork()
})

// newLab gives the lab, made at its first use.
func newLab(t *testing.T) *lab {
	t.Helper()
	l, err := shared()
	must(t, err)
	return l
}

// The addresses of the lab: lnsd is in the test's own network namespace, with
// PostgreSQL and RADIUS on its loopback; lacsim is in another one, at the other end of a wire.
const (
	lacNamespace = "lac"
	lnsAddr      = "10.99.0.1"
	lacAddr      = "10.99.0.2"
	// gatewayAddr is the LNS' end of every link.
	gatewayAddr = "100.64.0.1"
	// pool has room for more than 65,536 sessions.
	pool = "100.64.0.0/14"
)

func makeNetwork() error {
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return err
	}
	return proc.IP(
		"netns add "+lacNamespace,
		"link add wire type veth peer name wire netns "+lacNamespace,
		"addr add "+lnsAddr+"/24 dev wire",
		"link set wire up",
		"-n "+lacNamespace+" addr add "+lacAddr+"/24 dev wire",
		"-n "+lacNamespace+" link set wire up",
		"-n "+lacNamespace+" link set lo up",
	)
}
