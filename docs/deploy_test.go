package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDeployment holds the files of docs/deploy to what the host is: they run it as nobody, give it no more than it needs, and
// agree with it about ports, sizes and commands. That the programs they are for read them is "make packaging-check".
func TestDeployment(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		t.Helper()
		raw, err := os.ReadFile(filepath.FromSlash(name))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	for _, c := range []struct {
		file string
		has  []string // patterns, of whole lines
		not  []string
	}{
		{"deploy/arw.service", []string{
			`DynamicUser=yes`, `StateDirectoryMode=0700`, `NoNewPrivileges=yes`, `CapabilityBoundingSet=`, `ProtectSystem=strict`, `ProtectHome=yes`,
			`ExecStart=/usr/local/bin/arw serve`, `KillSignal=SIGTERM`, `RestrictNamespaces=yes`, `UMask=0077`,
		}, []string{
			`User=root`, `MemoryDenyWriteExecute=yes`, // it compiles
		}},
		{"deploy/Containerfile", []string{`FROM scratch`, `USER 65532:65532`, `ENTRYPOINT \["/arw"\]`, `CMD \["serve"\]`, `STOPSIGNAL SIGTERM`}, []string{`USER (root|0).*`, `ADD .*`}},
		{"deploy/nginx.conf", []string{`proxy_buffering off;`, `server 127\.0\.0\.1:8091;`, `client_max_body_size 9m;`, `if \(\$arw_anonymous\) { return 401; }`, `location = /metrics { return 404; }`}, nil},
		{"deploy/Caddyfile", []string{`reverse_proxy 127\.0\.0\.1:8091 {`, `max_size 9MB`, `flush_interval -1`, `respond @anonymous 401`, `respond @numbers 404`}, nil},
		{"deploy/helm/arw/templates/host.yaml", []string{
			`runAsNonRoot: true`, `readOnlyRootFilesystem: true`, `allowPrivilegeEscalation: false`, `capabilities: {drop: \[ALL\]}`, `replicas: 1`,
			`automountServiceAccountToken: false`, `seccompProfile: {type: RuntimeDefault}`, `args: \[serve\]`,
		}, []string{`privileged: true`, `hostNetwork: true`}},
		{"deploy/helm/arw/templates/config.yaml", []string{`\[tls\]`, `cert = "/etc/arw/tls/tls\.crt"`, `trust = "/etc/arw/config/trust\.toml"`}, nil},
	} {
		text := read(c.file)
		for _, p := range c.has {
			if !regexp.MustCompile(`(?m)^\s*` + p + `\s*$`).MatchString(text) {
				t.Errorf("%s does not say %s", c.file, p)
			}
		}
		for _, p := range c.not {
			if regexp.MustCompile(`(?m)^\s*` + p + `\s*$`).MatchString(text) {
				t.Errorf("%s says %s", c.file, p)
			}
		}
	}
	if at := `defaultListen   = "127.0.0.1:8091"`; !strings.Contains(read("../host/cmd/arw/config.go"), at) {
		t.Errorf("the host does not listen where the proxies look: %s", at)
	}
	if !strings.Contains(read("../host/api/api.go"), "MaxBody = 9 << 20") {
		t.Error("the host takes other sizes of bodies than the proxies")
	}
}
