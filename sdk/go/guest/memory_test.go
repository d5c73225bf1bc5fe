package guest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

func TestMemoryPagesKeys(t *testing.T) {
	t.Parallel()
	m := &guest.Memory{}
	c := m.Call()
	var b guest.Batch
	for i := range 2500 {
		b.Put(fmt.Sprintf("k/%05d", i), []byte("v"))
	}
	b.Put("other", nil)
	if err := c.KV().Apply(&b); err != nil {
		t.Fatal(err)
	}
	var names []string
	for key, err := range c.KV().All("k/") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, key.Name)
	}
	if len(names) != 2500 || !slices.IsSorted(names) || m.Calls["kv.list"] != 3 {
		t.Errorf("%d keys in %d calls", len(names), m.Calls["kv.list"])
	}
	m.Deny = func(function string) error {
		if m.Calls[function] > 4 {
			return abi.Errorf(abi.LeaseRevoked, "taken back")
		}
		return nil
	}
	var last error
	for _, last = range c.KV().All("") {
	}
	if abi.CodeOf(last) != abi.LeaseRevoked {
		t.Errorf("a list whose lease ends in the middle ends with %v", last)
	}
}

func TestMemoryGivesConfiguration(t *testing.T) {
	t.Parallel()
	m := &guest.Memory{Config: map[string]json.RawMessage{"recipes/retrieval": []byte(`{"k":9}`), "bad": []byte(`[1]`)}}
	got := struct {
		K     int `json:"k"`
		Other int `json:"other"`
	}{1, 2}
	if err := m.Call().Config("recipes/retrieval", &got); err != nil || got.K != 9 || got.Other != 2 {
		t.Errorf("the document is %+v, %v", got, err)
	}
	if err := m.Call().Config("absent", &got); abi.CodeOf(err) != abi.NotFound {
		t.Errorf("a document there is not: %v", err)
	}
	if err := m.Call().Config("bad", &got); abi.CodeOf(err) != abi.Invalid {
		t.Errorf("a document of another form: %v", err)
	}
}

func TestMemoryServesFolders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := &guest.Memory{Folders: []string{dir}}
	fs := m.Call().FS()
	big := strings.Repeat("0123456789", 5000)
	for name, text := range map[string]string{"a/one.txt": "1", "a-b.txt": "2", "a.txt": big, "z": ""} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := fs.Write(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	var paths []string
	for e, err := range fs.Walk(dir, "") {
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, e.Path[len(dir)+1:]+" "+e.Mode)
	}
	if want := []string{"a dir", "a-b.txt file", "a.txt file", "a/one.txt file", "z file"}; !slices.Equal(paths, want) {
		t.Errorf("walk = %v, want byte order: %v", paths, want)
	}
	if data, err := fs.ReadFile(filepath.Join(dir, "a.txt")); err != nil || string(data) != big {
		t.Errorf("read %d bytes, %v", len(data), err)
	}
	if data, err := io.ReadAll(fs.Open(filepath.Join(dir, "a.txt"))); err != nil || string(data) != big {
		t.Errorf("read %d bytes piece by piece, %v", len(data), err)
	}
	entries, more, err := fs.List(abi.FSList{Path: dir, After: filepath.Join(dir, "a"), Limit: 1})
	if err != nil || !more || len(entries) != 1 || filepath.Base(entries[0].Path) != "a-b.txt" {
		t.Errorf("list = %v, more %v, %v", entries, more, err)
	}
	if err := fs.Remove(filepath.Join(dir, "z")); err != nil {
		t.Error(err)
	}
	for path, code := range map[string]abi.Code{filepath.Join(dir, "z"): abi.NotFound, filepath.Dir(dir): abi.Denied, filepath.Join(dir, "..", "x"): abi.Denied} {
		if _, err := fs.Stat(path); abi.CodeOf(err) != code {
			t.Errorf("stat %s: %v, want %v", path, err, code)
		}
	}
}

type mood struct {
	Mood string    `json:"mood"`
	At   time.Time `json:"at,omitzero"`
}

func TestMemoryKeepsStateEventsAndAnswers(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	m := &guest.Memory{Clock: at, Tools: map[string]func([]byte) ([]byte, error){
		"a/b:ask": func(in []byte) ([]byte, error) { return in, nil },
		"a/b:no": func([]byte) ([]byte, error) {
			return nil, abi.Errorf(abi.Busy, "not now").WithDetail(map[string]int{"wait": 3})
		},
	}}
	c := m.Call()
	var got mood
	if err := c.State().Get("test.mood", &got); abi.CodeOf(err) != abi.NotFound {
		t.Errorf("a state never written: %v", err)
	}
	now, err := c.Now()
	if err != nil || !now.Equal(at) {
		t.Errorf("now = %v, %v", now, err)
	}
	if err := errors.Join(c.State().Put("test.mood", mood{"calm", now}), c.Emit("test.changed", &mood{Mood: "calm"}), c.State().Get("test.mood", &got)); err != nil || got != (mood{"calm", at}) {
		t.Errorf("%v, %v", got, err)
	}
	if len(m.Events) != 1 || string(m.Events[0].Body) != `{"mood":"calm"}` || string(m.States["test.mood"]) != `{"mood":"calm","at":"2026-11-24T00:00:00Z"}` {
		t.Errorf("events %s, states %s", m.Events, m.States)
	}
	got = mood{}
	if err := c.Action().Call("a/b:ask", mood{Mood: "asked"}, &got); err != nil || got.Mood != "asked" {
		t.Errorf("action: %v, %v", got, err)
	}
	err = c.Action().Call("a/b:no", mood{}, nil)
	if e, ok := errors.AsType[*abi.Error](err); !ok || e.Code != abi.Busy || fmt.Sprintf("%s", e.Detail) != `{"wait":3}` {
		t.Errorf("a refusal of another tool: %#v", err)
	}
	if err := c.Emit("test.changed", func() {}); abi.CodeOf(err) != abi.Invalid {
		t.Errorf("an event that is a function: %v", err)
	}
	reply, err := guest.Ask[reply](m, "test.greet", greeting{"Ada"})
	if err != nil || reply.Text != "hello Ada" {
		t.Errorf("ask: %v, %v", reply, err)
	}
}

func TestLoggerWritesOneLinePerRecord(t *testing.T) {
	t.Parallel()
	m := &guest.Memory{}
	log := m.Call().Logger().With("id", 7).WithGroup("req")
	log.Info("took", "path", "/a b", "empty", "", slog.Group("size", "bytes", 12), "quote", `"`)
	want := `took id=7 req.path="/a b" req.empty="" req.size.bytes=12 req.quote="\""`
	if len(m.Lines) != 1 || m.Lines[0] != want {
		t.Errorf("lines %q, want %q", m.Lines, want)
	}
}

func TestRegisteringWrongToolsPanics(t *testing.T) {
	t.Parallel()
	for name, register := range map[string]func(){
		"twice":        func() { guest.Bytes("test.echo", nil) },
		"no id":        func() { guest.Bytes("", nil) },
		"capital":      func() { guest.Bytes("Test", nil) },
		"a reserved":   func() { guest.Bytes("_describe", nil) },
		"no JSON form": func() { guest.Tool("test.bad", func(*guest.Call, chan int) (int, error) { return 0, nil }) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			register()
		})
	}
}
