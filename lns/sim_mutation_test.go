package lns

import (
	"context"
	"flag"
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

// mutation is a fault put into a copy of one file. The simulation has to find it.
type mutation struct {
	what     string // is broken
	file     string // from the module's root
	old, new string // old is in the file once
	// also is what has to be broken with it to have an effect, since it is doubled.
	also []edit
}

// edit is a change of one file.
type edit struct{ file, old, new string }

// edits are all of a mutation's.
func (m *mutation) edits() []edit { return append([]edit{{m.file, m.old, m.new}}, m.also...) }

// mutations break what the invariants rely on, each of it at least once.
var mutations = []mutation{
	{"an SCCRQ that comes again makes another tunnel", "lns/accept.go",
		"if id, ok := sh.accept.known[key]; ok {", "if id, ok := sh.accept.known[key]; ok && id == 0 {", nil},
	{"a duplicate control message is delivered again", "proto/l2tp/control_receive.go",
		"return VerdictDuplicate\n\tcase ahead == 0", "return VerdictDeliver\n\tcase ahead == 0", nil},
	{"a control message that came early is delivered at once", "proto/l2tp/control_receive.go",
		"return c.keep(now, h, payload)", "return VerdictDeliver", nil},
	{"a late message of another connection is taken", "proto/l2tp/control_receive.go",
		"if int16(h.Nr-c.high) > 0 {", "if int16(h.Nr-c.high) > 1000 {", nil},
	{"a retransmission is forgotten", "proto/l2tp/control_send.go",
		"c.retryAt = now + c.cfg.interval(c.retries)\n\tc.transmit(now, fx)", "c.retryAt = now + c.cfg.interval(c.retries)", nil},
	{"a retransmission takes a new number", "proto/l2tp/control_send.go",
		"ns := c.una + uint16(c.flight)", "ns := c.una + uint16(c.flight) + uint16(c.retries)", nil},
	{"the peer's window is not kept", "proto/l2tp/control_send.go",
		"min(int(min(c.cwnd, c.peerWindow)), c.Unacked())", "c.Unacked()", nil},
	{"a silent peer is not asked", "proto/l2tp/tunnel_step.go",
		"t.ctl.StartHello(now)", "t.ctl.heard = now", nil},
	{"a tunnel with a dead peer is not ended", "proto/l2tp/control_send.go",
		"c.dead, c.retryAt, c.ackAt, c.hello = true, Never, Never, false\n", "c.retries = 0\n", nil},
	{"ids are used again early", "lns/ids.go",
		"waiting > quarantine ||", "waiting > 0 ||", nil},
	{"ids of the last life are used again early", "lns/accept.go",
		"ids.fresh += uint16((epoch + lifes - 1) % lifes * lifeIDs)", "_ = epoch", nil},
	// A life begins to number its tunnels elsewhere, so that what lives on is met again only in the eighth.
	{"a tunnel id that lives on is given once more", "lns/reviveids.go",
		"a.ids[i].restore(ids, 0)", "a.ids[i].used = len(ids)",
		[]edit{{"lns/accept.go", "ids.fresh += uint16((epoch + lifes - 1) % lifes * lifeIDs)", "_ = epoch"}}},
	{"a session id that lives on is given once more", "lns/revive.go",
		"t.calls.ids.restore(ids, v.fresh)", "t.calls.ids.used = len(ids)", nil},
	{"a call's id is not given back", "lns/call.go",
		"c.ids.release(id)\n\treturn true", "return true", nil},
	{"a tunnel's id is not given back", "lns/tunnel.go",
		"sh.send(0, tunnelGone{t.accept, t.facts.id})", "", nil},
	{"a tunnel's end does not end its sessions", "lns/tunnel.go",
		"if len(ids) > 0 {\n\t\t\tsh.send(shard, callsDown{", "if len(ids) > 1 {\n\t\t\tsh.send(shard, callsDown{", nil},
	{"a call whose LAC says no more is waited for for ever", "lns/session.go",
		"sh.wheel.set(&s.timer, sh.now+dialTimeout)", "", nil},
	{"an ended session keeps its timer", "lns/end.go",
		"sh.wheel.stop(&s.timer)\n\tdelete(sh.sessions, s.key)", "delete(sh.sessions, s.key)", nil},
	{"a failed call stays counted", "lns/end.go",
		"sh.srv.settingUp.Add(-1)\n\t\tsh.stats.callsFailed++", "sh.stats.callsFailed++", nil},
	{"an ended session keeps its address", "lns/end.go",
		"if s.address.IsValid() {\n\t\tsh.srv.cfg.Addresses.Release", "if s.address.IsValid() && s.cause != CauseUserRequest {\n\t\tsh.srv.cfg.Addresses.Release", nil},
	{"an address is free again while its session says goodbye, and again after it", "aaa/ippool/pools.go",
		"if h, ok := p.fixed[addr]; ok && h.owner != owner {", "if h, ok := p.fixed[addr]; ok && h.owner != owner && h.user == user {", nil},
	{"a pool gives an address that is in use", "aaa/ippool/pool.go",
		`ok && user != "" && !p.slot(i).used {`, `ok && user != "" {`, nil},
	{"an earlier call takes the address of the later one", "lns/auth.go",
		"if held.Owner > s.owner {", "if held.Owner > s.owner && s.owner == 0 {", nil},
	{"a network that is another's is given", "lns/prefixes.go",
		"case h.user != user:", "case h.user != user && h.owner == 0:", nil},
	{"an earlier call takes the network of the later one", "lns/prefixes.go",
		"case h.owner > owner:", "case h.owner > owner && owner == 0:", nil},
	{"an ended session keeps its network", "lns/end.go",
		"sh.srv.prefixes.release(s.routes(), s.owner)", "", nil},
	{"a stale answer of AAA is taken", "lns/auth.go",
		"|| !s.link.Awaits(m.serial) {", "{", nil},
	{"a Response of EAP goes to AAA twice", "lns/link/eap.go",
		"l.auth, l.authID = authWaiting, p.ID", "l.auth = authWaiting", nil},
	{"a Stop is dropped", "lns/end.go",
		"sh.account(s, aaa.UsageStop, now, c)", "if s.cause != CauseLACCarrierLost {\n\t\tsh.account(s, aaa.UsageStop, now, c)\n\t}", nil},
	{"a session that is ending ends again", "lns/end.go",
		"if s.state == stateClosing {\n\t\treturn\n\t}\n\tup := s.state == stateUp", "up := s.state == stateUp || s.state == stateClosing", nil},
	{"the last cause wins", "lns/end.go",
		"if s.state == stateClosing {\n\t\treturn\n\t}\n\tup :=", "if s.state == stateClosing {\n\t\ts.cause = cause\n\t\tsh.stats.downs[cause]++\n\t\treturn\n\t}\n\tup :=", nil},
	{"the Stop has no counters", "lns/end.go",
		"sh.account(s, aaa.UsageStop, now, c)", "sh.account(s, aaa.UsageStop, now, dataplane.Counters{})", nil},
	{"the Acct-Session-Id does not tell lives apart", "lns/identity.go",
		"s.cfg.Node, s.epoch, owner)", "s.cfg.Node, 1, owner)", nil},
	{"accounting records are numbered from 1 in each life", "lns/server.go",
		"s.lastSeq.Store(uint64(s.epoch) << 36)", "s.lastSeq.Store(1 << 36)", nil},
	{"datagrams leave before the journal has what they say", "lns/shard.go",
		"sh.commit()\n\tsh.askConfirm()", "defer sh.commit()\n\tsh.askConfirm()", nil},
	{"a session is not journaled when it comes up", "lns/up.go",
		"sh.keepSession(s, sh.account(s, aaa.UsageStart, now, dataplane.Counters{}), now, dataplane.Counters{})", "sh.account(s, aaa.UsageStart, now, dataplane.Counters{})", nil},
	{"a tunnel's numbers are journaled only when the LAC's have moved", "lns/keep.go",
		"told := s.Ns != t.kept.ns || int16", "told := int16", nil},
	{"a call is not journaled", "lns/call.go",
		"t.placed = append(t.placed, placedCall{id, m.AssignedSessionID})\n\tsh.srv.settingUp.Add(1)", "sh.srv.settingUp.Add(1)", nil},
	{"a call is journaled after its acknowledgement", "lns/keep.go",
		"for _, c := range t.placed {", "for _, c := range t.placed[:len(t.placed)/2] {", nil},
	{"what a failing journal has refused is not tried again", "lns/commit.go",
		"sh.unkept = append(sh.unkept, sh.changes[:n]...)", "sh.unkept = append(sh.unkept, sh.changes[:n/2]...)", nil},
	{"the journal loses a write", "sessiondb/journal/memory.go",
		"if put {\n\t\t\tm.records", "if put && len(m.records)%64 != 63 {\n\t\t\tm.records", nil},
	{"a recovered session loses its counters", "lns/revive.go",
		"p.Counted = v.counted", "", nil},
	{"a record that no server has acknowledged is given up", "aaa/outbox/run.go",
		"if s.first.kind == aaa.UsageInterim && s.first.next != nil {", "if s.first.next != nil {", nil},
	{"a record takes the place of any that waits before it", "aaa/outbox/session.go",
		"old == nil || old.kind != aaa.UsageInterim ||", "old == nil ||", nil},
	{"an acknowledged record stays in the journal", "aaa/outbox/session.go",
		"o.drops = append(o.drops, r.seq)", "if r.seq%16 != 0 {\n\t\to.drops = append(o.drops, r.seq)\n\t}", nil},
	{"the plane lets late data messages through", "lns/dataplane/reorder.go",
		"case ahead < 0 || ahead > 0", "case ahead < -1000 || ahead > 0", nil},
	{"what waits for its turn leaves before it", "lns/dataplane/reorder.go",
		"	default:\n\t\tp.ahead(u, s, q, d, h, payload, ahead)", "	default:\n\t\tp.forward(u, s, d, h, payload)", nil},
	{"a LAC that has moved goes on to be sought where it was", "lns/float.go",
		"sh.adds = append(sh.adds, sh.planeSession(s))", "", nil},
	{"a LAC that has moved and begins anew gets a second tunnel", "lns/float.go",
		"sh.rekey(t, at.source)", "", nil},
	{"an outgoing call that nobody answers rings for ever", "lns/dial.go",
		"sh.wheel.set(&s.timer, sh.now+answerTimeout)", "", nil},
	{"an outgoing call is not journaled", "lns/dial.go",
		"sh.keepCall(t, id, 0)\n", "", nil},
	{"the secret is not used to read a hidden SCCRQ", "lns/accept.go",
		`if err != nil && p != nil && p.Secret != "" {`, `if err != nil && p != nil && p.Secret == "" {`, nil},
}

var (
	simMutate = flag.String("mutations", "", "build the copies that match this expression, each with one fault, and have the simulation find it")
	simWrite  = flag.Bool("write", false, "with -mutations: write what was found into SIMULATION.md")
)

const (
	// mutationSeeds and mutationTime bound the search for one fault.
	mutationSeeds = 5000
	mutationTime  = 10 * time.Minute
	mutationDoc   = "SIMULATION.md"
)

// TestMutations checks that every mutation can be made and is listed with the seed
// that caught it; with -mutations it makes them and looks for such seeds.
func TestMutations(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(mutationDoc)
	if err != nil {
		t.Fatal(err)
	}
	only, err := regexp.Compile(*simMutate)
	if err != nil {
		t.Fatal(err)
	}
	for i := range allMutations {
		if err := allMutations[i].check(root); err != nil {
			t.Error(err)
		}
	}
	if *simMutate != "" && !t.Failed() {
		search(t, root, string(doc), func(i int) bool { return only.MatchString(nameOf(i)) })
		return
	}
	for i := range allMutations {
		if rowOf(string(doc), &allMutations[i]) == "" {
			t.Errorf("%q is not in %s: make simulate MUTATIONS=. writes it", allMutations[i].what, mutationDoc)
		}
	}
}

// check says what is wrong with a mutation.
func (m *mutation) check(root string) error {
	for _, e := range m.edits() {
		b, err := os.ReadFile(filepath.Join(root, e.file))
		if err != nil {
			return err
		}
		if n := strings.Count(string(b), e.old); n != 1 {
			return fmt.Errorf("mutation %q: what it replaces is %d times in %s; adapt it in sim_mutation_test.go:\n%s", m.what, n, e.file, e.old)
		}
	}
	return nil
}

// allMutations are those of both simulations. Their numbers are their places in it.
var allMutations = slices.Concat(mutations, clusterMutations)

// nameOf is what -mutations looks at.
func nameOf(i int) string {
	if i < len(mutations) {
		return allMutations[i].what
	}
	return "cluster: " + allMutations[i].what
}

// search looks for seeds that catch those mutations that only picks. The lists have a row for each, in the
// order of mutations, those that were caught before and are not looked for included.
func search(t *testing.T, root, doc string, only func(int) bool) {
	bin := buildMutants(t, root, only)
	rows := map[string][]string{}
	for i := range allMutations {
		m, head, s := &allMutations[i], mutationHead, oneNode
		if i >= len(mutations) {
			head, s = clusterMutationHead, wholeCluster
		}
		row := rowOf(doc, m)
		if only(i) {
			if row = m.search(t, bin, i, row, s); row == "" {
				continue
			}
		}
		if row != "" {
			rows[head] = append(rows[head], row)
		}
	}
	if *simWrite {
		writeRows(t, doc, rows)
	}
}

var caughtAs = regexp.MustCompile(`(?s)sim(?:_cluster)?_test\.go:\d+: ([^:]+): .*?seed (\d+):`)

// search runs the simulation with the fault until it fails: with the seed of the row that the list
// has, then with others. It gives the row for the list.
func (m *mutation) search(t *testing.T, bin string, number int, row string, s simulation) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), mutationTime)
	defer cancel()
	began, first, seeds := time.Now(), "1", 1
	if cells := strings.Split(row, " | "); len(cells) == 4 {
		first = strings.TrimSuffix(cells[3], " |")
	}
	for ; seeds <= mutationSeeds; first, seeds = "1", seeds*mutationSeeds {
		cmd := exec.CommandContext(ctx, bin, "-test.run=^"+s.test+"$", "-test.timeout=0",
			"-first="+first, fmt.Sprint("-seeds=", seeds), fmt.Sprint("-clusterseeds=", seeds), "-fresh=0", "-shrink=0")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", mutantEnv, number), "GOGC=400")
		out, err := cmd.CombinedOutput()
		if found := caughtAs.FindSubmatch(out); err != nil && found != nil {
			t.Logf("%s: seed %s, %s", m.what, found[2], found[1])
			return fmt.Sprintf("| %s | `%s` | %s | %s |", m.what, m.file, found[1], found[2])
		} else if err != nil {
			t.Errorf("mutation %q was not caught in %v: %v\n%.2000s", m.what, time.Since(began).Round(time.Second), err, out)
			return ""
		}
	}
	t.Errorf("mutation %q was not caught by %d seeds", m.what, mutationSeeds)
	return ""
}

// rowOf finds a mutation's row in the list, with the line's end left out.
func rowOf(doc string, m *mutation) string {
	for line := range strings.Lines(doc) {
		if strings.HasPrefix(line, "| "+m.what+" | ") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// The heads of the lists.
const (
	mutationHead        = "| What is broken | File | Invariant | Seed |\n|---|---|---|---|\n"
	clusterMutationHead = "| What is broken in a cluster | File | Invariant | Seed |\n|---|---|---|---|\n"
)

// writeRows puts the lists under their heads in the document.
func writeRows(t *testing.T, doc string, rows map[string][]string) {
	t.Helper()
	for head, list := range rows {
		before, after, ok := strings.Cut(doc, head)
		if !ok {
			t.Fatalf("%s has no list", mutationDoc)
		}
		for strings.HasPrefix(after, "|") {
			_, after, _ = strings.Cut(after, "\n")
		}
		doc = before + head + strings.Join(list, "\n") + "\n" + after
	}
	if err := os.WriteFile(mutationDoc, []byte(doc), 0o644); err != nil {
		t.Fatal(err)
	}
}
