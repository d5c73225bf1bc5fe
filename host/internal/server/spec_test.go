package server_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/mcp"
	"github.com/arw-project/arw/host/internal/server"
	"github.com/arw-project/arw/host/internal/spec"
)

var update = flag.Bool("update", false, "write the golden files")

// The documents in docs/spec are what the binary serves.
func TestSpecGolden(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	for _, name := range []string{"openapi.json", "asyncapi.json"} {
		got, err := io.ReadAll(e.ask("GET", "/spec/"+name, "").Body)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("..", "..", "..", "docs", "spec", name)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if want, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what the host serves (%v): go test ./host/internal/server -run TestSpecGolden -update", path, err)
		}
	}
}

// Every route that Fiber knows is an operation of the document and the other way round.
func TestEveryRouteIsInOpenAPI(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	var doc struct {
		Paths map[string]map[string]struct {
			Need string `json:"x-arw-capability"`
		} `json:"paths"`
	}
	if err := json.NewDecoder(e.ask("GET", "/spec/openapi.json", "").Body).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	served := map[string]bool{}
	for _, r := range e.srv.Routes() {
		op := spec.Op{Path: r.Path}
		served[r.Method+" "+op.Template()] = true
		if _, ok := doc.Paths[op.Template()][strings.ToLower(r.Method)]; !ok {
			t.Errorf("%s %s is served and not described", r.Method, r.Path)
		}
	}
	for path, item := range doc.Paths {
		for method, op := range item {
			if !served[strings.ToUpper(method)+" "+path] {
				t.Errorf("%s %s is described and not served", method, path)
			}
			if op.Need == "" && method != "get" {
				t.Errorf("%s %s changes something and needs nothing", method, path)
			}
		}
	}
}

func TestSchemasStandAlone(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	var names api.List[string]
	if err := json.NewDecoder(e.ask("GET", "/spec/schemas", "").Body).Decode(&names); err != nil {
		t.Fatal(err)
	}
	if len(names.Items) < len(api.Events())+20 {
		t.Errorf("%d schemas, want those of %d events and of the bodies", len(names.Items), len(api.Events()))
	}
	for _, name := range names.Items {
		resp := e.ask("GET", "/spec/schemas/"+name, "")
		doc, err := jsonschema.UnmarshalJSON(resp.Body)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c := jsonschema.NewCompiler()
		if err := c.AddResource("mem:"+name, doc); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := c.Compile("mem:" + name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := e.ask("GET", "/spec/schemas/none", "").StatusCode; got != http.StatusNotFound {
		t.Errorf("a schema that is not there: %d", got)
	}
}

func TestMCPListIsTheLiveTools(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	e.Install(hosttest.SinkPack(t))
	want, err := mcp.Document(mcp.Offered(e.Services().Packs.List()))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(e.ask("GET", "/spec/mcp.json", "").Body)
	if err != nil || !bytes.Equal(got, want) || !bytes.Contains(got, []byte("sink.echo")) {
		t.Errorf("got %s, want %s (%v)", got, want, err)
	}
}

// conform holds an answer to what OpenAPI says of it, for every request that the tests of this package make.
func (e *edge) conform(resp *http.Response) {
	e.t.Helper()
	media := resp.Header.Get("Content-Type")
	if media != "application/json" && media != "application/problem+json" {
		return
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return // cut off on purpose
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	out, known := any(api.Problem{}), media == "application/problem+json"
	for _, op := range e.srv.Operations() {
		if !known && op.Method == resp.Request.Method && match(op.Path, resp.Request.URL.EscapedPath()) {
			out, known = op.Out, true
		}
	}
	if !known {
		e.t.Errorf("%s %s answers %s and is not described", resp.Request.Method, resp.Request.URL.Path, media)
		return
	}
	raw, err := json.Marshal(spec.Document("answer", out))
	if err != nil {
		e.t.Fatal(err)
	}
	doc, _ := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	c := jsonschema.NewCompiler()
	if err := c.AddResource("mem:answer", doc); err != nil {
		e.t.Fatal(err)
	}
	schema, err := c.Compile("mem:answer")
	if err != nil {
		e.t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		e.t.Errorf("%s %s does not answer what OpenAPI says: %v\n%s", resp.Request.Method, resp.Request.URL.Path, err, body)
	}
}

func match(pattern, path string) bool {
	p, q := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(p) != len(q) {
		return false
	}
	for i := range p {
		if !strings.HasPrefix(p[i], ":") && p[i] != q[i] {
			return false
		}
	}
	return true
}
