package main

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

// hygieneDoc is the document of the host's configuration that says how long memory keeps what.
const hygieneDoc = "memory/hygiene"

// hygiene is that document, as far as it concerns notes: summaries need a model, which this pack does not ask.
type hygiene struct {
	Dedup    []string `json:"dedup"`     // "hash": a text that is there is not written again; "title": of one first line, the newest shows
	KeepDays int      `json:"keep_days"` // older notes do not show; 0 is for ever
}

// readHygiene is the document as the calling project and agent have it; without a lease or a document, all is kept.
func readHygiene(c *guest.Call) (hygiene, error) {
	var h hygiene
	err := c.Config(hygieneDoc, &h)
	switch abi.CodeOf(err) {
	case abi.OK:
		return h, nil
	case abi.NotFound, abi.Denied, abi.LeaseExpired, abi.LeaseRevoked, abi.BudgetExhausted:
		return hygiene{}, nil
	}
	return hygiene{}, err
}

func (h hygiene) by(word string) bool { return slices.Contains(h.Dedup, word) }

// gone reports whether a note of that time shows no more at now.
func (h hygiene) gone(t, now time.Time) bool {
	return h.KeepDays > 0 && t.Before(now.AddDate(0, 0, -h.KeepDays))
}

// Keys: "h/<project>/<hash of the text>" and "t/<project>/<hash of the first line>" hold the id of the newest such note. They
// are written while the document asks for them, so what was written before is not compared.
func textKey(project, text string) string  { return "h/" + project + "/" + shortHash(text) }
func titleKey(project, text string) string { return "t/" + project + "/" + shortHash(title(text)) }

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}

// title is a note's first line, without what people write differently by chance.
func title(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.ToLower(strings.Join(strings.Fields(line), " "))
}

// same finds the note that says a text already, if it still shows.
func (h hygiene) same(kv guest.KV, project, text string, now time.Time) (Note, bool, error) {
	if !h.by("hash") {
		return Note{}, false, nil
	}
	id, err := kv.Get(textKey(project, text))
	if abi.CodeOf(err) == abi.NotFound {
		return Note{}, false, nil
	}
	var n Note
	if err == nil {
		n, err = readNote(kv, notePrefix(project)+string(id))
	}
	return n, err == nil && n.Text == text && !h.gone(n.Time, now), err
}

// remember notes which note is the newest of its text and title.
func (h hygiene) remember(kv guest.KV, n Note) error {
	if h.by("hash") {
		if err := kv.Put(textKey(n.Project, n.Text), []byte(n.ID)); err != nil {
			return err
		}
	}
	if h.by("title") {
		return kv.Put(titleKey(n.Project, n.Text), []byte(n.ID))
	}
	return nil
}

// shows reports whether a note is to be listed at now.
func (h hygiene) shows(kv guest.KV, n Note, now time.Time) (bool, error) {
	if h.gone(n.Time, now) {
		return false, nil
	}
	if !h.by("title") {
		return true, nil
	}
	id, err := kv.Get(titleKey(n.Project, n.Text))
	if abi.CodeOf(err) == abi.NotFound {
		return true, nil
	}
	return string(id) <= n.ID, err // ids sort by time: a newer one hides it
}
