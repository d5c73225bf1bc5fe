package shelf

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/arw-project/arw/abi"
)

// Fetch asks for a URL with the given headers and gives the answer, whose body the caller closes. What may be asked, whoever
// answers for it decides.
type Fetch func(ctx context.Context, url string, header http.Header) (*http.Response, error)

// Want is a file to be brought here. Digest is required; the rest is for the manifest.
type Want struct {
	URL      string
	Manifest Manifest
	// Piece bounds one answer, in bytes: the file is asked for in pieces where the server can. 0 is 512 MiB.
	Piece int64
	// Progress hears how far it is: at the start, about each twentieth and at the end. total is -1 while it is unknown.
	Progress func(done, total int64)
}

// to is where a broken download goes on.
type to struct {
	URL       string `json:"url"`
	Validator string `json:"validator"` // strong, for If-Range; without one it begins anew
	Total     int64  `json:"total"`     // -1: unknown
}

// Pull brings a file here, going on where an earlier one of the same URL and validator broke off. The digest decides in any
// case. Errors: Fetch's; DigestMismatch, after which the next begins anew; Corrupt, Unsupported; StorageFull and Unavailable,
// after which what came is kept; Conflict when it is being brought.
func (s *Shelf) Pull(ctx context.Context, fetch Fetch, w Want) (Manifest, error) {
	if err := checkDigest(w.Manifest.Digest); err != nil {
		return w.Manifest, err
	}
	if m, err := s.Get(w.Manifest.Digest); err == nil {
		return m, nil
	}
	release, err := s.claim(w.Manifest.Digest)
	if err != nil {
		return w.Manifest, err
	}
	defer release()
	if w.Piece <= 0 {
		w.Piece = 512 << 20
	}
	if w.Progress == nil {
		w.Progress = func(int64, int64) {}
	}
	p := &pull{s: s, w: w, name: s.name(w.Manifest.Digest) + ".part"}
	defer p.close()
	if err := p.resume(ctx); err != nil {
		return w.Manifest, err
	}
	for p.at.Total < 0 || p.done < p.at.Total {
		more, err := p.piece(ctx, fetch)
		if err != nil {
			return w.Manifest, err
		}
		if !more {
			break
		}
	}
	return p.end()
}

// pull is one download.
type pull struct {
	s    *Shelf
	w    Want
	name string
	f    *os.File
	sum  hash.Hash
	done int64
	told int64
	at   to
}

func (p *pull) close() {
	if p.f != nil {
		_ = p.f.Close() // what it held back is fetched again
	}
}

// resume opens the part that an earlier try left and reads it into the digest.
func (p *pull) resume(ctx context.Context) (err error) {
	if p.f, err = os.OpenFile(p.name, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return failed("bring a model file", err)
	}
	p.sum = sha256.New()
	text, err := os.ReadFile(p.name + ".to")
	if err != nil || json.Unmarshal(text, &p.at) != nil || p.at.URL != p.w.URL || p.at.Validator == "" {
		return p.anew()
	}
	if p.done, err = io.Copy(p.sum, cancellable{ctx, p.f}); err != nil {
		return failed("read what came of a model file", err)
	}
	if p.at.Total >= 0 && p.done > p.at.Total {
		return p.anew()
	}
	p.tell(true)
	return nil
}

// anew forgets what came.
func (p *pull) anew() error {
	p.at, p.done, p.told = to{URL: p.w.URL, Total: -1}, 0, 0
	p.sum.Reset()
	info, err := p.f.Stat()
	if err == nil && info.Size() > 0 {
		err = p.f.Truncate(0)
	}
	if err == nil && info.Size() > 0 {
		_, err = p.f.Seek(0, io.SeekStart)
	}
	return failed("bring a model file", err)
}

// piece asks for the next bytes. It reports whether there may be more.
func (p *pull) piece(ctx context.Context, fetch Fetch) (more bool, err error) {
	header := http.Header{"Accept-Encoding": {"identity"}}
	header.Set("Range", "bytes="+strconv.FormatInt(p.done, 10)+"-"+strconv.FormatInt(p.done+p.w.Piece-1, 10))
	if p.done > 0 {
		header.Set("If-Range", p.at.Validator)
	}
	resp, err := fetch(ctx, p.w.URL, header)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	size := int64(-1)
	switch resp.StatusCode {
	case http.StatusOK: // the whole: ranges are unknown there, or the file is another one now
		if err := p.anew(); err != nil {
			return false, err
		}
		p.at.Total, size = resp.ContentLength, resp.ContentLength
	case http.StatusPartialContent:
		from, to, total, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || from != p.done || p.at.Total >= 0 && total != p.at.Total {
			return false, abi.Errorf(abi.Unavailable, "bring %q: the server sent %.100q where byte %d was asked for", p.w.URL, resp.Header.Get("Content-Range"), p.done)
		}
		p.at.Total, size, more = total, to-from+1, true
	default:
		return false, abi.Errorf(abi.Unavailable, "bring %q: the server answered %d", p.w.URL, resp.StatusCode)
	}
	p.at.Validator = validator(resp.Header)
	if err := p.s.room(p.at.Total - p.done); p.at.Total > 0 && err != nil {
		return false, err
	}
	text, err := json.Marshal(p.at)
	if err == nil {
		err = whole(p.name+".to", text)
	}
	if err != nil {
		return false, failed("bring a model file", err)
	}
	p.tell(true)
	return more, p.take(ctx, resp.Body, size)
}

// take reads one answer of size bytes; -1 is as many as come.
func (p *pull) take(ctx context.Context, from io.Reader, size int64) error {
	buf, got := make([]byte, 1<<20), int64(0)
	for {
		n, rerr := cancellable{ctx, from}.Read(buf)
		if size >= 0 && got+int64(n) > size {
			return abi.Errorf(abi.Unavailable, "bring %q: the server sent more than the %d bytes that it announced", p.w.URL, size)
		}
		if p.s.quota > 0 && size < 0 {
			if err := p.s.room(int64(n)); err != nil {
				return err
			}
		}
		if k, err := p.f.Write(buf[:n]); err != nil {
			p.sum.Write(buf[:k])
			return failed("bring a model file", err)
		}
		p.sum.Write(buf[:n])
		got, p.done = got+int64(n), p.done+int64(n)
		p.tell(false)
		switch {
		case errors.Is(rerr, io.EOF) && (size < 0 || got == size):
			return nil
		case errors.Is(rerr, io.EOF):
			return abi.Errorf(abi.Unavailable, "bring %q: the answer broke off after %d of %d bytes", p.w.URL, got, size).WithHint("try again: it goes on from there")
		case rerr != nil:
			return failed("bring a model file", rerr)
		}
	}
}

// tell says how far it is, not too often.
func (p *pull) tell(now bool) {
	if step := max(p.at.Total/20, 1<<20); now || p.done-p.told >= step {
		p.told = p.done
		p.w.Progress(p.done, p.at.Total)
	}
}

// end proves what came and puts it on the shelf.
func (p *pull) end() (Manifest, error) {
	m := p.w.Manifest
	if got := "sha256:" + hex.EncodeToString(p.sum.Sum(nil)); got != m.Digest {
		p.forget()
		return m, abi.Errorf(abi.DigestMismatch, "bring %q: its bytes are %s, not %s", p.w.URL, got, m.Digest).WithHint("nothing of it is kept; compare the digest with one from another source")
	}
	done, err := p.s.settle(p.f, m)
	if err != nil {
		if c := abi.CodeOf(err); c == abi.Corrupt || c == abi.Unsupported || c == abi.Invalid {
			p.forget() // the right bytes, and no model
		}
		return m, err
	}
	_ = os.Remove(p.name + ".to") // the next sweep finds it
	p.w.Progress(p.done, p.done)
	return done, nil
}

func (p *pull) forget() {
	_ = os.Remove(p.name) // else the next try reads it and says the same
	_ = os.Remove(p.name + ".to")
}

// validator is what makes sure that a later piece is of the same file: a strong ETag.
func validator(h http.Header) string {
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) && len(tag) < 1024 {
		return tag
	}
	return ""
}

// contentRange reads "bytes 0-99/1000".
func contentRange(text string) (from, to, total int64, ok bool) {
	rest, isBytes := strings.CutPrefix(text, "bytes ")
	span, of, cut := strings.Cut(rest, "/")
	a, b, dash := strings.Cut(span, "-")
	if !isBytes || !cut || !dash {
		return 0, 0, 0, false
	}
	var errs [3]error
	from, errs[0] = strconv.ParseInt(a, 10, 64)
	to, errs[1] = strconv.ParseInt(b, 10, 64)
	total, errs[2] = strconv.ParseInt(of, 10, 64)
	return from, to, total, errors.Join(errs[:]...) == nil && from >= 0 && to >= from && total > to
}
