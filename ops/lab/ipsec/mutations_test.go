package ipsec

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// envMutations is an expression that picks mutations to try in guests, each for some minutes ("." is all).
	// ops/lab/bench/ipsec.sh sets it. Where it says nothing, only that all of them still fit the code is tested.
	envMutations = "CULVERT_IPSEC_MUTATIONS"
	// envPrograms is a folder with programs for the guest, instead of new ones.
	envPrograms = "CULVERT_IPSEC_PROGRAMS"
)

// mutation takes a mechanism out of a copy of one file. The rows that it names have to fail then.
type mutation struct {
	what     string // is taken out
	file     string // from the module's root
	old, new string // old is in the file once
	rows     []string
}

var mutations = []mutation{
	{"the wall: no kernel policies against clear L2TP", "lns/ipsec/wall.go",
		"want := wall(m.cfg.Listen, m.loading, m.cfg.Marks)", "want := wall(m.cfg.Listen, nil, m.cfg.Marks)",
		[]string{"TestRefused/clear_SCCRQ_at_the_kernel", "TestRefused/forged_StopCCN_at_the_kernel", "TestRefused/answers_after_the_SA's_end"}},
	{"the mark of what arrives is ignored", "lns/dataplane/marks.go",
		"a.mark = value", "a.mark = 0 * value", []string{"TestIPsec/matrix/ikev2-key-plain-gcm"}},
	{"answers go without their mark", "lns/dataplane/marks.go",
		"(&control[unix.SizeofCmsghdr])) = mark", "(&control[unix.SizeofCmsghdr])) = 0 * mark", []string{"TestIPsec/matrix/ikev2-key-plain-gcm"}},
	{"ESP takes no room", "lns/espsize.go",
		"return room - udpHeader\n", "return path - ip - udpHeader\n",
		[]string{"TestLife/full-size_packets/aes128gcm16-ecp256_encap=false"}},
	{"a profile that requires IPsec takes tunnels in clear", "lns/protect.go",
		"p != nil && p.IPsecMode() == IPsecRequired {\n\t\t\tsh.complain(dropClear", "p != nil && p.IPsecMode() == \"\" {\n\t\t\tsh.complain(dropClear",
		[]string{"TestRefused/clear_SCCRQ_without_the_wall"}},
	{"a protected tunnel takes what comes in clear", "lns/protect.go",
		"case sa == nil:\n\t\tsh.complain(dropClear, \"dropped a datagram in clear", "case sa == nil && from.mark == 0:\n\t\treturn true\n\tcase sa == nil:\n\t\tsh.complain(dropClear, \"dropped a datagram in clear",
		[]string{"TestRefused/forged_StopCCN_without_the_wall"}},
	{"a tunnel takes what comes through any SA", "lns/protect.go",
		"case !sh.srv.mayFollow(f, at, from, sa):", "case false:",
		[]string{"TestRefused/forged_StopCCN_through_another_LAC's_SA", "TestRefused/data_through_another_LAC's_SA"}},
	{"the end of an SA does not end its tunnels", "lns/saevents.go",
		"sh.saLost(t, at, m.end)", "_ = at", []string{"TestLife/SA_deleted_by_the_LAC", "TestLife/LAC_frozen"}},
	{"charon's events are not heard", "lns/ipsec/follow.go",
		"s.m.event(e.name, e.body)", "_ = e.body", []string{"TestRefused/wrong_key", "TestRefused/expired_certificate"}},
	{"the LAC's identity is not compared", "lns/ipsec/connection.go",
		"r.Set(\"auth\", \"pubkey\")\n\t\tr.Set(\"id\", id)", "r.Set(\"auth\", \"pubkey\")\n\t\tr.Set(\"id\", \"%any\")",
		[]string{"TestRefused/certificate_of_nobody's_profile"}},
	{"every key is everybody's", "lns/ipsec/keyring.go",
		"if r.sole || k == nil || k.open {\n\t\treturn openOwners(p)", "if r.sole || k != nil || k.open {\n\t\treturn openOwners(p)",
		[]string{"TestRefused/another_profile's_key,_IKEv2"}},
	{"nobody asks whose key has made an SA", "lns/ipsec/judge.go",
		"if why == \"\" {", "if why != \"x\" {", []string{"TestRefused/another_profile's_key,_and_an_identity_of_that"}},
	{"no ESP in UDP where a profile forces it", "lns/ipsec/connection.go",
		"yesNo(s.Encap)", "yesNo(s.Encap && false)", []string{"TestReach/ESP_in_UDP_is_forced"}},
	{"a profile without IPsec is loaded into charon", "lns/ipsec/connection.go",
		"if p.IPsecMode() == lns.IPsecNever {", "if p.IPsec == nil {", []string{"TestReach/never_uses_IPsec"}},
	{"revocation lists are not loaded", "lns/ipsec/connection.go",
		"load(\"X509_CRL\", \"NONE\", s.CRL)", "_ = s.CRL", []string{"TestRefused/revoked_certificate"}},
	{"no replay protection", "lns/ipsec/connection.go",
		"strconv.Itoa(s.ReplayWindow)", "strconv.Itoa(0 * s.ReplayWindow)", []string{"TestRefused/replayed_ESP"}},
	{"dead peers are not looked for", "lns/ipsec/connection.go",
		"conn.Set(\"dpd_delay\", seconds(s.DPDDelay))", "conn.Set(\"dpd_delay\", seconds(0*s.DPDDelay))", []string{"TestLife/LAC_frozen"}},
	{"packets that come before their keys are lost", "lns/ipsec/early/keeper_linux.go",
		"if err := k.send(id.to, packet); err != nil {", "if err := error(nil); err != nil {", []string{"TestLife/rekeying"}},
	{"no patience with a LAC that charon has forgotten", "lns/ipsec/resync.go",
		"lns.SAEndRestart, \"charon was restarted and has forgotten it\", m.patience(p.sa.Profile)", "lns.SAEndRestart, \"charon was restarted and has forgotten it\", 0*m.patience(p.sa.Profile)",
		[]string{"TestLife/charon_killed"}},
	{"a tunnel that an operator stops leaves its SA", "lns/saevents.go",
		"t.endSA && sa != nil && others == 0", "t.endSA && sa != nil && others < 0", []string{"TestLife/operator_stops_the_tunnel"}},
}

// TestMutations takes mechanisms out, one after the other, and wants the rows that are about them to fail.
func TestMutations(t *testing.T) {
	root, err := filepath.Abs("../../..")
	must(t, err)
	must(t, compiles(t.TempDir(), root))
	pick := os.Getenv(envMutations)
	if pick == "" {
		return
	}
	needs(t)
	picked := slices.DeleteFunc(slices.Clone(mutations), func(m mutation) bool { return !regexp.MustCompile(pick).MatchString(m.what) })
	dirs := make([]string, len(picked))
	for i := range dirs {
		dirs[i] = t.TempDir()
	}
	// While one is tried the next is built.
	built := make(chan error, 1)
	go func() {
		for i := range picked {
			built <- picked[i].build(dirs[i], root, dirs[0])
		}
	}()
	var table strings.Builder
	for i := range picked {
		err := <-built
		t.Run(picked[i].what, func(t *testing.T) {
			must(t, err)
			picked[i].try(t, dirs[i], &table)
		})
		note(t, table.String())
	}
}

// note leaves what was seen so far, which may be all that is seen where time runs out.
func note(t *testing.T, table string) {
	t.Helper()
	if out := os.Getenv(envOut); out != "" {
		must(t, os.MkdirAll(filepath.Join(out, "mutations"), 0o755))
		must(t, os.WriteFile(filepath.Join(out, "mutations", "results.txt"), []byte(table), 0o644))
	}
}

// apply gives the file's text without the mechanism.
func (m *mutation) apply(root string) (string, error) {
	b, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(b), m.old); n != 1 {
		return "", fmt.Errorf("%s: %q is %d times in %s, and has to be there once: make the mutation follow the code", m.what, m.old, n, m.file)
	}
	return strings.Replace(string(b), m.old, m.new, 1), nil
}

// compiles builds the code without any of the mechanisms: what does not compile would fail in a guest too, but not
// because of what it takes out.
func compiles(dir, root string) error {
	texts := map[string]string{}
	for i := range mutations {
		m := &mutations[i]
		text, err := m.apply(root)
		if err != nil {
			return err
		}
		if before, ok := texts[m.file]; ok {
			text = strings.Replace(before, m.old, m.new, 1)
		}
		texts[m.file] = text
	}
	overlay, err := writeOverlay(dir, root, texts)
	if err != nil {
		return err
	}
	if out, err := exec.Command("go", "build", "-overlay", overlay, "culvert/lns/...").CombinedOutput(); err != nil {
		return fmt.Errorf("the code without its mechanisms does not compile: %w\n%s", err, out)
	}
	return nil
}

// writeOverlay writes a file for `go build -overlay` with the texts of files.
func writeOverlay(dir, root string, texts map[string]string) (string, error) {
	replace := map[string]string{}
	for file, text := range texts {
		changed := filepath.Join(dir, strings.ReplaceAll(file, "/", "-"))
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(root, file)] = changed
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, b, 0o600)
}

// failedRow finds what rows failed, and why.
var failedRow = regexp.MustCompile(`(?m)^ *--- FAIL: (\S+)`)

// build makes the programs without the mechanism; those that it has no part in are taken from first, where they are.
func (m *mutation) build(dir, root, first string) error {
	text, err := m.apply(root)
	if err != nil {
		return err
	}
	overlay, err := writeOverlay(dir, root, map[string]string{m.file: text})
	if err != nil || dir == first {
		return errors.Join(err, build(dir, []string{"-overlay", overlay}, "lnsd", "lnsctl", "lacsim"))
	}
	return errors.Join(build(dir, []string{"-overlay", overlay}, "lnsd"), os.Link(first+"/lnsctl", dir+"/lnsctl"), os.Link(first+"/lacsim", dir+"/lacsim"))
}

// try runs the rows in a guest with the programs so changed. Alternatives need brackets: without them each is a whole name.
func (m *mutation) try(t *testing.T, dir string, table *strings.Builder) {
	test, rows, _ := strings.Cut(m.rows[0], "/")
	for _, row := range m.rows[1:] {
		_, more, _ := strings.Cut(row, "/")
		rows += "|" + more
	}
	if len(m.rows) > 1 {
		rows = "(" + rows + ")"
	}
	cmd := exec.Command(os.Args[0], "-test.v", "-test.timeout=15m", "-test.run=^"+test+"$/"+rows)
	cmd.Env = append(os.Environ(), envPrograms+"="+dir, envOut+"="+filepath.Join(dir, "out"))
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("nothing failed without it:\n%s", out)
	}
	failed := map[string]bool{}
	for _, f := range failedRow.FindAllStringSubmatch(string(out), -1) {
		failed[f[1]] = true
	}
	setup := failed[test] && len(failed) == 1 // not even the call that the rows are about came up
	for _, row := range m.rows {
		result := "fails"
		switch {
		case failed[row]:
		case setup:
			result = "fails: no call comes up"
		default:
			result = "PASSES"
			t.Errorf("%s passes without it:\n%s", row, out)
		}
		fmt.Fprintf(table, "%s: %s %s: %s\n", m.what, row, result, said(string(out), row))
		t.Logf("%s %s (%v)", row, result, time.Since(began).Round(time.Second))
	}
}

// message is what a test says of a failure.
var message = regexp.MustCompile(`(?m)^ +\w+_test\.go:\d+: (.{0,200})`)

// said is the first that was said from a row's begin on, or of all where it did not begin.
func said(out, row string) string {
	if at := strings.Index(out, "=== RUN   "+row+"\n"); at >= 0 {
		out = out[at:]
	}
	if m := message.FindStringSubmatch(out); m != nil {
		return m[1]
	}
	return "nothing was said"
}
