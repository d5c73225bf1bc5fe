package journal_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
)

// openSigned opens a journal that signs, with the key of dir.
func openSigned(t testing.TB, dir string, options ...journal.Option) (*db.DB, *journal.Journal) {
	t.Helper()
	d, err := db.Open(context.Background(), filepath.Join(dir, "arw.db"), schema)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	key, err := journal.LoadKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(context.Background(), d, append(options, journal.Signed(key))...)
	if err != nil {
		t.Fatal(err)
	}
	return d, j
}

func keysOf(t testing.TB, dir string) journal.Keys {
	t.Helper()
	keys, err := journal.ReadKeys(filepath.Join(dir, journal.PublicFile))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func sign(t testing.TB, j *journal.Journal) journal.Checkpoint {
	t.Helper()
	c, err := j.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// signedDir is a stopped journal of 30 records with checkpoints 1 to 4 at 0, 10, 20 and 30.
func signedDir(t *testing.T) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	d, j := openSigned(t, dir)
	sign(t, j)
	for range 3 {
		addMany(t, j, 10)
		sign(t, j)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, filepath.Join(dir, "arw.db")
}

func TestTheKeyIsTheOwnersAndStays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := journal.LoadKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, journal.KeyFile)
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	again, err := journal.LoadKey(dir)
	if err != nil || !first.Equal(again) {
		t.Errorf("another key came the second time, %v", err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	_, err = journal.LoadKey(dir)
	wantCode(t, err, abi.Invalid, "others may read it")
	// A lost key makes a new one; what the old one signed still verifies.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err = journal.LoadKey(dir); err != nil {
		t.Fatal(err)
	}
	keys := keysOf(t, dir)
	if _, ok := keys[journal.IDOf(first.Public().(ed25519.PublicKey))]; len(keys) != 2 || !ok {
		t.Errorf("%d keys are known, the first among them: %v", len(keys), ok)
	}
	for _, text := range []string{"junk", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if _, err := journal.ParseKeys([]byte(text)); abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestACheckpointIsMadeOnceForAState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, j := openSigned(t, dir)
	if c := sign(t, j); c.Seq != 1 || c.ID != 0 {
		t.Errorf("the first checkpoint is %+v", c)
	}
	addMany(t, j, 3)
	a, b := sign(t, j), sign(t, j)
	if a.Seq != 2 || a.ID != 3 || b.Seq != 2 {
		t.Errorf("%+v, then %+v", a, b)
	}
	_, unsigned := open(t, t.TempDir())
	_, err := unsigned.Checkpoint(t.Context())
	wantCode(t, err, abi.Unsupported)
	rep, err := j.Verify(t.Context())
	if err != nil || rep.Checkpoints != 2 || rep.Signed != 3 || !rep.OK {
		t.Errorf("%+v, %v", rep, err)
	}
}

func TestCheckpointsFindWhatTheChainAloneCannot(t *testing.T) {
	t.Parallel()
	// Whoever may write to the file makes a whole new chain from record 11 on; without the key no checkpoint of it.
	rewrite := func(t *testing.T, path string) {
		other := t.TempDir()
		d, j := open(t, other)
		events := make([]journal.Event, 30)
		for i := range events {
			events[i].Kind = "forged.event"
		}
		if _, err := j.Append(t.Context(), events...); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		tamper(t, path, "ATTACH '"+filepath.Join(other, "arw.db")+"' AS o; DELETE FROM event; INSERT INTO event SELECT * FROM o.event; UPDATE event_head SET hash = (SELECT hash FROM o.event_head)")
	}
	for name, c := range map[string]struct {
		do         func(t *testing.T, path string)
		bad, point int64
	}{
		"nothing":             {func(*testing.T, string) {}, 0, 0},
		"all rewritten":       {rewrite, 1, 0},
		"end cut, head moved": {sqls("DELETE FROM event WHERE id > 25", "UPDATE event_head SET id = 25, hash = (SELECT hash FROM event WHERE id = 25)"), 26, 0},
		"signature":           {sqls("UPDATE event_checkpoint SET sig = zeroblob(64) WHERE seq = 3"), 0, 3},
		"moved in time":       {sqls("UPDATE event_checkpoint SET time_ms = time_ms + 1 WHERE seq = 2"), 0, 2},
		"taken out":           {sqls("DELETE FROM event_checkpoint WHERE seq = 2"), 0, 3},
		"first taken out":     {sqls("DELETE FROM event_checkpoint WHERE seq = 1"), 0, 2},
		"all taken out":       {sqls("DELETE FROM event_checkpoint"), 0, 1},
		"two exchanged":       {sqls("UPDATE event_checkpoint SET seq = 9 WHERE seq = 2", "UPDATE event_checkpoint SET seq = 2 WHERE seq = 3", "UPDATE event_checkpoint SET seq = 3 WHERE seq = 9"), 0, 2},
		"another key":         {sqls("UPDATE event_checkpoint SET key = zeroblob(32) WHERE seq = 4"), 0, 4},
		"forged anchor":       {sqls("DELETE FROM event WHERE id <= 10", "DELETE FROM event_checkpoint WHERE seq < 2", "INSERT INTO event_anchor SELECT 1, seq, id, hash, time_ms, id, key, sig FROM event_checkpoint WHERE seq = 2"), 0, -1},
		"prefix removed":      {sqls("DELETE FROM event WHERE id <= 10"), 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, path := signedDir(t)
			c.do(t, path)
			rep, err := journal.VerifyFile(t.Context(), path, keysOf(t, dir))
			if name == "nothing" {
				if err != nil || !rep.OK || rep.Count != 30 || rep.Checkpoints != 4 || rep.Signed != 30 {
					t.Fatalf("%+v, %v", rep, err)
				}
				return
			}
			wantCode(t, err, abi.Corrupt)
			if c.point == -1 { // the beginning
				c.point = 0
				if !strings.Contains(err.Error(), "beginning") {
					t.Error(err)
				}
			}
			if rep.OK || rep.Bad != c.bad || rep.BadPoint != c.point {
				t.Errorf("bad %d, checkpoint %d (%s); want %d and %d", rep.Bad, rep.BadPoint, rep.Why, c.bad, c.point)
			}
		})
	}
}

func sqls(statements ...string) func(*testing.T, string) {
	return func(t *testing.T, path string) { tamper(t, path, statements...) }
}

func TestVerifyNeedsTheKeyItIsToBelieve(t *testing.T) {
	t.Parallel()
	_, path := signedDir(t)
	_, err := journal.VerifyFile(t.Context(), path, nil)
	wantCode(t, err, abi.NotFound, "no key")
	other := t.TempDir()
	if _, err := journal.LoadKey(other); err != nil {
		t.Fatal(err)
	}
	rep, err := journal.VerifyFile(t.Context(), path, keysOf(t, other))
	wantCode(t, err, abi.Corrupt, "not among those believed")
	if rep.BadPoint != 1 {
		t.Errorf("%+v", rep)
	}
}

// TestSignedFormsGoOverTheWire holds that the JSON form carries everything that is signed.
func TestSignedFormsGoOverTheWire(t *testing.T) {
	t.Parallel()
	_, j := openSigned(t, t.TempDir())
	sign(t, j)
	addMany(t, j, 5)
	c := sign(t, j)
	wire, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var back journal.Checkpoint
	if err := json.Unmarshal(wire, &back); err != nil {
		t.Fatal(err)
	}
	back.Bytes = c.Bytes
	if fmt.Sprint(back) != fmt.Sprint(c) || !bytes.Equal(back.Sig, c.Sig) {
		t.Errorf("%+v\n%+v", c, back)
	}
	for _, broken := range []string{`{}`, `{"hash":"sha256:00"}`, `[]`, strings.Replace(string(wire), `"key":"sha256:`, `"key":"`, 1), strings.Replace(string(wire), `"prev":"sha256:`, `"prev":"md5:`, 1)} {
		if json.Unmarshal([]byte(broken), &back) == nil {
			t.Errorf("%s was read", broken)
		}
	}
}
