package rehearse

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/manifests/strict"
)

type rawWorld struct {
	Now      time.Time         `toml:"now"`
	Tick     strict.Duration   `toml:"tick"`
	Seed     uint64            `toml:"seed"`
	Folders  []string          `toml:"folders"`
	Tools    []string          `toml:"tools"`
	Requests []string          `toml:"requests"`
	Without  []string          `toml:"without"`
	Secrets  map[string]string `toml:"secrets"`
	Config   map[string]any    `toml:"config"`
	KV       map[string]string `toml:"kv"`
	KVBase64 map[string]string `toml:"kv_base64"`
	FSBase64 map[string]string `toml:"fs_base64"`
}

type rawRefuse struct {
	Function string `toml:"function,required"`
	Target   string `toml:"target"`
	Nth      int64  `toml:"nth"`
	Code     string `toml:"code"`
	Message  string `toml:"message"`
}

type rawAnswer struct {
	Tool    string `toml:"tool,required"`
	Input   any    `toml:"input"`
	Output  any    `toml:"output"`
	Error   string `toml:"error"`
	Message string `toml:"message"`
	Times   *int64 `toml:"times"`
}

func (k *checker) world() {
	w := &k.head.World
	for key, val := range w.KV {
		k.kv[key] = []byte(val)
	}
	for key, val := range w.KVBase64 {
		raw, err := base64.StdEncoding.DecodeString(val)
		if err != nil {
			k.bad("", []any{"world", "kv_base64", key}, "not base64: %v", err)
		}
		if _, twice := k.kv[key]; twice {
			k.bad("", []any{"world", "kv_base64", key}, "the key is in kv too")
		}
		k.kv[key] = raw
	}
	for name, val := range w.FSBase64 {
		raw, err := base64.StdEncoding.DecodeString(val)
		if err != nil {
			k.bad("", []any{"world", "fs_base64", name}, "not base64: %v", err)
		}
		k.files[path.Clean("/"+name)] = raw
	}
	for name, text := range w.Secrets {
		if _, wrong := parseKey(text); wrong != "" {
			k.bad(`write "hmac:KEY", "ed25519:ANY TEXT", from which the key is drawn, or "token:https://HOST/", its audience`, []any{"world", "secrets", name}, "%s", wrong)
		}
	}
	for name, doc := range w.Config {
		if _, ok := doc.(map[string]any); !ok {
			k.bad("", []any{"world", "config", name}, "a document is a table")
		} else if _, err := json.Marshal(doc); err != nil {
			k.bad("", []any{"world", "config", name}, "not a document: %v", err)
		}
	}
	for i, name := range w.Without {
		if _, ok := k.man.Capability(abi.Capability(name)); !ok {
			k.bad("pack.toml asks for "+capabilityNames(k.man), []any{"world", "without", i}, "the pack does not ask for %q", name)
		}
	}
}

func (k *checker) refusals() {
	for i := range k.head.Refuse {
		r := &k.head.Refuse[i]
		if !knownFunction(r.Function) {
			k.bad(`write it as in docs/spec/abi.md, such as "kv.put", or a capability alone, such as "kv"`, []any{"refuse", i, "function"}, "there is no host function %q", r.Function)
		}
		if r.Nth < 0 {
			k.bad("1 is the first time; leave it out for every time", []any{"refuse", i, "nth"}, "it is negative")
		}
		if r.Code == "" {
			r.Code = abi.Denied.String()
		}
		k.code(r.Code, []any{"refuse", i, "code"})
	}
}

func (k *checker) answers() {
	for i := range k.head.Answers {
		a := &k.head.Answers[i]
		if a.Output != nil && a.Error != "" {
			k.bad("", []any{"answer", i}, "it has an output and an error")
		}
		if a.Error != "" {
			k.code(a.Error, []any{"answer", i, "error"})
		}
		for key, v := range map[string]*any{"input": &a.Input, "output": &a.Output} {
			if *v == nil {
				continue
			}
			doc, err := jsonOf(*v)
			if err != nil {
				k.bad("", []any{"answer", i, key}, "%v", err)
			}
			*v = doc
		}
	}
}

// jsonOf reads a value the way pack.toml does: a TOML value, or a string that holds JSON text.
func jsonOf(v any) (json.RawMessage, error) {
	raw, err := []byte(nil), error(nil)
	if text, ok := v.(string); ok {
		raw = []byte(text)
	} else if raw, err = json.Marshal(v); err != nil {
		return nil, err
	}
	doc, err := manifests.CanonicalJSON(raw)
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	return doc, nil
}
