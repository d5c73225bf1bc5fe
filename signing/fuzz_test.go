package signing_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/strict"
	"github.com/arw-project/arw/signing"
)

// FuzzBundle holds the parser and the verdict to one property: whatever the bytes, only the very statement that alice
// signed can make the digest trusted, and everything else is a rejection with a reason, never a crash.
func FuzzBundle(f *testing.F) {
	addFiles(f, "testdata/bundles/*.json")
	good := signedBy(f, "alice", digestA)
	f.Add(good)
	p := people(f, acmeByAlice, "alice")
	signed := dsse(f, good)["payload"]
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := p.Verify(t.Context(), "acme/echo", digestA, [][]byte{data})
		if v == nil {
			t.Fatalf("no verdict: %v", err)
		}
		if v.Allowed != (err == nil) || len(v.Signers)+len(v.Rejected) != 1 {
			t.Fatalf("%+v beside %v", v, err)
		}
		if !v.Allowed {
			if r := v.Rejected[0]; r.Code == "" || r.Reason == "" || abi.CodeOf(err) != abi.Untrusted {
				t.Fatalf("%+v beside %v", r, err)
			}
			return
		}
		if dsse(t, data)["payload"] != signed {
			t.Fatalf("trusted a statement that alice never signed: %s", data)
		}
	})
}

// FuzzPolicy: a policy loads or every complaint has its line; a loaded one trusts nothing that is not signed.
func FuzzPolicy(f *testing.F) {
	addFiles(f, "testdata/policies/*.toml")
	known := files{"acme.pub": keyOf(f, "alice").PublicPEM()}
	root, err := os.ReadFile("testdata/trusted_root.json")
	check(f, err)
	known["trusted_root.json"] = root
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := signing.ParsePolicy("trust.toml", data, known.read)
		if err != nil {
			problems, ok := errors.AsType[strict.Problems](err)
			if !ok && abi.CodeOf(err) != abi.TooLarge {
				t.Fatalf("no problems in %v", err)
			}
			for _, problem := range problems {
				if problem.Line < 1 || problem.Line > bytes.Count(data, []byte("\n"))+1 || problem.Msg == "" {
					t.Fatalf("%+v", problem)
				}
			}
			return
		}
		again, err := signing.ParsePolicy("trust.toml", data, known.read)
		if err != nil || again.Digest() != p.Digest() {
			t.Fatalf("the same policy twice: %v", err)
		}
		if v, err := p.Verify(t.Context(), "acme/echo", digestA, nil); err == nil || v.Allowed {
			t.Fatal("trusted what nobody signed")
		}
	})
}

func addFiles(f *testing.F, pattern string) {
	names, err := filepath.Glob(pattern)
	check(f, err)
	if len(names) == 0 {
		f.Fatalf("no seeds in %s", pattern)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		check(f, err)
		f.Add(data)
	}
}

// FuzzKey: what is read as a key is one, and survives being written and read again.
func FuzzKey(f *testing.F) {
	plain, err := keyOf(f, "alice").MarshalPEM(nil)
	check(f, err)
	f.Add(plain)
	f.Add(keyOf(f, "alice").PublicPEM())
	f.Add([]byte("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := signing.ParseKey(data, nil)
		if err != nil {
			if key != nil || abi.CodeOf(err) == abi.Internal {
				t.Fatalf("%v beside %v", key, err)
			}
			return
		}
		text, err := key.MarshalPEM(nil)
		check(t, err)
		again, err := signing.ParseKey(text, nil)
		check(t, err)
		if again.ID() != key.ID() {
			t.Fatal("another key came back")
		}
	})
}
