package layout

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/arw-project/arw/abi"
)

// Upstream is the registry that a mirror repeats. What it gives is believed only after its digest has been checked.
// Errors carry abi.NotFound when it says that there is no such thing; everything else counts as it not answering.
type Upstream interface {
	Manifest(ctx context.Context, repo, ref string) (mediaType string, raw []byte, err error)
	// Blob opens a blob; size is negative when upstream does not say.
	Blob(ctx context.Context, repo, digest string) (body io.ReadCloser, size int64, err error)
	Tags(ctx context.Context, repo string) ([]string, error)
	Referrers(ctx context.Context, repo, digest string) ([]Descriptor, error)
}

// upstreamPatience is how long a mirror waits for news before it answers with what it has.
const upstreamPatience = 10 * time.Second

// gone reports that upstream has answered, and that the answer is no.
func gone(err error) bool { return abi.CodeOf(err) == abi.NotFound }

// stale marks an answer that upstream could not confirm, in the words of RFC 7234.
func (x *exchange) stale(err error) {
	x.counts.stale.Add(1)
	x.w.Header().Add("Warning", `110 - "Response is Stale"`)
	x.opts.Log.Warn("upstream does not answer; the mirror serves what it has", "path", x.r.URL.Path, "err", err)
}

// mirrorManifest brings a manifest here. What is asked by digest and is here needs no asking; a tag is asked for each time.
func (x *exchange) mirrorManifest() error {
	byTag := tagGrammar.MatchString(x.arg)
	_, _, err := x.repo.Manifest(x.arg)
	if err == nil && !byTag {
		return nil
	}
	have := err == nil
	ctx, cancel := context.WithTimeout(x.r.Context(), upstreamPatience)
	defer cancel()
	mediaType, raw, err := x.opts.Upstream.Manifest(ctx, x.repo.name, x.arg)
	if err == nil {
		put := Put{Partial: true}
		if byTag {
			put.Tag = x.arg
		} else {
			put.Digest = x.arg
		}
		_, err = x.repo.PutManifest(x.r.Context(), mediaType, raw, put)
	}
	switch {
	case err == nil:
		return nil
	case gone(err) && have && byTag:
		_ = x.repo.DeleteTag(x.r.Context(), x.arg) // upstream took it back
		return err
	case have && !gone(err):
		x.stale(err)
		return nil
	}
	return mirrorFault(err, x.arg)
}

func mirrorFault(err error, what string) error {
	if code := abi.CodeOf(err); code == abi.NotFound || code == abi.DigestMismatch || code == abi.TooLarge {
		return err
	}
	return abi.Errorf(abi.Unavailable, "mirror %q: upstream does not answer and it is not here: %w", what, err)
}

// mirrorBlob sends a blob that is not here while it comes, and keeps it. The last bytes go out when the whole has proved
// to have its digest. It reports whether it has answered.
func (x *exchange) mirrorBlob() (done bool, err error) {
	if b, err := x.repo.OpenBlob(x.arg); err == nil {
		b.Close()
		return false, nil
	}
	body, size, err := x.opts.Upstream.Blob(x.r.Context(), x.repo.name, x.arg)
	if err != nil {
		return false, mirrorFault(err, x.arg)
	}
	defer body.Close()
	if size > x.opts.MaxBlob {
		return false, abi.Errorf(abi.TooLarge, "mirror %q: %d bytes, the limit is %d", x.arg, size, x.opts.MaxBlob)
	}
	up, err := x.repo.StartUpload(x.r.Context())
	if err != nil {
		return false, err
	}
	held := &holdBack{w: io.Discard}
	live := x.r.Method == http.MethodGet && x.r.Header.Get("Range") == "" && size >= 0
	if live {
		x.blobHead(x.arg)
		x.w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		held.w = x.w
	}
	_, err = up.Append(x.r.Context(), Chunk{At: 0, Length: size, Max: x.opts.MaxBlob}, io.TeeReader(body, held))
	if err == nil {
		err = up.Commit(x.r.Context(), x.arg)
	}
	if err != nil {
		_ = up.Cancel()
		if held.begun && live {
			x.opts.Log.Error("a mirrored blob broke off or is not what it was asked for", "repository", x.repo.name, "digest", x.arg, "err", err)
			panic(http.ErrAbortHandler)
		}
		x.w.Header().Del("Content-Length")
		return false, mirrorFault(err, x.arg)
	}
	if !live {
		return false, nil // it is here now
	}
	if err := held.flush(); err != nil {
		panic(http.ErrAbortHandler)
	}
	return true, nil
}

// holdBack passes bytes on but for the last of them.
type holdBack struct {
	w     io.Writer
	kept  []byte
	begun bool
}

const heldBytes = 64 << 10

func (h *holdBack) Write(p []byte) (int, error) {
	if len(h.kept)+len(p) <= heldBytes {
		h.kept = append(h.kept, p...)
		return len(p), nil
	}
	h.begun = true
	spare := len(h.kept) + len(p) - heldBytes
	n := min(spare, len(h.kept))
	if _, err := h.w.Write(h.kept[:n]); err != nil {
		return 0, err
	}
	h.kept = slices.Delete(h.kept, 0, n)
	if rest := spare - n; rest > 0 {
		if _, err := h.w.Write(p[:rest]); err != nil {
			return 0, err
		}
		h.kept = append(h.kept, p[rest:]...)
		return len(p), nil
	}
	h.kept = append(h.kept, p...)
	return len(p), nil
}

func (h *holdBack) flush() error {
	_, err := h.w.Write(h.kept)
	return err
}

// mirrorTags joins upstream's tags with those that are here.
func (x *exchange) mirrorTags() ([]string, error) {
	here, herr := x.repo.Tags()
	ctx, cancel := context.WithTimeout(x.r.Context(), upstreamPatience)
	defer cancel()
	there, err := x.opts.Upstream.Tags(ctx, x.repo.name)
	switch {
	case err == nil:
		slices.Sort(there)
		return slices.Compact(there), nil
	case gone(err) || herr != nil:
		return nil, mirrorFault(err, x.repo.name)
	}
	x.stale(err)
	return here, nil
}

// mirrorReferrers brings what upstream lists here; the list is then made from the manifests themselves, so that upstream
// cannot list what refers to something else.
func (x *exchange) mirrorReferrers() error {
	ctx, cancel := context.WithTimeout(x.r.Context(), upstreamPatience)
	defer cancel()
	list, err := x.opts.Upstream.Referrers(ctx, x.repo.name, x.arg)
	if gone(err) {
		return nil
	}
	if err != nil {
		x.stale(err)
		return nil
	}
	if len(list) > 4*referrersPage {
		return abi.Errorf(abi.TooLarge, "mirror the referrers of %q: upstream lists %d", x.arg, len(list))
	}
	var errs []error
	for _, d := range list {
		if _, _, err := x.repo.Manifest(d.Digest); err == nil {
			continue
		}
		mediaType, raw, err := x.opts.Upstream.Manifest(ctx, x.repo.name, d.Digest)
		if err == nil {
			_, err = x.repo.PutManifest(x.r.Context(), mediaType, raw, Put{Digest: d.Digest, Partial: true})
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
