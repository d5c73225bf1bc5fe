package author_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/wasm"
)

// TestDenialsNameTheLine: whatever a running host refuses a pack for want of a line in its manifest, the answer names
// that line. One version asks for nothing, the next for narrow scopes, the third declares its tools pure.
func TestDenialsNameTheLine(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	module := hosttest.Sink(t)
	install := func(version string, change func(string) string) {
		t.Helper()
		h.Install(hosttest.Artifact{TOML: change(hosttest.SinkTOML(version)), Module: module})
	}
	refused := func(tool, input, line string) {
		t.Helper()
		a := h.FailCall(tool, input, abi.Denied)
		if said := a.Failure.Message + "\n" + a.Failure.Hint; !strings.Contains(said, line) {
			t.Errorf("%s: the refusal does not name %q: %s", tool, line, said)
		}
	}

	// Asking for too little ends the install, long before a call; on the stage of pack test the call itself says it.
	tables := regexp.MustCompile(`(?s)\[capabilities\.log\].*?\n\n`)
	ref, _ := h.Publish(hosttest.Artifact{TOML: tables.ReplaceAllString(hosttest.SinkTOML("1.0.0"), "\n"), Module: module})
	_, err := h.TryInstall(ref, pack.Options{By: "operator"})
	if abi.CodeOf(err) != abi.Denied {
		t.Fatal(err)
	}
	shape, serr := wasm.Inspect(module)
	if serr != nil {
		t.Fatal(serr)
	}
	for _, c := range shape.Capabilities {
		if line := "[capabilities." + string(c) + "]"; !strings.Contains(abi.HintOf(err), line) {
			t.Errorf("install: the refusal does not name %q: %v; %s", line, err, abi.HintOf(err))
		}
	}

	narrow := func(toml string) string {
		toml = strings.Replace(toml, `scope = ["read:*", "write:*"]`, `scope = ["read:/data"]`, 1)
		return strings.Replace(toml, `scope = ["*/*:*"]`, `scope = ["acme/*:*"]`, 1)
	}
	install("1.1.0", narrow)
	refused("sink.emit", `{"kind":"other.x","body":"{}"}`, `"other.x" to scope in [capabilities.event]`)
	refused("sink.read", `{"path":"/etc/passwd"}`, `"read:/etc/passwd" to scope in [capabilities.fs]`)
	refused("sink.write", `{"path":"/data/x","data":""}`, `"write:/data/x" to scope in [capabilities.fs]`)
	refused("sink.call", `{"tool":"other/x:y","input":"{}"}`, `"other/x:y" to scope in [capabilities.action]`)
	refused("sink.state", `{"name":"sink.none","n":"1"}`, `[capabilities.state]`)

	// Only sink.wait and sink.write keep their effects, so that the manifest still has a use for what it asks for.
	pure := regexp.MustCompile(`(id = "sink\.(?:put|get|emit|state|read|list|now|rand|call)"\ndescription = "[^"]*"\n)effects = "[a-z]*"\n`)
	install("1.2.0", func(toml string) string { return pure.ReplaceAllString(narrow(toml), "$1") })
	for tool, effect := range map[string]string{
		`sink.get {"key":"a"}`: "reads", `sink.put {"key":"a","val":"b"}`: "writes", `sink.emit {"kind":"sink.x","body":"{}"}`: "writes",
		`sink.state {"name":"sink.model","n":"1"}`: "writes", `sink.read {"path":"/x"}`: "reads", `sink.list {"path":"/x"}`: "reads",
		`sink.now {}`: "reads", `sink.rand {}`: "reads", `sink.call {"tool":"a/b:c","input":"{}"}`: "reads",
	} {
		name, input, _ := strings.Cut(tool, " ")
		refused(name, input, `set effects = "`+effect+`"`)
	}
}
