package lns

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// All faults are built into one program: each function that has one becomes a copy for each of its
// faults, the function as it is, and one of its name that calls the copy that the environment asks for.
// So to look for fifty faults takes one build.

// mutantEnv names the fault that a program built by buildMutants has: its number in allMutations.
const mutantEnv = "CULVERT_MUTANT"

// buildMutants builds this package's tests with the faults that only picks, and gives the program.
func buildMutants(t *testing.T, root string, only func(int) bool) string {
	t.Helper()
	dir := t.TempDir()
	bin, overlay, replace := filepath.Join(dir, "sim.test"), filepath.Join(dir, "overlay.json"), map[string]string{}
	byFile := map[string][]numbered{}
	for i := range allMutations {
		if only(i) {
			for _, e := range allMutations[i].edits() {
				byFile[e.file] = append(byFile[e.file], numbered{i, e})
			}
		}
	}
	for file, list := range byFile {
		text, err := mutants(root, file, list)
		if err != nil {
			t.Fatal(err)
		}
		changed := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, file)] = changed
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlay, "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("the mutations do not build: %v\n%s", err, out)
	}
	return bin
}

// numbered is an edit of the mutation of that number.
type numbered struct {
	n int
	edit
}

// mutants gives a file with copies of its functions for the edits of the list.
func mutants(root, file string, list []numbered) (string, error) {
	b, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		return "", err
	}
	src, set := string(b), token.NewFileSet()
	f, err := parser.ParseFile(set, file, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return "", err
	}
	at := func(p token.Pos) int { return set.Position(p).Offset }
	of := map[*ast.FuncDecl][]numbered{}
	for _, m := range list {
		from := strings.Index(src, m.old)
		found := false
		for _, d := range f.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && at(d.Pos()) <= from && from+len(m.old) <= at(d.End()) {
				of[d], found = append(of[d], m), true
			}
		}
		if !found {
			return "", fmt.Errorf("mutation %q: what it replaces is in no function of %s", allMutations[m.n].what, file)
		}
	}
	var out strings.Builder
	choice := "mutant_" + strings.TrimSuffix(filepath.Base(file), ".go")
	head := at(f.Name.End())
	fmt.Fprintf(&out, "%s\n\nimport mutantos \"os\"\n", src[:head])
	last := head
	for _, d := range f.Decls {
		d, ok := d.(*ast.FuncDecl)
		if !ok || of[d] == nil {
			continue
		}
		out.WriteString(src[last:at(d.Pos())])
		last = at(d.End())
		writeMutants(&out, src, at, d, of[d], choice)
	}
	fmt.Fprintf(&out, "%s\nvar %s = mutantos.Getenv(%q)\n", src[last:], choice, mutantEnv)
	return out.String(), nil
}

// writeMutants writes the function that chooses, the function as it is, and a copy for each mutation.
func writeMutants(out *strings.Builder, src string, at func(token.Pos) int, d *ast.FuncDecl, list []numbered, choice string) {
	text := func(n ast.Node) string { return src[at(n.Pos()):at(n.End())] }
	copied := func(suffix string) string { // the function under another name
		return src[at(d.Pos()):at(d.Name.Pos())] + d.Name.Name + suffix + src[at(d.Name.End()):at(d.End())]
	}
	receiver, on, results, give := "", "", "", ""
	if d.Recv != nil {
		receiver, on = "(mutantOn "+text(d.Recv.List[0].Type)+") ", "mutantOn."
	}
	if d.Type.Results != nil {
		results, give = " "+text(d.Type.Results), "return "
	}
	var params, args []string
	for _, p := range d.Type.Params.List {
		for range max(1, len(p.Names)) {
			name := fmt.Sprint("mutant", len(params))
			params = append(params, name+" "+text(p.Type))
			if _, variadic := p.Type.(*ast.Ellipsis); variadic {
				name += "..."
			}
			args = append(args, name)
		}
	}
	call := func(suffix string) string {
		return fmt.Sprintf("%s%s%s%s(%s)", give, on, d.Name.Name, suffix, strings.Join(args, ", "))
	}
	fmt.Fprintf(out, "func %s%s(%s)%s {\n\tswitch %s {\n", receiver, d.Name.Name, strings.Join(params, ", "), results, choice)
	for _, m := range list {
		fmt.Fprintf(out, "\tcase \"%d\":\n\t\t%s\n", m.n, call(fmt.Sprint("Mutant", m.n)))
	}
	fmt.Fprintf(out, "\tdefault:\n\t\t%s\n\t}\n", call("Whole"))
	if give != "" {
		out.WriteString("\tpanic(0)\n")
	}
	fmt.Fprintf(out, "}\n\n%s\n", copied("Whole"))
	for _, m := range list {
		fmt.Fprintf(out, "\n%s\n", strings.Replace(copied(fmt.Sprint("Mutant", m.n)), m.old, m.new, 1))
	}
}
