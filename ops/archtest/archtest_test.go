package archtest

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pkg is what is used of `go list -json`.
type pkg struct {
	ImportPath   string
	Standard     bool
	Imports      []string
	TestImports  []string
	XTestImports []string
	Dir          string
	GoFiles      []string
	Module       *struct{ Path string }
}

// ours tells a package of this module.
func (p *pkg) ours() bool { return p.Module != nil && p.Module.Path == module }

// path is the import path within the module.
func (p *pkg) path() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// list gives every package that the module is built of, by import path.
func list(t *testing.T) map[string]*pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Standard,Imports,TestImports,XTestImports,Dir,GoFiles,Module", "./...")
	cmd.Dir = root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	all := map[string]*pkg{}
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		p := new(pkg)
		if err := dec.Decode(p); err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
	return all
}

// sorted gives this module's packages in order.
func sorted(all map[string]*pkg) []*pkg {
	var own []*pkg
	for _, p := range all {
		if p.ours() {
			own = append(own, p)
		}
	}
	slices.SortFunc(own, func(a, b *pkg) int { return strings.Compare(a.ImportPath, b.ImportPath) })
	return own
}

// root is the module's folder.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// within tells whether path is room or below it.
func within(path, room string) bool {
	return path == room || strings.HasPrefix(path, room+"/")
}

// TestImportsGoDown checks that each import within the module goes to a
// lower row, or stays in its own room.
func TestImportsGoDown(t *testing.T) {
	all := list(t)
	for _, p := range sorted(all) {
		from, ok := roomOf(p.path())
		if !ok {
			t.Errorf("%s stands in no room: add it to rooms in rules.go, on the row where it belongs", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			if q := all[imp]; q != nil && q.ours() {
				if to, ok := roomOf(q.path()); ok && !mayImport(from, to) {
					t.Errorf("%s (row %d) imports %s (row %d): imports go down, never sideways, never up",
						p.ImportPath, from.row, q.ImportPath, to.row)
				}
			}
		}
	}
}

// TestOwnersOfLibraries checks that a library is imported only by the rooms it belongs to.
func TestOwnersOfLibraries(t *testing.T) {
	for _, p := range sorted(list(t)) {
		for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			for _, o := range owners {
				if within(imp, o.library) && !slices.ContainsFunc(o.rooms, func(r string) bool { return within(p.path(), r) }) {
					t.Errorf("%s imports %s, which belongs to %s: %s", p.ImportPath, imp, strings.Join(o.rooms, ", "), o.why)
				}
			}
		}
	}
}

// TestProtocolsUseTheStandardLibrary follows every dependency of proto/l2tp
// and proto/ppp, and of their tests, for anything that comes from elsewhere.
func TestProtocolsUseTheStandardLibrary(t *testing.T) {
	all := list(t)
	for _, p := range sorted(all) {
		if !within(p.path(), "proto/l2tp") && !within(p.path(), "proto/ppp") {
			continue
		}
		for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if within(imp, p.ImportPath) || standard(all, imp) {
				continue
			}
			t.Errorf("%s imports %s: the protocols use the standard library only", p.ImportPath, imp)
		}
	}
}

// standard tells a package of the standard library. One that only a test
// imports is not in all; its path tells, since only modules have a dot in their first element.
func standard(all map[string]*pkg, path string) bool {
	if p := all[path]; p != nil {
		return p.Standard
	}
	first, _, _ := strings.Cut(path, "/")
	return first != module && !strings.Contains(first, ".")
}

// TestTopLevel checks that the root of the tree holds what it may hold and nothing else.
func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(topLevel, e.Name()) {
			t.Errorf("%s does not belong at the top of the tree: put it into the room it serves", e.Name())
		}
	}
}
