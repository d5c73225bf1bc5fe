package journal_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
)

// exportOf is an export of a pruned and redacted journal, with its keys.
func exportOf(t *testing.T) (string, journal.Keys) {
	t.Helper()
	dir, j := stretches(t, 5)
	if _, err := j.Append(t.Context(), journal.Event{Kind: "acme.note", Body: map[string]any{"note": "<hunter2!>", "n": 1}}); err != nil {
		t.Fatal(err)
	}
	if _, err := j.RedactPath(t.Context(), journal.Author{}, 51, "/note"); err != nil {
		t.Fatal(err)
	}
	sign(t, j)
	if _, err := j.Prune(t.Context(), journal.Retention{Count: 35}, j.Last()); err != nil {
		t.Fatal(err)
	}
	f, err := journal.OpenFile(t.Context(), filepath.Join(dir, "arw.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out bytes.Buffer
	rep, err := f.Export(t.Context(), &out)
	if err != nil || rep.Pruned == 0 || rep.Redacted != 1 || rep.Last != j.Last() {
		t.Fatalf("%+v, %v", rep, err)
	}
	return out.String(), keysOf(t, dir)
}

func TestAnExportVerifies(t *testing.T) {
	t.Parallel()
	text, keys := exportOf(t)
	rep, err := journal.VerifyExport(t.Context(), "x", strings.NewReader(text), keys)
	if err != nil || !rep.OK || rep.Pruned != 10 || rep.Redacted != 1 || rep.Signed != 52 || rep.Checkpoints != 6 || rep.Last != 53 {
		t.Errorf("%+v, %v", rep, err)
	}
	_, err = journal.VerifyExport(t.Context(), "x", strings.NewReader(text), nil)
	wantCode(t, err, abi.NotFound, "no key")
}

func TestAnExportThatWasChangedIsNamed(t *testing.T) {
	t.Parallel()
	text, keys := exportOf(t)
	lines := strings.SplitAfter(text, "\n")
	without := func(part string) string {
		var out []string
		for _, l := range lines {
			if !strings.Contains(l, part) {
				out = append(out, l)
			}
		}
		return strings.Join(out, "")
	}
	for name, c := range map[string]struct {
		text string
		code abi.Code
		says string
	}{
		"event changed":      {strings.Replace(text, `"id":20,`, `"id":20,"actor":"eve",`, 1), abi.Corrupt, "event 20"},
		"event taken out":    {without(`"event":{"id":20,`), abi.Corrupt, "event 20"},
		"end cut":            {strings.Join(lines[:len(lines)-3], ""), abi.Corrupt, "breaks off"},
		"end moved":          {without(`"event":{"id":53,`), abi.Corrupt, "event 53"},
		"anchor taken out":   {strings.Replace(text, lines[0], `{"begin":{"journal":1}}`+"\n", 1), abi.Corrupt, "checkpoint 2"},
		"points taken out":   {without(`{"checkpoint"`), abi.Corrupt, "beginning"},
		"point taken out":    {without(`{"checkpoint":{"seq":4`), abi.Corrupt, "checkpoint 5"},
		"redaction undone":   {strings.Replace(text, "[redacted]", "hunter", 1), abi.Corrupt, "event 51"},
		"not JSON":           {lines[0] + "{\n", abi.Invalid, "line 2"},
		"another version":    {`{"begin":{"journal":2}}`, abi.Invalid, "version 1"},
		"a field nobody has": {lines[0] + `{"extra":1}`, abi.Invalid, "line 2"},
		"nothing":            {"", abi.Corrupt, "breaks off"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := journal.VerifyExport(t.Context(), "x", strings.NewReader(c.text), keys)
			wantCode(t, err, c.code, c.says)
		})
	}
}

func FuzzVerifyExport(f *testing.F) {
	f.Add([]byte("{\"begin\":{\"journal\":1}}\n{\"event\":{\"id\":1,\"time\":\"2026-01-01T00:00:00.000Z\",\"kind\":\"a\",\"body\":{},\"salt\":\"00\",\"prev\":\"\",\"hash\":\"\"}}\n"))
	f.Add([]byte("{\"begin\":{\"journal\":1,\"anchor\":{\"seq\":1}}}\n"))
	f.Add([]byte("{\"begin\":{\"journal\":1}}\n{\"end\":{\"id\":0,\"hash\":\"sha256:0000000000000000000000000000000000000000000000000000000000000000\"}}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		rep, err := journal.VerifyExport(t.Context(), "x", bytes.NewReader(text), nil)
		if (err == nil) != rep.OK || rep.OK && rep.Count > 0 && rep.Head == "" {
			t.Errorf("%+v, %v", rep, err)
		}
	})
}
