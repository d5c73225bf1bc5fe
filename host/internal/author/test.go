package author

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/rehearse"
	"github.com/arw-project/arw/host/internal/wasm"
)

// TestsDir is the folder of a pack's cases.
const TestsDir = "tests"

// TestOptions say which cases are run and how; the zero value runs all.
type TestOptions struct {
	Run      *regexp.Regexp // names to run; nil is all
	Update   bool           // write what came into the files of cases, where it differs
	CacheDir string         // of compiled code; empty keeps none
}

// Tested is what came of a run.
type Tested struct {
	Results []rehearse.Result `json:"results"`
	Passed  int               `json:"passed"`
	Failed  int               `json:"failed"`
	Skipped int               `json:"skipped"`
	// Interpreted: the cases were played on the interpreter, not on the compiler.
	Interpreted bool     `json:"interpreted,omitempty"`
	Updated     []string `json:"updated,omitempty"` // files of cases that were rewritten
}

// Test loads the built module on the real engine and plays the examples of pack.toml and the cases in tests/, each in a
// world of its own and under the tools' own limits. The error is of loading and of reading the cases; a case that fails
// is in the results. The language of the pack does not matter: the module is all that is needed.
func (f *Folder) Test(ctx context.Context, o TestOptions) (*Tested, error) {
	engine, err := wasm.Open(wasm.Options{CacheDir: o.CacheDir})
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	t, done, err := f.play(ctx, engine, o, false)
	if err == nil {
		done()
	}
	return t, err
}

// TestSoon plays as Test does, on the interpreter: ready soon after every build, same answers, same gas, slower by tens.
// When a case fails, all are played again on the compiler, so that no verdict comes of being slow. Until done is called the
// engine has what an install on it can go on with; done is never nil.
func (f *Folder) TestSoon(ctx context.Context, engine *wasm.Engine) (t *Tested, done func(), err error) {
	t, done, err = f.play(ctx, engine, TestOptions{}, true)
	if err != nil {
		return nil, func() {}, err
	}
	if t.Interpreted = t.Failed == 0; t.Interpreted {
		return t, done, nil
	}
	done()
	if t, done, err = f.play(ctx, engine, TestOptions{}, false); err != nil {
		return nil, func() {}, err
	}
	return t, done, nil
}

// play loads the module on the engine and plays what o keeps; done ends the program, and is nil after an error.
func (f *Folder) play(ctx context.Context, engine *wasm.Engine, o TestOptions, interpret bool) (t *Tested, done func(), err error) {
	module, err := f.Module()
	if err != nil {
		return nil, nil, err
	}
	cases, err := f.cases()
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(module)
	stage, err := rehearse.Load(ctx, engine, f.Manifest, "sha256:"+hex.EncodeToString(sum[:]), module, interpret)
	if err != nil {
		return nil, nil, err
	}
	done = func() { _ = stage.Close(context.WithoutCancel(ctx)) } // no call runs: nothing in it can fail
	defer func() {
		if err != nil {
			done()
		}
	}()
	keep := func(name string) bool { return o.Run == nil || o.Run.MatchString(name) }
	t = &Tested{Results: stage.Examples(ctx, keep)}
	for _, c := range cases {
		if !keep(c.Name) {
			continue
		}
		before := c.Text()
		t.Results = append(t.Results, stage.Play(ctx, c.Case, o.Update)...)
		if after := c.Text(); o.Update && !bytes.Equal(before, after) {
			if err := os.WriteFile(c.path, after, 0o644); err != nil {
				return nil, nil, abi.Errorf(abi.StorageFull, "update cases %q: %w", c.path, err)
			}
			t.Updated = append(t.Updated, c.path)
		}
		if err := ctx.Err(); err != nil {
			return nil, nil, abi.Errorf(abi.CodeOf(err), "test pack %q: %w", f.Manifest.Name, err)
		}
	}
	t.count()
	return t, done, nil
}

func (t *Tested) count() {
	for _, r := range t.Results {
		switch {
		case r.Skipped != "":
			t.Skipped++
		case r.OK:
			t.Passed++
		default:
			t.Failed++
		}
	}
}

// caseFile is a case and where it is.
type caseFile struct {
	*rehearse.Case
	path string
}

// cases reads tests/*.txtar by name; a pack without that folder has none.
func (f *Folder) cases() ([]caseFile, error) {
	paths, err := filepath.Glob(filepath.Join(f.Dir, TestsDir, "*.txtar"))
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "find the cases of %q: %w", f.Manifest.Name, err)
	}
	slices.Sort(paths)
	var cases []caseFile
	for _, p := range paths {
		src, err := os.ReadFile(p)
		if err != nil {
			return nil, abi.Errorf(abi.Unavailable, "read cases: %w", err)
		}
		c, err := rehearse.ParseCase(filepath.ToSlash(p), src, f.Manifest)
		if err != nil {
			return nil, err
		}
		cases = append(cases, caseFile{c, p})
	}
	return cases, nil
}
