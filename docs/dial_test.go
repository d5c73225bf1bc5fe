package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// dialers are the packages whose code may open a connection to somewhere, and why. Everything else that wants the network
// is handed a client, a transport or the guard by whoever wired it.
var dialers = map[string]string{
	"host/internal/egress":          "the one way out",
	"host/internal/infer/supervise": "unix sockets of the runtimes it started, and no other network",
	"registry":                      "package registries that the operator configured",
	"signing/keyless":               "verbs a person typed: identity provider, Fulcio, Rekor, timestamps, over a transport it is handed",
	"signing/tufroot":               "a verb a person typed, over a transport it is handed",
	"host/cmd/arw":                  "the transport of those verbs, and the client of the host on loopback",
	"host/internal/queue/jet":       "the servers of the queue that the operator configured",
	"host/internal/trace":           "the one collector of traces that the operator configured; off otherwise",
	"sdk/go/client":                 "the host's own API",
}

// reaching are the ways of the standard library, and of a library that dials by itself, to open a connection or to ask a resolver.
var reaching = map[string][]string{
	"net": {"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialIP", "DialUnix", "Dialer", "DefaultResolver", "Resolver", "LookupAddr", "LookupCNAME", "LookupHost", "LookupIP",
		"LookupMX", "LookupNS", "LookupPort", "LookupSRV", "LookupTXT", "ResolveIPAddr", "ResolveTCPAddr", "ResolveUDPAddr"},
	"net/http":   {"DefaultClient", "DefaultTransport", "Get", "Head", "Post", "PostForm", "Client", "Transport"},
	"crypto/tls": {"Dial", "DialWithDialer", "Dialer"},
	"net/smtp":   {"Dial", "SendMail"},
	"net/rpc":    {"Dial", "DialHTTP", "DialHTTPPath"},

	"github.com/nats-io/nats.go": {"Connect", "Options"},
}

// TestOnlyTheGuardDials reads every file of the module that is no test: nobody but the packages above opens a connection, so
// that there is one way out. Guests cannot at all: their module imports say so.
func TestOnlyTheGuardDials(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "node_modules" || d.Name() == "peers" || d.Name() == "interop"):
			return filepath.SkipDir // peers and interop are modules of their own that nobody installs
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		pkg := filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), ".."+string(filepath.Separator)))
		for _, use := range reaches(t, path) {
			if seen[pkg] = true; dialers[pkg] == "" && pkg != "host/hosttest" {
				t.Errorf("%s uses %s: the way to the network is host/internal/egress; take what you need as a parameter", path, use)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range dialers {
		if !seen[pkg] {
			t.Errorf("%s opens no connection any more: take it off the list", pkg)
		}
	}
}

// reaches lists what a file uses of the ways to the network.
func reaches(t *testing.T, path string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{} // of this file, to the import
	for _, imp := range file.Imports {
		of := strings.Trim(imp.Path.Value, `"`)
		if reaching[of] == nil {
			continue
		}
		name := strings.TrimSuffix(of[strings.LastIndexByte(of, '/')+1:], ".go")
		if imp.Name != nil {
			name = imp.Name.Name
		}
		names[name] = of
	}
	var uses []string
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && slices.Contains(reaching[names[x.Name]], sel.Sel.Name) {
				uses = append(uses, names[x.Name]+"."+sel.Sel.Name)
			}
		}
		return true
	})
	return uses
}
