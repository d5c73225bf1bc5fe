package backup_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/backup"
	"github.com/arw-project/arw/host/internal/cas"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
)

// live is a state directory that is in use.
type live struct {
	dir   string
	jrn   *journal.Journal
	store *cas.Store
}

func state(t *testing.T) *live {
	t.Helper()
	l := &live{dir: filepath.Join(t.TempDir(), "state")}
	if err := os.MkdirAll(filepath.Join(l.dir, "policy"), 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := db.Open(t.Context(), filepath.Join(l.dir, "arw.db"), []db.Migration{{Owner: "journal", Steps: journal.Schema}})
	if err == nil {
		t.Cleanup(func() { _ = d.Close() })
		l.jrn, err = journal.Open(t.Context(), d)
	}
	if err == nil {
		l.store, err = cas.Open(filepath.Join(l.dir, "cas"))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.store.Close() })
	for name, text := range map[string]string{"policy/a.cedar": "// mine\n", "vault.key": "sealed", "address": "http://x", "starts.json": "{}", ".starts-1": "x"} {
		if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l.note(t, "one")
	return l
}

// note appends an event and a blob.
func (l *live) note(t *testing.T, text string) string {
	t.Helper()
	digest, err := l.store.PutBytes(t.Context(), []byte(text))
	if err == nil {
		_, err = l.jrn.Append(t.Context(), journal.Event{Kind: "test.note", Body: map[string]string{"digest": digest}})
	}
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func create(t *testing.T, l *live) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "b.tar")
	if _, err := backup.Create(t.Context(), l.dir, out, "test"); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRoundTripWhileInUse(t *testing.T) {
	t.Parallel()
	l := state(t)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { // somebody goes on writing all the while
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				digest, err := l.store.PutBytes(t.Context(), bytes.Repeat([]byte{byte(i)}, 1000+i))
				if err == nil {
					_, err = l.jrn.Append(t.Context(), journal.Event{Kind: "test.note", Body: map[string]string{"digest": digest}})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	out := filepath.Join(t.TempDir(), "b.tar")
	_, err := backup.Create(t.Context(), l.dir, out, "test")
	close(stop)
	<-done
	if err != nil {
		t.Fatal(err)
	}
	man, err := backup.Verify(t.Context(), out)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(out)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the backup's mode is %v (%v)", st.Mode(), err)
	}
	dir := filepath.Join(t.TempDir(), "new", "state")
	if _, err := backup.Restore(t.Context(), out, dir); err != nil {
		t.Fatal(err)
	}
	keys, err := journal.KeysIn(dir)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := journal.VerifyFile(t.Context(), filepath.Join(dir, "arw.db"), keys)
	if err != nil || rep != man.Journal || rep.Last < 1 {
		t.Errorf("the journal is %+v, of the manifest %+v (%v)", rep, man.Journal, err)
	}
	for name, want := range map[string]string{"policy/a.cedar": "// mine\n", "vault.key": "sealed"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != want {
			t.Errorf("%s is %q (%v)", name, got, err)
		}
	}
	for _, name := range []string{"address", "starts.json", ".starts-1", "lock"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was restored (%v)", name, err)
		}
	}
	everyBlobIsThere(t, dir)
}

// everyBlobIsThere looks for the blob of every event.
func everyBlobIsThere(t *testing.T, dir string) {
	t.Helper()
	d, err := db.Open(t.Context(), filepath.Join(dir, "arw.db"), []db.Migration{{Owner: "journal", Steps: journal.Schema}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	j, err := journal.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	store, err := cas.Open(filepath.Join(dir, "cas"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	recs, err := j.Read(t.Context(), 0, 10_000, journal.Filter{Prefixes: []string{"test."}})
	if err != nil || len(recs) == 0 {
		t.Fatal(err, len(recs))
	}
	for _, r := range recs {
		digest := strings.Split(string(r.Body), `"`)[3]
		if _, err := store.Get(digest); err != nil {
			t.Errorf("event %d: %v", r.ID, err)
		}
	}
}

func TestDamagedAndForeignArchivesAreRefused(t *testing.T) {
	t.Parallel()
	l := state(t)
	good, err := os.ReadFile(create(t, l))
	if err != nil {
		t.Fatal(err)
	}
	at := func(text string) int { return bytes.Index(good, []byte(text)) }
	cases := []struct {
		name string
		data []byte
		want abi.Code
	}{
		{"empty", nil, abi.Incompatible},
		{"text", []byte("hello"), abi.Incompatible},
		{"another tar", archive(t, "a", "b"), abi.Incompatible},
		{"a later format", archive(t, "arw-backup.json", `{"format":"arw-backup","schema":2}`), abi.Incompatible},
		{"a head alone", archive(t, "arw-backup.json", `{"format":"arw-backup","schema":1}`), abi.Corrupt},
		{"a way out", archive(t, "arw-backup.json", `{"format":"arw-backup","schema":1}`, "../x", "y"), abi.Corrupt},
		{"a flipped bit in a file", flipped(good, at("// mine")), abi.Corrupt},
		{"a flipped bit in a blob", flipped(good, at("one\x00")), abi.Corrupt},
		{"a flipped bit in the database", flipped(good, at("SQLite format 3")+5000), abi.Corrupt},
		{"something that the manifest does not know", archive(t, "arw-backup.json", `{"format":"arw-backup","schema":1}`, "x", "y", "manifest.json", `{"format":"arw-backup","schema":1}`), abi.Corrupt},
		{"something behind it", archive(t, "arw-backup.json", `{"format":"arw-backup","schema":1}`, "manifest.json", `{"format":"arw-backup","schema":1}`, "x", "y"), abi.Corrupt},
	}
	for cut := 1; cut < 8; cut++ {
		cases = append(cases, struct {
			name string
			data []byte
			want abi.Code
		}{"cut off", good[:len(good)*cut/8], abi.Corrupt})
	}
	for _, c := range cases {
		file, dir := filepath.Join(t.TempDir(), "x.tar"), filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(file, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, verify := backup.Verify(t.Context(), file)
		_, restore := backup.Restore(t.Context(), file, dir)
		if abi.CodeOf(verify) != c.want || abi.CodeOf(restore) != c.want {
			t.Errorf("%s: verify %v, restore %v, want %s", c.name, verify, restore, c.want)
		}
		if left, _ := os.ReadDir(filepath.Dir(dir)); len(left) != 0 {
			t.Errorf("%s: it left %v", c.name, left)
		}
	}
}

func flipped(data []byte, at int) []byte {
	out := bytes.Clone(data)
	out[at] ^= 1
	return out
}

// archive makes a tar of names and texts.
func archive(t *testing.T, pairs ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i := 0; i < len(pairs); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: pairs[i], Mode: 0o600, Size: int64(len(pairs[i+1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, pairs[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestNothingThatLivesIsOverwritten(t *testing.T) {
	t.Parallel()
	l := state(t)
	out := create(t, l)
	if _, err := backup.Restore(t.Context(), out, l.dir); abi.CodeOf(err) != abi.Conflict {
		t.Errorf("onto a live state: %v", err)
	}
	if _, err := backup.Create(t.Context(), l.dir, out, "test"); abi.CodeOf(err) != abi.Conflict {
		t.Errorf("onto a backup: %v", err)
	}
	if _, err := backup.Create(t.Context(), t.TempDir(), filepath.Join(t.TempDir(), "b.tar"), "test"); abi.CodeOf(err) != abi.NotFound {
		t.Errorf("of no state: %v", err)
	}
	there := t.TempDir() // it is there, and empty
	if _, err := backup.Restore(t.Context(), out, there); err != nil {
		t.Error(err)
	}
	own := filepath.Join(l.dir, "b.tar") // a backup into the state itself
	if _, err := backup.Create(t.Context(), l.dir, own, "test"); err != nil {
		t.Fatal(err)
	}
	if m, err := backup.Verify(t.Context(), own); err != nil || strings.Contains(names(m), "b.tar.part") {
		t.Errorf("it holds itself: %s (%v)", names(m), err)
	}
}

func names(m *backup.Manifest) string {
	var all []string
	for _, f := range m.Files {
		all = append(all, f.Path)
	}
	return strings.Join(all, " ")
}

// A backup of what has rotted would hide it.
func TestARottenBlobIsNotBackedUp(t *testing.T) {
	t.Parallel()
	l := state(t)
	digest := l.note(t, "sound")
	path := filepath.Join(l.dir, "cas", "sha256", digest[7:9], digest[7:])
	if err := os.WriteFile(path, []byte("Sound"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "b.tar")
	if _, err := backup.Create(t.Context(), l.dir, out, "test"); abi.CodeOf(err) != abi.Corrupt || !strings.Contains(err.Error(), digest) {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(out)); len(left) != 0 {
		t.Errorf("it left %v", left)
	}
}

// A backup that is killed in the middle is not there; the next one is, and the state is what it was.
func TestKillInMidBackup(t *testing.T) {
	if dir := os.Getenv("ARW_TEST_BACKUP"); dir != "" {
		_, _ = backup.Create(t.Context(), dir, os.Getenv("ARW_TEST_BACKUP_OUT"), "test")
		return
	}
	t.Parallel()
	l := state(t)
	for i := range 40 { // long enough to be met in the middle
		if _, err := l.store.PutBytes(t.Context(), bytes.Repeat([]byte{byte(i), 1, 2}, 1<<19)); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "b.tar")
	killed := 0
	for round := range 4 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKillInMidBackup$")
		cmd.Env = append(os.Environ(), "ARW_TEST_BACKUP="+l.dir, "ARW_TEST_BACKUP_OUT="+out)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		past := int64(round+1) << 23
		for end := time.Now().Add(time.Minute); ; {
			st, err := os.Stat(out + ".part")
			if err == nil && st.Size() > past || exists(out) || time.Now().After(end) {
				break
			}
		}
		_ = cmd.Process.Kill()
		if cmd.Wait() != nil {
			killed++
		}
		if exists(out) {
			if _, err := backup.Verify(t.Context(), out); err != nil {
				t.Errorf("a backup that is there is not whole: %v", err)
			}
			if err := os.Remove(out); err != nil {
				t.Fatal(err)
			}
		}
	}
	if killed == 0 {
		t.Error("no backup was met in the middle")
	}
	if _, err := backup.Create(t.Context(), l.dir, out, "test"); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(out)); len(left) != 1 {
		t.Errorf("beside the backup there is %v", left)
	}
	if _, err := l.jrn.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := backup.Restore(t.Context(), out, filepath.Join(t.TempDir(), "state")); err != nil {
		t.Error(err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func FuzzVerify(f *testing.F) {
	f.Add([]byte("x"))
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	_ = w.WriteHeader(&tar.Header{Name: "arw-backup.json", Mode: 0o600, Size: 34})
	_, _ = io.WriteString(w, `{"format":"arw-backup","schema":1}`)
	_ = w.Close()
	f.Add(out.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(t.TempDir(), "x.tar")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := backup.Verify(t.Context(), file); err != nil && abi.CodeOf(err) != abi.Corrupt && abi.CodeOf(err) != abi.Incompatible {
			t.Errorf("%v", err)
		}
	})
}
