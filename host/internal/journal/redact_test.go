package journal_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
)

const secret = "s3cr3t-<\"&>-value"

func TestARedactedJournalVerifiesAndForgets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, j := openSigned(t, dir)
	for _, body := range []string{
		`{"a":{"token":"` + `x"},"n":[1,{"deep":"y"}]}`,
		`{"text":"before ` + jsonText(t, secret) + ` after","big":"` + strings.Repeat("z", 9000) + `","last":"` + jsonText(t, secret) + `"}`,
		`{"` + jsonText(t, secret) + `":true}`,
		`{"clean":true}`,
	} {
		if _, err := j.Append(t.Context(), journal.Event{Kind: "acme.note", Body: json.RawMessage(body)}); err != nil {
			t.Fatal(err)
		}
	}
	sign(t, j)
	heard := make(chan journal.Record)
	go func() {
		for r := range j.Follow(t.Context(), 4, journal.Filter{}) {
			heard <- r
			return
		}
	}()
	done, err := j.RedactPath(t.Context(), journal.Author{Actor: "ann", Corr: "c", Reason: "slipped in"}, 1, "/n/1/deep")
	if err != nil || len(done.Records) != 1 || done.Records[0].Count != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	if r := <-heard; r.Kind != journal.RedactedKind || r.Actor != "ann" || r.Corr != "c" || !strings.Contains(string(r.Body), "slipped in") {
		t.Errorf("heard %+v", r)
	}
	all, err := j.RedactValue(t.Context(), journal.Author{}, secret)
	if err != nil || len(all) != 1 || len(all[0].Records) != 2 || all[0].Records[0].ID != 2 || all[0].Records[0].Count != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	// The second time there is nothing left to find, and the first record can be redacted again.
	if all, err := j.RedactValue(t.Context(), journal.Author{}, secret); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := j.RedactPath(t.Context(), journal.Author{}, 1, "/a"); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"a":"[redacted]","n":[1,{"deep":"[redacted]"}]}`,
		`{"text":"before [redacted] after","big":"` + strings.Repeat("z", 9000) + `","last":"[redacted]"}`,
		`{"[redacted]":true}`, `{"clean":true}`,
	}
	for i, r := range followed(t, j, 4) { // from memory
		if string(r.Body) != want[i] {
			t.Errorf("event %d is %.100s", r.ID, r.Body)
		}
	}
	rep, err := j.Verify(t.Context())
	if err != nil || rep.Redacted != 3 || rep.Count != 7 {
		t.Errorf("%+v, %v", rep, err)
	}
	if err := d.Fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"arw.db", "arw.db-wal"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, []byte("s3cr3t-")) {
			t.Errorf("the bytes of the secret are still in %s", name)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	_, j = openSigned(t, dir)
	for i, r := range followed(t, j, 4) { // from the table
		if string(r.Body) != want[i] {
			t.Errorf("event %d is %.100s", r.ID, r.Body)
		}
	}
}

func followed(t *testing.T, j *journal.Journal, n int) (all []journal.Record) {
	t.Helper()
	for r, err := range j.Follow(t.Context(), 0, journal.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, r); len(all) == n {
			break
		}
	}
	return all
}

func jsonText(t *testing.T, s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[1 : len(b)-1])
}

func TestARedactionThatNobodyTellsOfIsFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sql string
		bad int64
	}{
		"as it should be":       {"SELECT 1", 0},
		"another body":          {`UPDATE event SET body = '{"a":"other"}' WHERE id = 1`, 1},
		"one that was not told": {`INSERT INTO event_redacted SELECT 2, zeroblob(32); UPDATE event SET body = '{}' WHERE id = 2`, 2},
		"told, but not kept":    {`DELETE FROM event_redacted`, 1},
		"kept sum broken":       {`UPDATE event_redacted SET sum = x'00'`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			d, j := openSigned(t, dir)
			for range 2 {
				if _, err := j.Append(t.Context(), journal.Event{Kind: "a", Body: map[string]string{"a": "x"}}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := j.RedactPath(t.Context(), journal.Author{}, 1, "/a"); err != nil {
				t.Fatal(err)
			}
			sign(t, j)
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "arw.db")
			tamper(t, path, c.sql)
			rep, err := journal.VerifyFile(t.Context(), path, keysOf(t, dir))
			if rep.Bad != c.bad || (err == nil) != (c.bad == 0) {
				t.Errorf("bad %d (%s), want %d", rep.Bad, rep.Why, c.bad)
			}
		})
	}
}

func TestRedactionsThatAreRefused(t *testing.T) {
	t.Parallel()
	_, j := openSigned(t, t.TempDir())
	if _, err := j.Append(t.Context(), journal.Event{Kind: "a", Body: map[string]string{"a": "x"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := j.RedactPath(t.Context(), journal.Author{}, 1, "/a"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		id   int64
		path string
		code abi.Code
	}{
		"no such event":          {9, "/a", abi.NotFound},
		"no such place":          {1, "/b", abi.NotFound},
		"the whole body":         {1, "", abi.Invalid},
		"no pointer":             {1, "a", abi.Invalid},
		"a redaction of another": {2, "/records", abi.Conflict},
	} {
		if _, err := j.RedactPath(t.Context(), journal.Author{}, c.id, c.path); abi.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %v", name, err, c.code)
		}
	}
	if _, err := j.RedactValue(t.Context(), journal.Author{}, "short"); abi.CodeOf(err) != abi.Invalid {
		t.Error(err)
	}
	if j.Last() != 2 {
		t.Errorf("%d events, the refused ones left something", j.Last())
	}
}

// FuzzRewrite holds the rewriter of bodies to JSON: what hits nothing stays byte for byte, what hits is gone and leaves JSON.
func FuzzRewrite(f *testing.F) {
	for _, s := range []string{`{"a":"needle"}`, `{"needle":[1,{"x":"a needle b"}],"n":-1.5e3,"e":[],"o":{}}`, `{"a":"\"needle\\"}`, `{"a":[[],{},[[]],null,true]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var compact bytes.Buffer
		if json.Compact(&compact, in) != nil || compact.Len() == 0 || compact.Bytes()[0] != '{' {
			t.Skip()
		}
		if out, n := journal.Rewrite(compact.Bytes(), "no such needle, by all that is likely"); n != 0 || !bytes.Equal(out, compact.Bytes()) {
			t.Fatalf("%s became %s", compact.Bytes(), out)
		}
		out, _ := journal.Rewrite(compact.Bytes(), "needle")
		if !json.Valid(out) || bytes.Contains(out, []byte("needle")) {
			t.Fatalf("%s became %s", compact.Bytes(), out)
		}
	})
}
