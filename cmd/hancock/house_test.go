package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	module = "github.com/cyberviser/hancock"
	root   = "../.."

	maxFileLines     = 400
	maxFunctionLines = 100
)

// imports says who may import whom of ours. Data flows one way: agent,
// registry, tsdb, alerting, web, ui; what is not here imports nothing of ours.
var imports = map[string][]string{
	"agent":                 {"agent/llm", "agent/notify", "agent/requestlog", "internal/clientip"},
	"alerting/alertmanager": {"internal/amcompat", "internal/render"},
	"alerting":              {"alerting/ruletemplate", "internal/promqlbound", "internal/render"},
	"alerting/backtest": {
		"alerting/alertmanager", "alerting/outgoing", "alerting/ruletemplate", "internal/amcompat", "internal/promqlbound", "internal/render",
	},
	"alerting/ruletemplate":       {"internal/render"},
	"alerting/rulecheck":          {"internal/promqlbound"},
	"tsdb":                        {"internal/promqlbound", "internal/redact"},
	"cmd/hancock/internal/config": {"internal/amcompat"},
	"web":                         {"internal/clientip", "ui"},
	"cmd/hancock": {
		"agent",
		"agent/health",
		"agent/llm",
		"agent/requestlog",
		"alerting",
		"alerting/alertmanager",
		"alerting/backtest",
		"alerting/external",
		"alerting/history",
		"alerting/outgoing",
		"alerting/rulecheck",
		"alerting/ruletemplate",
		"alerting/ruletest",
		"cmd/hancock/internal/config",
		"cmd/hancock/internal/demo",
		"cmd/hancock/internal/lint",
		"docs",
		"internal/amcompat",
		"internal/events",
		"internal/loglimit",
		"internal/redact",
		"internal/render",
		"tsdb",
		"ui",
		"web",
	},
	"cmd/hancock/internal/lint": {"alerting/rulecheck", "cmd/hancock/internal/config", "internal/amcompat", "internal/promqlbound"},
}

// sources are all Go files of the repository by their folder.
func sources(t *testing.T, tests bool) map[string][]string {
	t.Helper()
	files := map[string][]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "testdata") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".go") && (tests || !strings.HasSuffix(path, "_test.go")) {
			dir, err := filepath.Rel(root, filepath.Dir(path))
			require.NoError(t, err)
			files[filepath.ToSlash(dir)] = append(files[filepath.ToSlash(dir)], path)
		}
		return nil
	}))
	require.NotEmpty(t, files["agent"])
	return files
}

func parseFile(t *testing.T, path string) (*token.FileSet, *ast.File) {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
	require.NoError(t, err)
	return fset, f
}

func TestImports(t *testing.T) {
	for dir, files := range sources(t, false) {
		for _, path := range files {
			_, f := parseFile(t, path)
			for _, spec := range f.Imports {
				name, err := strconv.Unquote(spec.Path.Value)
				require.NoError(t, err)
				if ours, ok := strings.CutPrefix(name, module+"/"); ok {
					require.Contains(t, imports[dir], ours, "%s must not import %s", path, name)
				}
			}
		}
	}
}

// TestTimeZones holds the program to its own copy of the time zones: an image without an operating system has none.
func TestTimeZones(t *testing.T) {
	_, f := parseFile(t, "main.go")
	require.True(t, slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"time/tzdata"` }))
}

func TestPackageComments(t *testing.T) {
	for dir, files := range sources(t, false) {
		var comments []string
		for _, path := range files {
			if _, f := parseFile(t, path); f.Doc != nil {
				comments = append(comments, f.Doc.Text())
			}
		}
		require.Len(t, comments, 1, "%s has one package comment", dir)
		require.Regexp(t, `^(Package|Command) `, comments[0], dir)
	}
}

func TestSizes(t *testing.T) {
	for _, files := range sources(t, false) {
		for _, path := range files {
			src, err := os.ReadFile(path)
			require.NoError(t, err)
			require.LessOrEqual(t, strings.Count(string(src), "\n"), maxFileLines, path)
			fset, f := parseFile(t, path)
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok {
					lines := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1
					require.LessOrEqual(t, lines, maxFunctionLines, "%s: %s", path, fn.Name)
				}
			}
		}
	}
}

// TestNoMutableGlobals allows package variables that nobody changes: errors,
// compiled expressions, fixed tables, embedded files, interface assertions, and
// locks for what a library shares.
func TestNoMutableGlobals(t *testing.T) {
	allowed := regexp.MustCompile(`^(err[A-Z]|Err[A-Z]|_$)|RE$`)
	for _, files := range sources(t, false) {
		for _, path := range files {
			_, f := parseFile(t, path)
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok {
					require.False(t, fn.Name.Name == "init" && fn.Recv == nil, "%s has an init function", path)
				}
				g, ok := d.(*ast.GenDecl)
				if !ok || g.Tok != token.VAR {
					continue
				}
				embedded := g.Doc != nil && slices.ContainsFunc(g.Doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed") })
				for _, spec := range g.Specs {
					v := spec.(*ast.ValueSpec)
					if embedded || v.Doc != nil && strings.Contains(v.Doc.List[len(v.Doc.List)-1].Text, "go:embed") || isConstant(v) || isLock(v) {
						continue
					}
					for _, name := range v.Names {
						require.Regexp(t, allowed, name.Name, "%s: package variable", path)
					}
				}
			}
		}
	}
}

// TestAlertmanagerSyntaxIsInitialized holds packages that use Alertmanager's packages to initialize how these parse names
// and matchers, their tests included: before that they accept only classic names.
func TestAlertmanagerSyntaxIsInitialized(t *testing.T) {
	for dir, files := range sources(t, true) {
		uses, initializes := false, false
		for _, path := range files {
			_, f := parseFile(t, path)
			for _, spec := range f.Imports {
				name := strings.Trim(spec.Path.Value, `"`)
				// Time intervals have no names of labels.
				uses = uses || strings.HasPrefix(name, "github.com/prometheus/alertmanager/") && !strings.HasSuffix(name, "/timeinterval")
				initializes = initializes || strings.Trim(spec.Path.Value, `"`) == module+"/internal/amcompat"
			}
		}
		require.True(t, !uses || initializes || dir == "internal/amcompat", "%s uses Alertmanager's packages and never calls amcompat.Init", dir)
	}
}

// isConstant tells whether the values are compiled expressions or fixed tables.
func isConstant(v *ast.ValueSpec) bool {
	for _, value := range v.Values {
		switch e := value.(type) {
		case *ast.CallExpr:
			if sel, ok := e.Fun.(*ast.SelectorExpr); !ok || sel.Sel.Name != "MustCompile" {
				return false
			}
		case *ast.CompositeLit:
			if array, ok := e.Type.(*ast.ArrayType); !ok || array.Len == nil {
				return false
			}
		default:
			return false
		}
	}
	return len(v.Values) > 0
}

func isLock(v *ast.ValueSpec) bool {
	sel, ok := v.Type.(*ast.SelectorExpr)
	return ok && (sel.Sel.Name == "Mutex" || sel.Sel.Name == "Once")
}

// TestFixedFolders holds the top of the tree to what somebody who opens it
// expects.
func TestFixedFolders(t *testing.T) {
	entries, err := os.ReadDir(root)
	require.NoError(t, err)
	var folders []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && e.Name() != "data" && e.Name() != "demo-data" && e.Name() != "dist" {
			folders = append(folders, e.Name())
		}
	}
	known := []string{"agent", "alerting", "cmd", "deploy", "docs", "internal", "tools", "tsdb", "ui", "web"}
	for _, f := range folders {
		require.Contains(t, known, f)
	}
}

// TestFuzzTargets wants a fuzz target wherever a package of ours reads what
// comes from outside.
func TestFuzzTargets(t *testing.T) {
	want := []string{
		"agent", "agent/health", "agent/notify", "agent/requestlog", "alerting/alertmanager", "alerting/backtest",
		"alerting/history", "alerting/rulecheck", "alerting/ruletest", "cmd/hancock/internal/config",
	}
	var have []string
	for dir, files := range sources(t, true) {
		for _, path := range files {
			src, err := os.ReadFile(path)
			require.NoError(t, err)
			if strings.HasSuffix(path, "_test.go") && strings.Contains(string(src), "\nfunc Fuzz") {
				have = append(have, dir)
				break
			}
		}
	}
	require.Subset(t, have, want)
}

// TestDocumentsAreTrue checks that the documents name what exists: each metric
// of ours that they mention is in the golden file, each flag in --help.
func TestDocumentsAreTrue(t *testing.T) {
	golden, err := os.ReadFile("testdata/metrics.golden")
	require.NoError(t, err)
	exposed := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^(\w+)\{`).FindAllStringSubmatch(string(golden), -1) {
		exposed[m[1]] = true
	}
	exposed["hancock_llm_cost_total"] = true // once there is a price table
	described, err := os.ReadFile(root + "/docs/metrics.md")
	require.NoError(t, err)
	for name := range exposed {
		if strings.HasPrefix(name, "hancock_") {
			require.Contains(t, string(described), "| `"+name+"` |", "docs/metrics.md describes every metric of ours")
		}
	}
	var help strings.Builder
	_, err = parseFlags([]string{"--help"}, defaultConfig(), &help)
	require.NoError(t, err)

	docs, err := filepath.Glob(root + "/docs/*.md")
	require.NoError(t, err)
	for _, path := range append(docs, root+"/README.md") {
		src, err := os.ReadFile(path)
		require.NoError(t, err)
		names := map[string]bool{}
		for _, m := range regexp.MustCompile(`\bhancock_[a-z_]+[a-z]`).FindAllString(string(src), -1) {
			names[m] = true
		}
		for name := range maps.Keys(names) {
			base := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")
			require.True(t, exposed[name] || exposed[base], "%s names %s, which is not exposed", path, name)
		}
		for _, m := range regexp.MustCompile("`--(?:no-)?([a-z.-]+[a-z])").FindAllStringSubmatch(string(src), -1) {
			require.Contains(t, help.String(), m[1], "%s names the flag --%s", path, m[1])
		}
	}
}
