package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

// Bounds of one call: past them it writes what it has and answers done: false, and the caller calls again.
const (
	maxCallBytes = 3 << 20
	maxCallFiles = 600
	maxBatch     = 2 << 20 // of pending writes, before they are written
	maxFile      = 2 << 20 // larger files are passed over
	pageFiles    = 250
)

// IngestIn asks for a folder.
type IngestIn struct {
	Dir     string   `json:"dir"`
	Include []string `json:"include,omitempty"` // patterns of file names; none means every kind that can be read
	Exclude []string `json:"exclude,omitempty"`
	Project string   `json:"project,omitempty"`
}

// IngestOut is what the run did so far, over all its calls.
type IngestOut struct {
	Files    int   `json:"files"`   // that are of a kind that is read
	Skipped  int   `json:"skipped"` // of them, unchanged
	Added    int   `json:"added"`
	Changed  int   `json:"changed"`
	Removed  int   `json:"removed"`
	Passages int   `json:"passages"` // of the folder, now
	Bytes    int64 `json:"bytes"`    // of the folder's files
	Passed   int   `json:"passed"`   // files passed over: too large, not text, or not readable
	Done     bool  `json:"done"`     // false: call again with the same input
}

// run is an ingest that is under way.
type run struct {
	Cursor string    `json:"cursor"` // last path that is done
	Out    IngestOut `json:"out"`
}

// ingester does the work of one call.
type ingester struct {
	*index
	c       *guest.Call
	in      IngestIn
	run     run
	batch   guest.Batch
	terms   map[string][]posting // of the passages in batch
	pending int                  // bytes in terms
	bytes   int64                // read in this call
	files   int                  // read in this call
}

func ingest(c *guest.Call, in IngestIn) (IngestOut, error) {
	in.Dir = path.Clean(in.Dir)
	x, err := openIndex(c, in.Project)
	if err != nil {
		return IngestOut{}, err
	}
	g := &ingester{index: x, c: c, in: in, terms: map[string][]posting{}}
	if err := g.get(g.runKey(), &g.run); err != nil && abi.CodeOf(err) != abi.NotFound {
		return IngestOut{}, err
	}
	ended, err := g.walk()
	if err != nil {
		return IngestOut{}, err
	}
	if ended {
		if ended, err = g.merge(); err != nil {
			return IngestOut{}, err
		}
	}
	if !ended {
		return g.run.Out, nil
	}
	return g.finish()
}

func (g *ingester) runKey() string { return "run/" + g.in.Dir }

// walk goes through the folder and the records of its files in the same order, side by side: what is only in the folder
// is new, what is only in the records is gone. It reports whether it reached the end.
func (g *ingester) walk() (ended bool, err error) {
	for {
		req := abi.FSList{Path: g.in.Dir, Recursive: true, After: g.run.Cursor, Limit: pageFiles}
		entries, more, err := g.c.FS().List(req)
		if err != nil {
			return false, err
		}
		end := ""
		if more {
			end = entries[len(entries)-1].Path
		}
		gone, err := g.records(end)
		if err != nil {
			return false, err
		}
		for _, e := range entries {
			for len(gone) > 0 && gone[0] < e.Path {
				if err := g.remove(gone[0]); err != nil {
					return false, err
				}
				gone = gone[1:]
			}
			if len(gone) > 0 && gone[0] == e.Path && g.wanted(e) {
				gone = gone[1:]
			}
			if err := g.file(e); err != nil {
				return false, err
			}
			if g.bytes >= maxCallBytes || g.files >= maxCallFiles {
				return false, g.flush()
			}
		}
		for _, p := range gone {
			if err := g.remove(p); err != nil {
				return false, err
			}
		}
		if !more {
			return true, g.flush()
		}
		g.run.Cursor = end
	}
}

// records lists the paths of known files behind the cursor, up to end ("" for all).
func (g *ingester) records(end string) ([]string, error) {
	prefix := g.prefix + "f/" + strings.TrimSuffix(g.in.Dir, "/") + "/"
	after := ""
	if g.run.Cursor != "" {
		after = g.prefix + "f/" + g.run.Cursor
	}
	var paths []string
	for {
		keys, more, err := g.kv.List(prefix, after, 1000)
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			p := strings.TrimPrefix(k.Name, g.prefix+"f/")
			if end != "" && p > end {
				return paths, nil
			}
			paths = append(paths, p)
		}
		if !more {
			return paths, nil
		}
		after = keys[len(keys)-1].Name
	}
}

// splitters are the kinds of files that are read.
var splitters = map[string]func(string) []passage{
	".txt": splitText, ".md": splitMarkdown, ".markdown": splitMarkdown, ".html": splitHTML, ".htm": splitHTML, ".go": splitGo,
}

// wanted reports whether an entry is a file to be read.
func (g *ingester) wanted(e abi.FSEntry) bool {
	name := path.Base(e.Path)
	if e.Mode != "file" || splitters[strings.ToLower(path.Ext(name))] == nil || len(e.Path) > 900 {
		return false
	}
	return (len(g.in.Include) == 0 || matches(g.in.Include, name)) && !matches(g.in.Exclude, name)
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}

// file brings the index up to date with one entry.
func (g *ingester) file(e abi.FSEntry) error {
	if !g.wanted(e) {
		g.run.Cursor = e.Path
		return nil
	}
	var old record
	err := g.get("f/"+e.Path, &old)
	known := err == nil
	if err != nil && abi.CodeOf(err) != abi.NotFound {
		return err
	}
	if known && old.Size == e.Size && old.MTime == e.MTimeMS {
		g.keep(e, old)
		return nil
	}
	text, sha, err := g.read(e)
	if err != nil {
		return err
	}
	if text == "" && e.Size > 0 {
		g.run.Out.Passed++
		g.run.Cursor = e.Path
		if known {
			return g.remove(e.Path)
		}
		return nil
	}
	if known && old.SHA == sha {
		old.Size, old.MTime = e.Size, e.MTimeMS
		g.keep(e, old)
		return g.put(&g.batch, "f/"+e.Path, old)
	}
	if known {
		g.bury(&g.batch, old)
		g.run.Out.Changed++
	} else {
		g.run.Out.Added++
	}
	return g.add(e, text, sha)
}

// keep counts an unchanged file.
func (g *ingester) keep(e abi.FSEntry, r record) {
	g.run.Out.Files++
	g.run.Out.Skipped++
	g.run.Out.Passages += int(r.N)
	g.run.Out.Bytes += e.Size
	g.run.Cursor = e.Path
}

// read gives a file's text and digest; "" for what is no text. A file that vanished or may not be read is passed over:
// one bad file must not end the run. A refusal of the lease itself ends it.
func (g *ingester) read(e abi.FSEntry) (text, sha string, err error) {
	if e.Size > maxFile {
		return "", "", nil
	}
	raw, err := g.c.FS().ReadFile(e.Path)
	switch abi.CodeOf(err) {
	case abi.OK:
	case abi.NotFound, abi.Invalid:
		return "", "", nil
	default:
		return "", "", err
	}
	g.bytes += int64(len(raw))
	g.files++
	if !utf8.Valid(raw) || strings.IndexByte(string(raw[:min(len(raw), 4096)]), 0) >= 0 {
		return "", "", nil
	}
	sum := sha256.Sum256(raw)
	return string(raw), hex.EncodeToString(sum[:]), nil
}

// add splits a text and adds its passages and their terms to the batch.
func (g *ingester) add(e abi.FSEntry, text, sha string) error {
	r := record{Size: e.Size, MTime: e.MTimeMS, SHA: sha, First: g.meta.Next}
	for _, p := range splitters[strings.ToLower(path.Ext(e.Path))](text) {
		id := g.meta.Next
		g.meta.Next++
		r.N++
		r.Tokens += g.count(id, p)
		g.batch.Put(g.passageKey(id), appendPassage(nil, stored{p, e.Path}))
	}
	g.meta.Docs += int(r.N)
	g.meta.Tokens += r.Tokens
	g.run.Out.Files++
	g.run.Out.Passages += int(r.N)
	g.run.Out.Bytes += e.Size
	g.run.Cursor = e.Path
	if err := g.put(&g.batch, "f/"+e.Path, r); err != nil {
		return err
	}
	if g.batch.Size()+g.pending > maxBatch {
		return g.flush()
	}
	return nil
}

// count adds a passage's terms to those of the batch and gives its length. A heading counts like the text.
func (g *ingester) count(id uint32, p passage) (length int) {
	counts := map[string]int{}
	for _, text := range []string{p.heading, p.text} {
		tokens(text, func(_, _ int, t string) {
			counts[t]++
			length++
		})
	}
	for t, n := range counts {
		if g.terms[t] == nil {
			g.pending += len(t) + 40
		}
		g.terms[t] = append(g.terms[t], posting{id, n, length})
		g.pending += 6
	}
	return length
}

// remove takes a vanished file out.
func (g *ingester) remove(p string) error {
	var r record
	if err := g.get("f/"+p, &r); err != nil {
		return err
	}
	g.bury(&g.batch, r)
	g.batch.Delete(g.prefix + "f/" + p)
	g.run.Out.Removed++
	if g.batch.Size()+g.pending > maxBatch {
		return g.flush()
	}
	return nil
}

// flush writes everything pending as one whole, with how far the run got.
func (g *ingester) flush() error {
	chunk := "/" + hex8(g.meta.Chunk)
	for t, list := range g.terms {
		g.batch.Put(g.prefix+"s/"+t+chunk, appendPostings(nil, list))
	}
	if len(g.terms) > 0 {
		g.meta.Chunk++
		g.meta.Loose++
	}
	if err := g.put(&g.batch, "meta", g.meta); err != nil {
		return err
	}
	if err := g.put(&g.batch, g.runKey(), g.run); err != nil {
		return err
	}
	if err := g.kv.Apply(&g.batch); err != nil {
		return err
	}
	clear(g.terms)
	g.pending = 0
	return nil
}

// finish closes the run: the folder's entry, the read model, the event.
func (g *ingester) finish() (IngestOut, error) {
	out := g.run.Out
	out.Done = true
	now, err := g.c.Now()
	if err != nil {
		return out, err
	}
	g.meta.Corpora[g.in.Dir] = corpus{Files: out.Files, Passages: out.Passages, Bytes: out.Bytes, Time: now}
	g.batch.Delete(g.prefix + g.runKey())
	if err := g.put(&g.batch, "meta", g.meta); err != nil {
		return out, err
	}
	if err := g.kv.Apply(&g.batch); err != nil {
		return out, err
	}
	if err := g.publish(g.c, g.in.Project); err != nil {
		return out, err
	}
	return out, g.c.Emit("research.ingested", map[string]any{
		"dir": g.in.Dir, "files": out.Files, "added": out.Added, "changed": out.Changed, "removed": out.Removed, "passages": out.Passages,
	})
}

// publish shows the project's folders in the read model.
func (x *index) publish(c *guest.Call, project string) error {
	all := map[string]map[string]corpus{}
	if err := c.State().Get("research.corpora", &all); err != nil && abi.CodeOf(err) != abi.NotFound {
		return err
	}
	if project == "" {
		project = "default"
	}
	all[project] = x.meta.Corpora
	raw, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return c.State().Put("research.corpora", json.RawMessage(raw))
}
