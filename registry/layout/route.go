package layout

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/arw-project/arw/abi"
)

// route finds the operation of a path and a method. Repository names hold slashes, so the path is read from its end.
func (x *exchange) route() {
	rest, ok := strings.CutPrefix(x.r.URL.Path, "/v2/")
	switch {
	case x.r.URL.Path == "/healthz":
		x.allow(map[string]func(){http.MethodGet: x.ping})
		return
	case x.r.URL.Path == "/token" && x.opts.Access != nil:
		x.allow(map[string]func(){http.MethodGet: x.giveToken})
		return
	case x.r.URL.Path == "/metrics" || x.r.URL.Path == "/v2" || ok && (rest == "" || rest == "_catalog"):
		if !x.permitted("") {
			return
		}
	}
	switch {
	case x.r.URL.Path == "/metrics":
		x.allow(map[string]func(){http.MethodGet: func() { x.metrics(x.w) }})
		return
	case x.r.URL.Path == "/v2" || (ok && rest == ""):
		x.allow(map[string]func(){http.MethodGet: x.ping})
		return
	case ok && rest == "_catalog":
		x.allow(map[string]func(){http.MethodGet: x.catalog})
		return
	}
	name, kind, arg := split(rest)
	ops := map[string]map[string]func(){
		"uploads":   {http.MethodPost: x.startUpload},
		"upload":    {http.MethodGet: x.uploadStatus, http.MethodPatch: x.patchUpload, http.MethodPut: x.finishUpload, http.MethodDelete: x.cancelUpload},
		"blobs":     {http.MethodGet: x.getBlob, http.MethodDelete: x.deleteBlob},
		"manifests": {http.MethodGet: x.getManifest, http.MethodPut: x.putManifest, http.MethodDelete: x.deleteManifest},
		"tags":      {http.MethodGet: x.tags},
		"referrers": {http.MethodGet: x.referrers},
	}[kind]
	if !ok || ops == nil {
		x.fail(abi.Errorf(abi.NotFound, "find %q: the registry has no such path", x.r.URL.Path), "UNSUPPORTED")
		return
	}
	repo, err := x.dir.Repo(name)
	if err != nil {
		x.fail(err, "NAME_INVALID")
		return
	}
	x.repo, x.arg = repo, arg
	if x.permitted(name) {
		x.allow(ops)
	}
}

// permitted reports whether the request may go on; if not, it has answered.
func (x *exchange) permitted(repo string) bool {
	need := mayPush
	if x.r.Method == http.MethodGet || x.r.Method == http.MethodHead {
		need = mayPull
	}
	err := x.permit(need, repo)
	if err == nil {
		return true
	}
	if abi.CodeOf(err) == abi.Unauthenticated {
		x.challenge(need, repo)
	}
	x.fail(err, "DENIED")
	return false
}

// split takes a path below /v2/ apart.
func split(p string) (name, kind, arg string) {
	if name, ok := strings.CutSuffix(p, "/tags/list"); ok {
		return name, "tags", ""
	}
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", "", ""
	}
	head, arg := p[:i], p[i+1:]
	if name, ok := strings.CutSuffix(head, "/blobs/uploads"); ok {
		if arg == "" {
			return name, "uploads", ""
		}
		return name, "upload", arg
	}
	if name, ok := strings.CutSuffix(p, "/blobs/uploads"); ok {
		return name, "uploads", ""
	}
	for _, kind := range []string{"blobs", "manifests", "referrers"} {
		if name, ok := strings.CutSuffix(head, "/"+kind); ok {
			return name, kind, arg
		}
	}
	return "", "", ""
}

// allow runs the operation of the request's method; HEAD is GET without a body, which net/http sees to.
func (x *exchange) allow(ops map[string]func()) {
	method := x.r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	op, ok := ops[method]
	if !ok {
		var known []string
		for m := range ops {
			known = append(known, m)
		}
		slices.Sort(known)
		x.w.Header().Set("Allow", strings.Join(known, ", "))
		x.failAs(http.StatusMethodNotAllowed, "UNSUPPORTED", fmt.Sprintf("%s is not done here", x.r.Method))
		return
	}
	op()
}

// fail answers with an error. code is the specification's word for the request's own fault; what is this side's fault is
// logged and told in general words, since its message names files.
func (x *exchange) fail(err error, code string) {
	status := http.StatusInternalServerError
	switch abi.CodeOf(err) {
	case abi.Invalid:
		status = http.StatusBadRequest
	case abi.DigestMismatch:
		status, code = http.StatusBadRequest, "DIGEST_INVALID"
	case abi.NotFound:
		status = http.StatusNotFound
		if code == "MANIFEST_BLOB_UNKNOWN" {
			status = http.StatusBadRequest
		}
	case abi.Unauthenticated:
		status, code = http.StatusUnauthorized, "UNAUTHORIZED"
	case abi.Denied:
		status, code = http.StatusForbidden, "DENIED"
	case abi.Conflict:
		status, code = http.StatusConflict, "DENIED"
	case abi.TooLarge:
		status, code = http.StatusRequestEntityTooLarge, "SIZE_INVALID"
	case abi.StorageFull:
		status, code = http.StatusInsufficientStorage, "UNKNOWN"
	case abi.Unsupported:
		status, code = http.StatusMethodNotAllowed, "UNSUPPORTED"
	case abi.Unavailable:
		if x.opts.Upstream != nil {
			status = http.StatusBadGateway
		}
	}
	message := err.Error()
	if status >= 500 {
		if x.r.Context().Err() == nil {
			x.opts.Log.Error("registry request failed", "method", x.r.Method, "path", x.r.URL.Path, "err", err)
		}
		code, message = "UNKNOWN", "the registry's store failed: "+abi.CodeOf(err).Info().Doc
		if status == http.StatusBadGateway {
			message = "this mirror does not have it and its upstream does not answer"
		}
	}
	x.failAs(status, code, message)
}

func (x *exchange) failAs(status int, code, message string) {
	type fault struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	x.json(status, "application/json", map[string][]fault{"errors": {{code, message}}})
}

func (x *exchange) json(status int, mediaType string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // only our own plain types come here
	}
	h := x.w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	x.w.WriteHeader(status)
	_, _ = x.w.Write(body)
}

func (x *exchange) ping() { x.json(http.StatusOK, "application/json", struct{}{}) }

func (x *exchange) catalog() {
	names, err := x.dir.Names()
	if err == nil {
		names, err = x.page(x.visible(names))
	}
	if err != nil {
		x.fail(err, "NAME_INVALID")
		return
	}
	x.json(http.StatusOK, "application/json", map[string][]string{"repositories": names})
}

func (x *exchange) tags() {
	list := x.repo.Tags
	if x.opts.Upstream != nil {
		list = x.mirrorTags
	}
	tags, err := list()
	if err != nil {
		x.fail(err, "NAME_UNKNOWN")
		return
	}
	if tags, err = x.page(tags); err != nil {
		x.fail(err, "TAG_INVALID")
		return
	}
	x.json(http.StatusOK, "application/json", struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{x.repo.name, tags})
}

// page cuts a sorted list down to what n and last ask for, and sets the link to the rest.
func (x *exchange) page(list []string) ([]string, error) {
	q := x.r.URL.Query()
	if last := q.Get("last"); last != "" {
		i, found := slices.BinarySearch(list, last)
		if found {
			i++
		}
		list = list[i:]
	}
	if q.Has("n") {
		n, err := strconv.Atoi(q.Get("n"))
		if err != nil || n < 0 {
			return nil, abi.Errorf(abi.Invalid, "list: n is %q, not a number", q.Get("n"))
		}
		if n < len(list) {
			if list = list[:n]; n > 0 {
				x.link(url.Values{"n": {strconv.Itoa(n)}, "last": {list[n-1]}})
			}
		}
	}
	if list == nil {
		list = []string{}
	}
	return list, nil
}

func (x *exchange) link(q url.Values) {
	x.w.Header().Set("Link", fmt.Sprintf("<%s?%s>; rel=\"next\"", x.r.URL.EscapedPath(), q.Encode()))
}
