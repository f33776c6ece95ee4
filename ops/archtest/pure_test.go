package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPureRooms reads the source of the rooms without I/O for imports,
// goroutines and clock calls that would give them some.
func TestPureRooms(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range sorted(list(t)) {
		r, _ := roomOf(p.path())
		if !slices.Contains(pureRooms, r.path) {
			continue
		}
		seen[r.path] = true
		for _, imp := range p.Imports {
			if slices.Contains(impureImports, imp) {
				t.Errorf("%s imports %s: %s does no I/O, takes no lock and writes no log", p.ImportPath, imp, r.path)
			}
		}
		for _, name := range p.GoFiles {
			for _, complaint := range impurities(t, filepath.Join(p.Dir, name)) {
				t.Errorf("%s: %s", p.ImportPath, complaint)
			}
		}
	}
	for _, r := range pureRooms {
		if !seen[r] {
			t.Errorf("no package found in %s: the rule checks nothing", r)
		}
	}
}

// impurities lists the goroutines, channels and clock calls of a file.
func impurities(t *testing.T, file string) []string {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return inspect(fset, f)
}

// inspect is impurities on a parsed file.
func inspect(fset *token.FileSet, f *ast.File) []string {
	var found []string
	add := func(n ast.Node, what string) { found = append(found, fset.Position(n.Pos()).String()+": "+what) }
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			add(n, "starts a goroutine")
		case *ast.ChanType:
			add(n, "uses a channel")
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clockCalls, n.Sel.Name) {
				add(n, "reads the clock with time."+n.Sel.Name+"; take now as an argument")
			}
		}
		return true
	})
	return found
}

// TestInspect shows that the rule sees what it is there for.
func TestInspect(t *testing.T) {
	const src = `package p
import "time"
var c chan int
func f(now time.Duration) { go f(now); _ = time.Now(); time.Sleep(time.Second) }
`
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "p.go", src, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	got := inspect(fset, f)
	for _, want := range []string{"channel", "goroutine", "time.Now", "time.Sleep"} {
		if !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("inspect did not see %q; it saw %q", want, got)
		}
	}
	if len(got) != 4 {
		t.Errorf("inspect saw %d things, not 4: %q", len(got), got)
	}
}

// TestMayImport checks the rule itself on pairs from the design.
func TestMayImport(t *testing.T) {
	tests := []struct {
		from, to string
		want     bool
	}{
		{"cmd/lnsd", "aaa/radius", true},
		{"cmd/lnsd", "cmd/lnsctl", false},
		{"ops", "lns", true},
		{"ops", "ops/lab/interop", true},
		{"lns", "ops", false},
		{"lns", "aaa/radius", false},
		{"lns", "lac", false},
		{"lns", "aaa", true},
		{"lns", "lns/dataplane", true},
		{"lns/dataplane/planetest", "lns/dataplane", true},
		{"lns/dataplane", "lns/dataplane/xdp", false},
		{"sessiondb/postgres", "sessiondb/storetest", false},
		{"sessiondb/postgres", "sessiondb", true},
		{"aaa/radius/radtest", "aaa/radius", true},
		{"lns/link", "proto/ppp", true},
		{"proto/l2tp", "proto/ppp", false},
	}
	for _, tt := range tests {
		from, ok1 := roomOf(tt.from)
		to, ok2 := roomOf(tt.to)
		if !ok1 || !ok2 {
			t.Errorf("%s or %s stands in no room", tt.from, tt.to)
			continue
		}
		if got := mayImport(from, to); got != tt.want {
			t.Errorf("mayImport(%s, %s) = %v, want %v", tt.from, tt.to, got, tt.want)
		}
	}
	if r, ok := roomOf("util/strings"); ok {
		t.Errorf("util/strings is in room %q, want none", r.path)
	}
}
