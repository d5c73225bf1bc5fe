package layout

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/arw-project/arw/abi"
)

// referrersPage is how many referrers go into one answer; the rest follows by its link.
const referrersPage = 500

// fixedTag is the tag of a semantic version, with the + of build metadata as _.
var fixedTag = regexp.MustCompile(`^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(_[0-9A-Za-z.-]+)?$`)

func (x *exchange) getManifest() {
	if x.opts.Upstream != nil {
		if err := x.mirrorManifest(); err != nil {
			x.fail(err, "MANIFEST_UNKNOWN")
			return
		}
	}
	d, raw, err := x.repo.Manifest(x.arg)
	if err != nil {
		code := "MANIFEST_UNKNOWN"
		if !x.repo.Exists() {
			code = "NAME_UNKNOWN"
		}
		x.fail(err, code)
		return
	}
	h := x.w.Header()
	h.Set("Content-Type", d.MediaType)
	h.Set("Content-Length", strconv.Itoa(len(raw)))
	h.Set("Docker-Content-Digest", d.Digest)
	h.Set("ETag", `"`+d.Digest+`"`)
	x.w.WriteHeader(http.StatusOK)
	if x.r.Method != http.MethodHead {
		_, _ = x.w.Write(raw)
	}
}

func (x *exchange) putManifest() {
	put := Put{Tag: x.arg}
	if !tagGrammar.MatchString(x.arg) {
		if _, _, err := splitDigest(x.arg); err != nil {
			x.fail(err, "DIGEST_INVALID")
			return
		}
		put = Put{Digest: x.arg}
	}
	put.Fixed = x.opts.FixedVersions && fixedTag.MatchString(put.Tag)
	mediaType, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	if err != nil {
		x.fail(abi.Errorf(abi.Invalid, "publish a manifest: no media type in Content-Type: %w", err), "MANIFEST_INVALID")
		return
	}
	raw, err := io.ReadAll(io.LimitReader(x.r.Body, MaxManifest+1))
	if err != nil {
		x.fail(abi.Errorf(abi.Invalid, "publish a manifest: it did not arrive whole"), "MANIFEST_INVALID")
		return
	}
	done, err := x.repo.PutManifest(x.r.Context(), mediaType, raw, put)
	if err != nil {
		code := "MANIFEST_INVALID"
		if abi.CodeOf(err) == abi.NotFound {
			code = "MANIFEST_BLOB_UNKNOWN"
		}
		x.fail(err, code)
		return
	}
	h := x.w.Header()
	h.Set("Location", fmt.Sprintf("/v2/%s/manifests/%s", x.repo.name, done.Digest))
	h.Set("Docker-Content-Digest", done.Digest)
	if done.Subject != "" {
		h.Set("OCI-Subject", done.Subject)
	}
	x.w.WriteHeader(http.StatusCreated)
}

func (x *exchange) deleteManifest() {
	var err error
	if tagGrammar.MatchString(x.arg) {
		err = x.repo.DeleteTag(x.r.Context(), x.arg)
	} else {
		err = x.repo.DeleteManifest(x.r.Context(), x.arg)
	}
	if err != nil {
		x.fail(err, "MANIFEST_UNKNOWN")
		return
	}
	x.w.WriteHeader(http.StatusAccepted)
}

func (x *exchange) referrers() {
	q := x.r.URL.Query()
	only := q.Get("artifactType")
	if x.opts.Upstream != nil {
		if err := x.mirrorReferrers(); err != nil {
			x.fail(err, "MANIFEST_UNKNOWN")
			return
		}
	}
	list, err := x.repo.Referrers(x.arg, only)
	if err != nil {
		x.fail(err, "DIGEST_INVALID")
		return
	}
	slices.SortFunc(list, func(a, b Descriptor) int { return strings.Compare(a.Digest, b.Digest) })
	if last := q.Get("last"); last != "" {
		i, found := slices.BinarySearchFunc(list, last, func(d Descriptor, last string) int { return strings.Compare(d.Digest, last) })
		if found {
			i++
		}
		list = list[i:]
	}
	if len(list) > referrersPage {
		list = list[:referrersPage]
		next := url.Values{"last": {list[referrersPage-1].Digest}}
		if only != "" {
			next.Set("artifactType", only)
		}
		x.link(next)
	}
	if only != "" {
		x.w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	x.json(http.StatusOK, mediaIndex, index{SchemaVersion: 2, MediaType: mediaIndex, Manifests: list})
}
