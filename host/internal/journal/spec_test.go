package journal_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/arw-project/arw/host/internal/journal"
)

// specHash computes a record's hash from its JSON form by the words of docs/spec/events.md, sharing no code with the
// package.
func specHash(t *testing.T, r journal.Record) string {
	t.Helper()
	undigest := func(s string) []byte {
		b, err := hex.DecodeString(strings.TrimPrefix(s, "sha256:"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	sum := sha256.Sum256(append(undigest(r.Salt), r.Body...))
	msg := append([]byte("arw.event.1\n"), undigest(r.Prev)...)
	msg = binary.BigEndian.AppendUint64(msg, uint64(r.ID))
	msg = binary.BigEndian.AppendUint64(msg, uint64(r.Time.UnixMilli()))
	for _, s := range []string{r.Kind, r.Corr, r.Actor, r.Project, r.Pack, r.Action} {
		msg = append(binary.BigEndian.AppendUint32(msg, uint32(len(s))), s...)
	}
	hash := sha256.Sum256(append(msg, sum[:]...))
	return "sha256:" + hex.EncodeToString(hash[:])
}

// TestHashVectors holds the specification's test vectors against the specification's words.
func TestHashVectors(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile("testdata/chain.json")
	if err != nil {
		t.Fatal(err)
	}
	var records []journal.Record
	if err := json.Unmarshal(src, &records); err != nil || len(records) == 0 {
		t.Fatal(len(records), err)
	}
	prev := "sha256:" + strings.Repeat("0", 64)
	for _, r := range records {
		if r.Prev != prev {
			t.Errorf("event %d does not continue the one before", r.ID)
		}
		if prev = specHash(t, r); r.Hash != prev {
			t.Errorf("event %d: hash %s, by the specification %s", r.ID, r.Hash, prev)
		}
	}
}

// TestRecordsAreHashedAsSpecified holds what the package writes against the specification's words.
func TestRecordsAreHashedAsSpecified(t *testing.T) {
	t.Parallel()
	_, j := open(t, t.TempDir())
	_, err := j.Append(t.Context(),
		journal.Event{Kind: "service.start"},
		journal.Event{Kind: "packs.installed", Corr: "cor_1", Actor: "operator", Project: "default", Pack: "arw/research", Action: "act_1", Body: map[string]any{"name": "Grüße <&>", "n": 1}},
		journal.Event{Kind: "x", Body: json.RawMessage(` {"b": 1.0, "a": "\u00e9"} `)})
	if err != nil {
		t.Fatal(err)
	}
	records, err := j.Read(t.Context(), 0, 0, journal.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if want := specHash(t, r); r.Hash != want {
			t.Errorf("event %d: hash %s, by the specification %s", r.ID, r.Hash, want)
		}
	}
	wire, err := json.Marshal(records)
	if err != nil {
		t.Fatal(err)
	}
	var back []journal.Record
	if err := json.Unmarshal(wire, &back); err != nil {
		t.Fatal(err)
	}
	for _, r := range back {
		if want := specHash(t, r); r.Hash != want {
			t.Errorf("event %d does not verify after a trip over the wire: %s", r.ID, r.Body)
		}
	}
}
