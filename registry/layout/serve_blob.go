package layout

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
)

// blobHead sets what every answer with a blob says.
func (x *exchange) blobHead(digest string) {
	h := x.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Docker-Content-Digest", digest)
	h.Set("Accept-Ranges", "bytes")
	h.Set("ETag", `"`+digest+`"`)
}

func (x *exchange) getBlob() {
	if x.opts.Upstream != nil {
		done, err := x.mirrorBlob()
		if err != nil {
			x.fail(err, "BLOB_UNKNOWN")
			return
		}
		if done {
			return
		}
	}
	b, err := x.repo.OpenBlob(x.arg)
	if err != nil {
		code := "BLOB_UNKNOWN"
		if abi.CodeOf(err) == abi.Invalid {
			code = "DIGEST_INVALID"
		}
		x.fail(err, code)
		return
	}
	defer b.Close()
	x.blobHead(b.digest)
	h := x.w.Header()
	switch {
	case x.r.Header.Get("Range") != "": // a part, which nothing can be checked against; the receiver checks the whole
		http.ServeContent(x.w, x.r, "", time.Time{}, io.NewSectionReader(b, 0, b.size))
	case x.r.Method == http.MethodHead:
		h.Set("Content-Length", strconv.FormatInt(b.size, 10))
		x.w.WriteHeader(http.StatusOK)
	default:
		x.sendBlob(b)
	}
}

// sendBlob streams a blob while checking it. A damaged one ends in a broken connection instead of its last bytes, or in an
// error when it is small.
func (x *exchange) sendBlob(b *Blob) {
	buf := make([]byte, 256<<10)
	n, err := b.Read(buf)
	if err != nil && !errors.Is(err, io.EOF) {
		x.fail(err, "UNKNOWN")
		return
	}
	x.w.Header().Set("Content-Length", strconv.FormatInt(b.size, 10))
	x.w.WriteHeader(http.StatusOK)
	if _, err = x.w.Write(buf[:n]); err == nil {
		_, err = io.CopyBuffer(onlyWriter{x.w}, b, buf)
	}
	if err != nil {
		if abi.CodeOf(err) == abi.Corrupt {
			x.opts.Log.Error("a blob is damaged", "repository", x.repo.name, "err", err)
		}
		panic(http.ErrAbortHandler)
	}
}

func (x *exchange) deleteBlob() {
	if err := x.repo.DeleteBlob(x.r.Context(), x.arg); err != nil {
		x.fail(err, "BLOB_UNKNOWN")
		return
	}
	x.w.WriteHeader(http.StatusAccepted)
}

// startUpload opens an upload, takes a blob whole with the same request, or mounts one from another repository.
func (x *exchange) startUpload() {
	q := x.r.URL.Query()
	if q.Has("mount") && x.mount(q.Get("mount"), q.Get("from")) {
		return
	}
	digest := q.Get("digest")
	if digest != "" {
		if _, _, err := splitDigest(digest); err != nil {
			x.fail(err, "DIGEST_INVALID")
			return
		}
	}
	up, err := x.repo.StartUpload(x.r.Context())
	if err != nil {
		x.fail(err, "NAME_INVALID")
		return
	}
	if digest == "" {
		x.stands(up, 0)
		x.w.WriteHeader(http.StatusAccepted)
		return
	}
	if !x.receive(up, Chunk{At: 0, Length: x.r.ContentLength, Max: x.opts.MaxBlob}) {
		_ = up.Cancel()
		return
	}
	x.commit(up, digest)
}

// mount reports whether it answered; a blob that cannot be mounted is uploaded instead.
func (x *exchange) mount(digest, from string) bool {
	if from == "" {
		return false
	}
	other, err := x.dir.Repo(from)
	if err != nil || x.permit(mayPull, from) != nil { // who may not read it there must not get it here
		return false
	}
	if err := x.repo.Mount(x.r.Context(), other, digest); err != nil {
		return false
	}
	x.created(digest)
	return true
}

func (x *exchange) created(digest string) {
	h := x.w.Header()
	h.Set("Location", fmt.Sprintf("/v2/%s/blobs/%s", x.repo.name, digest))
	h.Set("Docker-Content-Digest", digest)
	x.w.WriteHeader(http.StatusCreated)
}

// stands says where an upload is and how far it has come.
func (x *exchange) stands(up *Upload, size int64) {
	h := x.w.Header()
	h.Set("Location", fmt.Sprintf("/v2/%s/blobs/uploads/%s", x.repo.name, up.id))
	h.Set("Range", fmt.Sprintf("0-%d", max(size-1, 0)))
	h.Set("Docker-Upload-UUID", up.id)
}

// upload finds the upload of the path.
func (x *exchange) upload() (*Upload, bool) {
	up, err := x.repo.Upload(x.arg)
	if err != nil {
		x.fail(err, "BLOB_UPLOAD_UNKNOWN")
		return nil, false
	}
	return up, true
}

func (x *exchange) uploadStatus() {
	up, ok := x.upload()
	if !ok {
		return
	}
	size, err := up.Size()
	if err != nil {
		x.fail(err, "BLOB_UPLOAD_UNKNOWN")
		return
	}
	x.stands(up, size)
	x.w.WriteHeader(http.StatusNoContent)
}

func (x *exchange) cancelUpload() {
	up, ok := x.upload()
	if !ok {
		return
	}
	if err := up.Cancel(); err != nil {
		x.fail(err, "BLOB_UPLOAD_UNKNOWN")
		return
	}
	x.w.WriteHeader(http.StatusNoContent)
}

func (x *exchange) patchUpload() {
	up, ok := x.upload()
	if !ok {
		return
	}
	chunk, err := x.chunk()
	if err != nil {
		x.fail(err, "BLOB_UPLOAD_INVALID")
		return
	}
	if !x.receive(up, chunk) {
		return
	}
	x.w.WriteHeader(http.StatusAccepted)
}

func (x *exchange) finishUpload() {
	up, ok := x.upload()
	if !ok {
		return
	}
	digest := x.r.URL.Query().Get("digest")
	_, _, err := splitDigest(digest)
	if err != nil {
		x.fail(err, "DIGEST_INVALID")
		return
	}
	chunk, err := x.chunk()
	if err != nil {
		x.fail(err, "BLOB_UPLOAD_INVALID")
		return
	}
	if x.receive(up, chunk) {
		x.commit(up, digest)
	}
}

// chunk reads what a request says about its body.
func (x *exchange) chunk() (Chunk, error) {
	c := Chunk{At: -1, Length: x.r.ContentLength, Max: x.opts.MaxBlob}
	cr := x.r.Header.Get("Content-Range")
	if cr == "" {
		return c, nil
	}
	first, last, ok := strings.Cut(strings.TrimPrefix(cr, "bytes "), "-")
	last, _, _ = strings.Cut(last, "/")
	from, err1 := strconv.ParseInt(first, 10, 64)
	to, err2 := strconv.ParseInt(last, 10, 64)
	if !ok || err1 != nil || err2 != nil || from < 0 || to < from-1 {
		return c, abi.Errorf(abi.Invalid, "write an upload: Content-Range is %q", cr).WithHint("write first-last, counted from 0")
	}
	if c.Length >= 0 && c.Length != to-from+1 {
		return c, abi.Errorf(abi.Invalid, "write an upload: Content-Range is %q and the body has %d bytes", cr, c.Length)
	}
	c.At, c.Length = from, to-from+1
	return c, nil
}

// receive adds the request's body to an upload and reports whether all of it came; if not, it has answered. A chunk out of
// place is told where the upload stands.
func (x *exchange) receive(up *Upload, c Chunk) bool {
	size, err := up.Append(x.r.Context(), c, x.r.Body)
	if err == nil {
		x.stands(up, size)
		return true
	}
	switch abi.CodeOf(err) {
	case abi.Invalid:
		x.stands(up, size)
		x.failAs(http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID", err.Error())
	case abi.NotFound:
		x.fail(err, "BLOB_UPLOAD_UNKNOWN")
	case abi.Unavailable, abi.Cancelled, abi.Deadline: // the connection broke; whoever still listens may go on later
		x.stands(up, size)
		x.failAs(http.StatusBadRequest, "BLOB_UPLOAD_INVALID", "the body did not arrive whole")
	default:
		x.fail(err, "BLOB_UPLOAD_INVALID")
	}
	return false
}

func (x *exchange) commit(up *Upload, digest string) {
	if err := up.Commit(x.r.Context(), digest); err != nil {
		x.fail(err, "BLOB_UPLOAD_UNKNOWN")
		return
	}
	x.w.Header().Del("Range")
	x.created(digest)
}
