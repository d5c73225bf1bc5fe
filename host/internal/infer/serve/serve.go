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
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/gguf"
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
	File    string `toml:"file,required" json:"-"` // absolute path
	Digest  string `toml:"digest,required" json:"digest"`
	Profile string `toml:"profile,required" json:"profile"`
	License string `toml:"license" json:"license,omitempty"`
	Source  string `toml:"source" json:"source,omitempty"`
	Default bool   `toml:"default" json:"default,omitempty"`
}

// Service answers requests.
type Service struct {
	runtimes *supervise.Supervisor
	profiles map[string]supervise.Profile
	models   map[string]Model

	mu     sync.Mutex
	proven map[string]stamp // by path
}

// stamp is how a file looked when its digest was checked.
type stamp struct {
	size  int64
	mtime time.Time
	sum   string
}

var digestShape = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// Open reads models.toml and runtimes.toml of a folder; a missing one is empty. Errors: Invalid with every problem and its
// line, Unavailable.
func Open(dir string, runtimes *supervise.Supervisor) (*Service, error) {
	s := &Service{runtimes: runtimes, proven: map[string]stamp{}}
	text, err := read(filepath.Join(dir, "runtimes.toml"))
	if err != nil {
		return nil, err
	}
	if s.profiles, err = supervise.ParseProfiles(filepath.Join(dir, "runtimes.toml"), text); err != nil {
		return nil, err
	}
	name := filepath.Join(dir, "models.toml")
	if text, err = read(name); err != nil {
		return nil, err
	}
	s.models, err = s.parse(name, text)
	return s, err
}

func read(name string) ([]byte, error) {
	text, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, abi.Errorf(abi.Unavailable, "read %q: %w", name, err)
	}
	return text, nil
}

func (s *Service) parse(name string, text []byte) (map[string]Model, error) {
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
		m.Name = key
		f.Model[key] = m
		if m.Default {
			defaults++
		}
		if lines == nil {
			continue
		}
		bad := func(field, msg string) { problems = append(problems, lines.Problem(msg, "", "model", key, field)) }
		if !digestShape.MatchString(m.Digest) {
			bad("digest", `a digest is "sha256:" and 64 digits of 0-9 and a-f`)
		}
		if !filepath.IsAbs(m.File) {
			bad("file", "a file is an absolute path")
		}
		if _, ok := s.profiles[m.Profile]; !ok {
			bad("profile", "runtimes.toml has no profile of that name")
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
	for _, m := range s.models {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Model) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// find gives the named model, or the default for "".
func (s *Service) find(name string) (Model, error) {
	if len(s.models) == 0 {
		return Model{}, abi.Errorf(abi.NoModel, "ask a model: none is configured on this host").
			WithHint(`put [model.NAME] with file, digest and profile into models.toml and [profile.NAME] into runtimes.toml of the state directory, and restart`)
	}
	if m, ok := s.models[name]; ok {
		return m, nil
	}
	for _, m := range s.models {
		if name == "" && (m.Default || len(s.models) == 1) {
			return m, nil
		}
	}
	if name == "" {
		return Model{}, abi.Errorf(abi.NoModel, "ask a model: there are %d and none is the default", len(s.models)).WithHint("name one, or set default = true in models.toml")
	}
	return Model{}, abi.Errorf(abi.NotFound, "ask model %.100q: there is none of that name", name)
}

// Lend gives a model that is ready, by name or the default for "". Errors: NoModel, NotFound, DigestMismatch, Corrupt, those of
// the supervisor.
func (s *Service) Lend(ctx context.Context, name string) (*supervise.Loan, Model, error) {
	m, err := s.find(name)
	if err != nil {
		return nil, m, err
	}
	size, err := s.prove(ctx, m)
	if err != nil {
		return nil, m, err
	}
	loan, err := s.runtimes.Lend(ctx, supervise.Want{Digest: m.Digest, File: m.File, Size: size, Profile: s.profiles[m.Profile]})
	return loan, m, err
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
	if s.profiles[m.Profile].Runtime == "llama" {
		if _, err := gguf.Read(f, info.Size()); err != nil {
			return 0, err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return 0, abi.Errorf(abi.Unavailable, "load model %q: %w", m.Name, err)
		}
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

// Ask is the input of an action: what the kind needs, and which model.
type Ask struct {
	Model string `json:"model,omitempty"`
	infer.Request
	Texts     []string `json:"texts,omitempty"`
	Query     string   `json:"query,omitempty"`
	Documents []string `json:"documents,omitempty"`
}

// Check reads an input and says what is wrong with it, without a model.
func Check(kind string, input []byte) (*Ask, error) {
	var a Ask
	dec := json.NewDecoder(bytes.NewReader(input))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&a); err != nil {
		return nil, abi.Errorf(abi.Invalid, "%s: %v", kind, err)
	}
	if kind == Generate {
		return &a, a.Request.Check()
	}
	return &a, nil
}

// Run answers an action. scope keeps prompt caches apart; parts of a generated text go to out as they come, when it is not nil.
// The result is JSON. Errors as for Lend and of package infer.
func (s *Service) Run(ctx context.Context, kind, scope string, input []byte, out func(text string) error) ([]byte, error) {
	a, err := Check(kind, input)
	if err != nil {
		return nil, err
	}
	if kind == Models {
		return json.Marshal(map[string]any{"models": s.List()})
	}
	loan, m, err := s.Lend(ctx, a.Model)
	if err != nil {
		return nil, err
	}
	defer loan.Release()
	result, err := answer(ctx, loan.Model, kind, scope, a, out)
	if err != nil {
		return nil, err
	}
	switch r := result.(type) {
	case *infer.Answer:
		r.Model = m.Name
	case *infer.Vectors:
		r.Model = m.Name
	case *infer.Scores:
		r.Model = m.Name
	}
	return json.Marshal(result)
}

func answer(ctx context.Context, m infer.Model, kind, scope string, a *Ask, out func(string) error) (any, error) {
	switch kind {
	case Generate:
		a.Scope = scope
		var failed error
		got, err := infer.Collect(m.Info().Engine, func(yield func(infer.Part, error) bool) {
			for p, err := range infer.Generate(ctx, m, &a.Request) {
				if out != nil && err == nil && p.Text != "" {
					if failed = out(p.Text); failed != nil {
						return
					}
				}
				if !yield(p, err) {
					return
				}
			}
		})
		return &got, errors.Join(failed, err)
	case Embed:
		v, err := infer.Embed(ctx, m, a.Texts)
		return &v, err
	case Rerank:
		v, err := infer.Rerank(ctx, m, a.Query, a.Documents)
		return &v, err
	case Tokenize:
		tokens, err := infer.Tokenize(ctx, m, a.Prompt)
		return map[string]any{"tokens": tokens, "count": len(tokens)}, err
	}
	return nil, abi.Errorf(abi.NotFound, "%q is no kind of inference", kind)
}
