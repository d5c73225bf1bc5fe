package registry_test

import (
	"path/filepath"
	"testing"

	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/oci"

	"github.com/arw-project/arw/registry"
)

// TestLayoutsOfOthers: a directory written here is an OCI image layout to another tool, signatures included, and what that
// tool writes is a registry here.
func TestLayoutsOfOthers(t *testing.T) {
	t.Parallel()
	ours, theirs := t.TempDir(), t.TempDir()
	r := open(t, "dir:"+ours, registry.Options{})
	digest := push(t, r, "1.0.0", pack("one"))
	at, err := r.Attach(t.Context(), "acme/echo", digest, []byte("{}"), "x")
	if err != nil {
		t.Fatal(err)
	}
	from, err := oci.New(filepath.Join(ours, "acme", "echo"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := from.Resolve(t.Context(), "1.0.0")
	if err != nil || d.Digest.String() != digest {
		t.Fatalf("1.0.0 is %s, %v", d.Digest, err)
	}
	if list, err := from.Predecessors(t.Context(), d); err != nil || len(list) != 1 || list[0].Digest.String() != at {
		t.Errorf("referrers %v, %v", list, err)
	}
	to, err := oci.New(filepath.Join(theirs, "acme", "echo"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := oras.ExtendedCopy(t.Context(), from, "1.0.0", to, "1.0.0", oras.DefaultExtendedCopyOptions); err != nil {
		t.Fatal(err)
	}
	back := open(t, "dir:"+theirs, registry.Options{})
	a, err := back.Pull(t.Context(), registry.Ref{Name: "acme/echo", Tag: "1.0.0"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	checkPulled(t, a, pack("one"), digest)
	if bundles, err := back.Bundles(t.Context(), "acme/echo", digest); err != nil || len(bundles) != 1 {
		t.Errorf("%d bundles, %v", len(bundles), err)
	}
	push(t, back, "1.1.0", pack("two"))
}
