package pavise_test

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The tests in this file are the house rules of docs/house.md and
// docs/dependencies.md. They are a statement of design: when one fails, the
// code is wrong, not the rule. Do not relax them to make a build pass.

const modulePath = "github.com/pavise/pavise"

// A plan is the fenced block of docs/house.md.
type plan struct {
	floor   map[string]int // package, as the plan writes it → floor
	planned map[string]bool
	pure    []string
	rooms   []int // floors whose packages act for a caller
}

// A house is every package of the product, parsed.
type house struct {
	plan plan
	fset *token.FileSet
	pkgs map[string][]file // by directory relative to the module root
}

// A file is one parsed Go file.
type file struct {
	path  string
	test  bool
	lines int
	ast   *ast.File
}

func TestFloors(t *testing.T) {
	h := readHouse(t)
	for dir, files := range h.pkgs {
		room := roomOf(dir)
		floor, ok := h.plan.floor[room]
		if !ok {
			t.Errorf("%s: package is not in docs/house.md", dir)
			continue
		}
		if h.plan.planned[room] {
			t.Errorf("%s: room is marked planned in docs/house.md but exists", dir)
		}
		for _, f := range files {
			if f.test {
				continue
			}
			for _, imp := range imports(f.ast) {
				target, ours := ourRoom(imp)
				if !ours || target == "." || target == room && roomDir(room) != dir {
					continue
				}
				if below, ok := h.plan.floor[target]; !ok || below >= floor {
					t.Errorf("%s: %s (floor %d) imports %s (floor %d)", f.path, room, floor, target, below)
				}
			}
		}
	}
}

func TestPlannedRoomsAreFew(t *testing.T) {
	h := readHouse(t)
	for room := range h.plan.floor {
		if _, ok := h.pkgs[roomDir(room)]; !ok && !h.plan.planned[room] {
			t.Errorf("docs/house.md: %s is in the plan, is not marked planned, and does not exist", room)
		}
	}
}

// TestDoors fails when a room's exported method takes a context and does not
// enter through the guard in its first statement. It catches forgetting, not
// malice.
func TestDoors(t *testing.T) {
	h := readHouse(t)
	for dir, files := range h.pkgs {
		if !slices.Contains(h.plan.rooms, h.plan.floor[roomOf(dir)]) {
			continue
		}
		for _, f := range files {
			if f.test {
				continue
			}
			for _, d := range f.ast.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || !acts(fn) || strings.Contains(fn.Doc.Text(), "Unguarded:") {
					continue
				}
				if !entersFirst(fn) {
					t.Errorf("%s: %s acts without entering through the guard in its first statement", h.fset.Position(fn.Pos()), fn.Name.Name)
				}
			}
		}
	}
}

func TestPureRooms(t *testing.T) {
	h := readHouse(t)
	for _, room := range h.plan.pure {
		for _, f := range h.pkgs[roomDir(room)] {
			if f.test {
				continue
			}
			for _, imp := range imports(f.ast) {
				if impure(imp) {
					t.Errorf("%s: %s is pure and may not import %s", f.path, room, imp)
				}
			}
			ast.Inspect(f.ast, func(n ast.Node) bool {
				if _, ok := n.(*ast.GoStmt); ok {
					t.Errorf("%s: %s is pure and may not start a goroutine", h.fset.Position(n.Pos()), room)
				}
				if sel, ok := n.(*ast.SelectorExpr); ok && readsClock(sel) {
					t.Errorf("%s: %s is pure and may not read the clock", h.fset.Position(n.Pos()), room)
				}
				return true
			})
		}
	}
}

func TestComments(t *testing.T) {
	h := readHouse(t)
	for dir, files := range h.pkgs {
		documented := false
		for _, f := range files {
			if f.test {
				continue
			}
			documented = documented || f.ast.Doc != nil
			for _, d := range f.ast.Decls {
				for _, name := range undocumented(d) {
					t.Errorf("%s: exported %s has no doc comment", f.path, name)
				}
			}
		}
		if !documented {
			t.Errorf("%s: package has no comment", dir)
		}
	}
}

func TestBudgets(t *testing.T) {
	h := readHouse(t)
	var lengths, small, interfaces []int
	for dir, files := range h.pkgs {
		total := 0
		if bad := filepath.Base(dir); slices.Contains([]string{"util", "utils", "common", "base", "helper", "helpers", "manager", "service", "impl", "types"}, bad) {
			t.Errorf("%s: %s is not a noun a user types", dir, bad)
		}
		for _, f := range files {
			if f.lines > 800 {
				t.Errorf("%s: %d lines, more than 800", f.path, f.lines)
			}
			if f.test {
				continue
			}
			total += f.lines
			ast.Inspect(f.ast, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncDecl:
					lines := h.fset.Position(n.End()).Line - h.fset.Position(n.Pos()).Line + 1
					lengths = append(lengths, lines)
					if lines > 120 {
						t.Errorf("%s: %s is %d lines long, more than 120", f.path, n.Name.Name, lines)
					}
					if n.Recv == nil && n.Name.Name == "init" {
						t.Errorf("%s: init has effects nobody asked for", f.path)
					}
				case *ast.InterfaceType:
					if methods := n.Methods.NumFields(); methods > 0 {
						interfaces = append(interfaces, methods)
						if methods <= 3 {
							small = append(small, methods)
						}
					}
				case *ast.BasicLit:
					if n.Kind == token.STRING && strings.Contains(n.Value, "failed to") {
						t.Errorf("%s: say what was being done, not \"failed to\"", h.fset.Position(n.Pos()))
					}
				}
				return true
			})
		}
		if total > 3500 {
			t.Errorf("%s: %d lines, more than 3500: split the room", dir, total)
		}
	}
	slices.Sort(lengths)
	if len(lengths) > 0 && lengths[len(lengths)*9/10] > 45 {
		t.Errorf("one function in ten is longer than %d lines; the budget is 45", lengths[len(lengths)*9/10])
	}
	if len(small)*10 < len(interfaces)*7 {
		t.Errorf("%d of %d interfaces have three methods or fewer; the budget is seven in ten", len(small), len(interfaces))
	}
}

// TestDependencies compares docs/dependencies.md with go.mod and with the
// imports: who may use what is a reviewed list.
func TestDependencies(t *testing.T) {
	allowed := readDependencies(t)
	for mod := range allowed {
		if !slices.Contains(directModules(t), mod) {
			t.Errorf("docs/dependencies.md lists %s, which go.mod does not require directly", mod)
		}
	}
	for _, mod := range directModules(t) {
		if _, ok := allowed[mod]; !ok {
			t.Errorf("go.mod requires %s, which docs/dependencies.md does not explain", mod)
		}
	}
	h := readHouse(t)
	for dir, files := range h.pkgs {
		for _, f := range files {
			for _, imp := range imports(f.ast) {
				first, _, _ := strings.Cut(imp, "/")
				if _, ours := ourRoom(imp); ours || !strings.Contains(first, ".") {
					continue
				}
				mod := moduleOf(imp, allowed)
				if !f.test && !slices.Contains(allowed[mod], roomOf(dir)) {
					t.Errorf("%s: docs/dependencies.md does not let %s import %s", f.path, roomOf(dir), imp)
				}
				if f.test && mod == "" {
					t.Errorf("%s: docs/dependencies.md does not know %s", f.path, imp)
				}
			}
		}
	}
}

// TestThreatsHaveTests fails when docs/threats.md names a test that is not there.
func TestThreatsHaveTests(t *testing.T) {
	text, err := os.ReadFile("docs/threats.md")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, files := range readHouse(t).pkgs {
		for _, f := range files {
			for _, d := range f.ast.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && f.test {
					have[strings.TrimSuffix(f.ast.Name.Name, "_test")+"."+fn.Name.Name] = true
				}
			}
		}
	}
	for _, word := range regexp.MustCompile("`\\w+\\.(Test|Fuzz)\\w+`").FindAllString(string(text), -1) {
		if name := strings.Replace(strings.Trim(word, "`"), "_test.", ".", 1); !have[name] {
			t.Errorf("docs/threats.md names %s, which does not exist", name)
		}
	}
}

// readHouse parses every Go file of the product. Nested modules are apart.
func readHouse(t *testing.T) *house {
	t.Helper()
	h := &house{plan: readPlan(t), fset: token.NewFileSet(), pkgs: map[string][]file{}}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skipDir(path, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(h.fset, path, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		h.pkgs[dir] = append(h.pkgs[dir], file{
			path: path, test: strings.HasSuffix(path, "_test.go"),
			lines: strings.Count(string(src), "\n"), ast: parsed,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func skipDir(path, name string) bool {
	if path == "." {
		return false
	}
	if name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return true
	}
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	return err == nil
}

func readPlan(t *testing.T) plan {
	t.Helper()
	p := plan{floor: map[string]int{}, planned: map[string]bool{}}
	for _, line := range fenced(t, "docs/house.md", "house") {
		head, rest, _ := strings.Cut(line, ":")
		switch head {
		case "pure":
			p.pure = strings.Fields(rest)
			continue
		case "rooms":
			for _, f := range strings.Fields(rest) {
				p.rooms = append(p.rooms, atoi(t, f))
			}
			continue
		}
		floor, room, ok := strings.Cut(head, " ")
		if !ok {
			t.Fatalf("docs/house.md: cannot read %q", line)
		}
		p.floor[room] = atoi(t, floor)
		p.planned[room] = strings.HasPrefix(rest, " planned:")
	}
	if len(p.floor) == 0 {
		t.Fatal("docs/house.md: no plan found")
	}
	return p
}

// readDependencies returns module → the packages that may import it.
func readDependencies(t *testing.T) map[string][]string {
	t.Helper()
	allowed := map[string][]string{}
	for _, line := range fenced(t, "docs/dependencies.md", "dependencies") {
		mod, rest, ok1 := strings.Cut(line, ": ")
		who, why, ok2 := strings.Cut(rest, ": ")
		if !ok1 || !ok2 || why == "" {
			t.Fatalf("docs/dependencies.md: cannot read %q", line)
		}
		allowed[mod] = strings.Fields(who)
	}
	return allowed
}

// fenced returns the non-blank lines of the fenced block with the given tag.
func fenced(t *testing.T, path, tag string) []string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines []string
	inside := false
	for s := bufio.NewScanner(f); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		switch {
		case line == "```"+tag:
			inside = true
		case inside && line == "```":
			return lines
		case inside && line != "":
			lines = append(lines, line)
		}
	}
	t.Fatalf("%s: no closed ```%s block", path, tag)
	return nil
}

func directModules(t *testing.T) []string {
	t.Helper()
	src, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	var mods []string
	for line := range strings.Lines(string(src)) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) >= 2 && strings.HasPrefix(fields[1], "v") && !strings.Contains(line, "// indirect") {
			mods = append(mods, fields[0])
		}
	}
	return mods
}

func moduleOf(imp string, allowed map[string][]string) string {
	for mod := range allowed {
		if imp == mod || strings.HasPrefix(imp, mod+"/") {
			return mod
		}
	}
	return ""
}

// roomOf returns the plan's name for the package in dir; a sub-package belongs
// to its room.
func roomOf(dir string) string {
	inside, ok := strings.CutPrefix(dir, "internal/")
	if !ok {
		return dir
	}
	room, _, _ := strings.Cut(inside, "/")
	return room
}

func roomDir(room string) string {
	if room == "." || strings.Contains(room, "/") {
		return room
	}
	return "internal/" + room
}

// ourRoom returns the room an import path of this module belongs to.
func ourRoom(imp string) (string, bool) {
	if imp == modulePath {
		return ".", true
	}
	rel, ok := strings.CutPrefix(imp, modulePath+"/")
	return roomOf(rel), ok
}

func imports(f *ast.File) []string {
	var paths []string
	for _, spec := range f.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		paths = append(paths, path)
	}
	return paths
}

func impure(imp string) bool {
	first, _, _ := strings.Cut(imp, "/")
	return first == "net" && imp != "net/netip" || first == "os" || first == "syscall" || imp == "database/sql" || imp == "io/fs" || imp == "crypto/rand"
}

func readsClock(sel *ast.SelectorExpr) bool {
	pkg, ok := sel.X.(*ast.Ident)
	return ok && pkg.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}, sel.Sel.Name)
}

// acts reports whether fn is an exported method on an exported type whose first
// parameter is a context.
func acts(fn *ast.FuncDecl) bool {
	if fn.Recv == nil || !fn.Name.IsExported() || len(fn.Type.Params.List) == 0 {
		return false
	}
	first, ok := fn.Type.Params.List[0].Type.(*ast.SelectorExpr)
	if !ok || fmt.Sprint(first.X) != "context" || first.Sel.Name != "Context" {
		return false
	}
	recv := fn.Recv.List[0].Type
	if star, ok := recv.(*ast.StarExpr); ok {
		recv = star.X
	}
	return ast.IsExported(fmt.Sprint(recv))
}

func entersFirst(fn *ast.FuncDecl) bool {
	if fn.Body == nil || len(fn.Body.List) == 0 {
		return false
	}
	enters := false
	ast.Inspect(fn.Body.List[0], func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Enter" {
				enters = true
			}
		}
		return true
	})
	return enters
}

// undocumented returns the exported names of d that carry no comment. A comment
// on a group of constants or variables serves its members.
func undocumented(d ast.Decl) []string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil && (d.Recv == nil || ast.IsExported(receiver(d))) {
			return []string{d.Name.Name}
		}
	case *ast.GenDecl:
		if d.Doc != nil {
			return nil
		}
		var names []string
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if spec.Name.IsExported() && spec.Doc == nil {
					names = append(names, spec.Name.Name)
				}
			case *ast.ValueSpec:
				if spec.Doc == nil && spec.Comment == nil && spec.Names[0].IsExported() {
					names = append(names, spec.Names[0].Name)
				}
			}
		}
		return names
	}
	return nil
}

func receiver(fn *ast.FuncDecl) string {
	t := fn.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if index, ok := t.(*ast.IndexExpr); ok {
		t = index.X
	}
	return fmt.Sprint(t)
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("docs/house.md: %q is not a floor", s)
	}
	return n
}

// TestCIIsAScript has the shell read .ci/run: a brace that a merge lost keeps every step from
// running.
func TestCIIsAScript(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash")
	}
	if out, err := exec.Command(bash, "-n", ".ci/run").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
