// Package serve keeps one promise: a request for inference by name reaches the model that the operator configured under that
// name, proven to be the file it was, or is refused with what to do.
//
// Models are named in models.toml, how they run in runtimes.toml; without either every request answers no_model_configured
// and never anything made up. A file's digest is checked before it is loaded, and again when the file has changed.
//
// Actions of the kinds infer.generate, infer.embed, infer.rerank, infer.tokenize and infer.models end here. A Service is safe
// for concurrent use and owns no goroutine: the supervisor does.
package serve

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/gguf"
	"github.com/arw-project/arw/host/internal/infer/onnx"
	"github.com/arw-project/arw/host/internal/infer/supervise"
	"github.com/arw-project/arw/manifests/strict"
)

// The kinds of actions.
const (
	Generate = "infer.generate"
	Embed    = "infer.embed"
	Rerank   = "infer.rerank"
	Tokenize = "infer.tokenize"
	Models   = "infer.models"
)

// Kinds lists them.
var Kinds = []string{Generate, Embed, Rerank, Tokenize, Models}

// Model is one [model.NAME] of models.toml.
type Model struct {
	Name    string `toml:"-" json:"name"`
	File    string `toml:"file" json:"-"` // absolute path; none where the profile is remote
	Digest  string `toml:"digest" json:"digest,omitempty"`
	Profile string `toml:"profile,required" json:"profile"`
	License string `toml:"license" json:"license,omitempty"`
	Source  string `toml:"source" json:"source,omitempty"`
	Default bool   `toml:"default" json:"default,omitempty"`
	// What a million tokens cost, in millionths of a USD: "$0.15 / 1M" is 150000. Zero is free.
	PriceIn  int64 `toml:"price_in" json:"price_in,omitempty"`
	PriceOut int64 `toml:"price_out" json:"price_out,omitempty"`
	// Remote says that requests leave this machine: its profile is of somebody else's server.
	Remote bool `toml:"-" json:"remote,omitempty"`
}

// Price is what its tokens cost.
func (m Model) Price() infer.Price { return infer.Price{In: m.PriceIn, Out: m.PriceOut} }

// Lender gives runtimes that are ready; supervise.Supervisor is one.
type Lender interface {
	Lend(ctx context.Context, want supervise.Want) (*supervise.Loan, error)
}

// Service answers requests. It reads its files again when they have changed: with a fault in one the last good ones hold.
type Service struct {
	dir      string
	runtimes Lender
	given    map[string]infer.Model
	now      atomic.Pointer[table]
	counted  counters

	mu     sync.Mutex
	proven map[string]stamp // by path
}

// stamp is how a file looked when its digest was checked.
type stamp struct {
	size  int64
	mtime time.Time
	sum   string
}

// maxPrice keeps costs of any request within 63 bits.
const maxPrice = 1_000_000_000_000

var digestShape = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// Open reads models.toml and runtimes.toml of a folder; a missing one is empty. The given models, which somebody else keeps
// running, are asked beside those, and are free. Errors: Invalid with every problem and its line, Unavailable.
func Open(dir string, runtimes Lender, given map[string]infer.Model) (*Service, error) {
	s := &Service{dir: dir, runtimes: runtimes, given: given, proven: map[string]stamp{}}
	t, err := s.read()
	if err != nil {
		return nil, err
	}
	s.now.Store(t)
	return s, nil
}

func read(name string) ([]byte, error) {
	text, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, abi.Errorf(abi.Unavailable, "read %q: %w", name, err)
	}
	return text, nil
}

func parse(name string, text []byte, profiles map[string]supervise.Profile) (map[string]Model, error) {
	var f struct {
		Model map[string]Model `toml:"model"`
	}
	lines, err := strict.Decode(name, text, &f)
	problems, _ := err.(strict.Problems)
	if err != nil && problems == nil {
		return nil, abi.Errorf(abi.Internal, "read models %q: %w", name, err)
	}
	defaults := 0
	for key, m := range f.Model {
		m.Name, m.Remote = key, profiles[m.Profile].Runtime == supervise.Remote
		f.Model[key] = m
		if m.Default {
			defaults++
		}
		if lines == nil {
			continue
		}
		bad := func(field, msg string) { problems = append(problems, lines.Problem(msg, "", "model", key, field)) }
		switch {
		case m.Remote && (m.File != "" || m.Digest != ""):
			bad("file", "a remote model has no file here")
		case m.Remote:
		case !digestShape.MatchString(m.Digest):
			bad("digest", `a digest is "sha256:" and 64 digits of 0-9 and a-f`)
		case !filepath.IsAbs(m.File):
			bad("file", "a file is an absolute path")
		}
		if _, ok := profiles[m.Profile]; !ok {
			bad("profile", "runtimes.toml has no profile of that name")
		}
		if m.PriceIn < 0 || m.PriceOut < 0 || m.PriceIn > maxPrice || m.PriceOut > maxPrice {
			bad("price_in", "prices are 0 to 1,000,000,000,000 millionths of a USD for a million tokens")
		}
		if m.Default && defaults > 1 {
			bad("default", "two models are the default")
		}
	}
	if err := problems.Err(); err != nil {
		return nil, abi.Errorf(abi.Invalid, "read models:\n%w", err)
	}
	return f.Model, nil
}

// List is every model, by name.
func (s *Service) List() []Model {
	out := []Model{}
	for _, m := range s.table().models {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Model) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Find gives the named model, or the default for "". Errors: NoModel, NotFound.
func (s *Service) Find(name string) (Model, error) {
	t := s.table()
	if len(t.models) == 0 {
		return Model{}, abi.Errorf(abi.NoModel, "ask a model: none is configured on this host").
			WithHint(`put [model.NAME] with file, digest and profile into models.toml and [profile.NAME] into runtimes.toml of the state directory; "arw model pull" and "arw model add" write the former`)
	}
	if m, ok := t.models[name]; ok {
		return m, nil
	}
	for _, m := range t.models {
		if name == "" && (m.Default || len(t.models) == 1) {
			return m, nil
		}
	}
	if name == "" {
		return Model{}, abi.Errorf(abi.NoModel, "ask a model: there are %d and none is the default", len(t.models)).WithHint("name one, or set default = true in models.toml")
	}
	return Model{}, abi.Errorf(abi.NotFound, "ask model %.100q: there is none of that name", name)
}

// lend gives a model that is ready and the way to give it back. Errors: DigestMismatch, Corrupt, those of the supervisor.
func (s *Service) lend(ctx context.Context, m Model, remote func(context.Context, Model, supervise.Profile) (infer.Model, error)) (infer.Model, func(), error) {
	if given, ok := s.given[m.Name]; ok {
		return given, func() {}, nil
	}
	if m.Remote {
		if remote == nil {
			return nil, nil, abi.Errorf(abi.Denied, "ask model %q: nothing here may leave this machine", m.Name)
		}
		far, err := remote(ctx, m, s.table().profiles[m.Profile])
		return far, func() {}, err
	}
	size, err := s.prove(ctx, m)
	if err != nil {
		return nil, nil, err
	}
	loan, err := s.runtimes.Lend(ctx, supervise.Want{Digest: m.Digest, File: m.File, Size: size, Profile: s.table().profiles[m.Profile]})
	if err != nil {
		return nil, nil, err
	}
	return loan.Model, loan.Release, nil
}

// Start brings a model's runtime up before anybody asks, and names it. Errors: NoModel, NotFound, Unsupported, those of lending.
func (s *Service) Start(ctx context.Context, name string) (id string, err error) {
	m, err := s.serving(name)
	if err != nil {
		return "", err
	}
	size, err := s.prove(ctx, m)
	if err != nil {
		return "", err
	}
	loan, err := s.runtimes.Lend(ctx, supervise.Want{Digest: m.Digest, File: m.File, Size: size, Profile: s.table().profiles[m.Profile]})
	if err != nil {
		return "", err
	}
	defer loan.Release()
	return loan.Runtime, nil
}

// prove checks the file's digest when it was not checked as it is now.
func (s *Service) prove(ctx context.Context, m Model) (size int64, err error) {
	f, err := os.Open(m.File)
	if err != nil {
		return 0, abi.Errorf(abi.Unavailable, "load model %q: %w", m.Name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, abi.Errorf(abi.Unavailable, "load model %q: %w", m.Name, err)
	}
	now := stamp{info.Size(), info.ModTime(), m.Digest}
	s.mu.Lock()
	known := s.proven[m.File] == now
	s.mu.Unlock()
	if known {
		return now.size, nil
	}
	if err := inspect(s.table().profiles[m.Profile].Runtime, f, info.Size()); err != nil {
		return 0, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, abi.Errorf(abi.Unavailable, "load model %q: %w", m.Name, err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, cancellable{ctx, f}); err != nil {
		return 0, abi.Errorf(abi.CodeOf(err), "load model %q: %w", m.Name, err)
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != m.Digest {
		return 0, abi.Errorf(abi.DigestMismatch, "load model %q: the file %q is %s, models.toml says %s", m.Name, m.File, got, m.Digest)
	}
	s.mu.Lock()
	s.proven[m.File] = now
	s.mu.Unlock()
	return now.size, nil
}

// inspect refuses a file whose header is not one that the runtime could load.
func inspect(runtime string, f io.Reader, size int64) (err error) {
	switch runtime {
	case "llama":
		_, err = gguf.Read(f, size)
	case "onnx":
		err = onnx.Check(f, size)
	}
	return err
}

type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
