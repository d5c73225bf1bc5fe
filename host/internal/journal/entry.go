package journal

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/arw-project/arw/abi"
)

// Limits of an event.
const (
	MaxBody = 1 << 20 // bytes of the body as JSON without white space
	MaxKind = 128     // bytes of the kind
	MaxName = 256     // bytes of each other name
)

const saltSize = 16

// hashDomain opens every hashed message, so that the hash of an event can never be the hash of something else.
const hashDomain = "arw.event.1\n"

// entry is an event that keeps the rules, with everything done that needs no place in the chain.
type entry struct {
	Event
	body []byte
	salt [saltSize]byte
	sum  [32]byte // of salt and body
}

// prepare checks and encodes events on the caller's goroutine, so that the writer's has less to do.
func (j *Journal) prepare(events []Event) ([]entry, error) {
	if len(events) == 0 {
		return nil, nil
	}
	entries := make([]entry, len(events))
	for i, e := range events {
		if err := e.check(); err != nil {
			return nil, err
		}
		body, err := encodeBody(e.Kind, e.Body, j.clean)
		if err != nil {
			return nil, err
		}
		entries[i] = entry{Event: e, body: body}
		_, _ = rand.Read(entries[i].salt[:]) // never fails: it ends the process instead
		entries[i].sum = bodySum(entries[i].salt[:], body)
	}
	return entries, nil
}

// CheckKind refuses a kind that does not match [a-z0-9_]+(\.[a-z0-9_]+)* or is longer than MaxKind. The error is
// *abi.Error Invalid.
func CheckKind(kind string) error {
	if len(kind) > MaxKind {
		return abi.Errorf(abi.Invalid, "check event kind %.40q…: %d bytes, at most %d are allowed", kind, len(kind), MaxKind)
	}
	for word := range strings.SplitSeq(kind, ".") {
		if word == "" {
			return abi.Errorf(abi.Invalid, "check event kind %q: empty word", kind).WithHint(`write words of a-z, 0-9 and _ joined by single dots, such as "research.ingest.completed"`)
		}
		for _, c := range []byte(word) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
				return abi.Errorf(abi.Invalid, "check event kind %q: %q is not allowed", kind, rune(c)).WithHint("write words of a-z, 0-9 and _ joined by single dots")
			}
		}
	}
	return nil
}

func (e *Event) check() error {
	if err := CheckKind(e.Kind); err != nil {
		return err
	}
	for _, n := range [...]struct{ field, value string }{
		{"correlation id", e.Corr}, {"actor", e.Actor}, {"project", e.Project}, {"pack", e.Pack}, {"action", e.Action},
	} {
		switch {
		case len(n.value) > MaxName:
			return abi.Errorf(abi.TooLarge, "append event %q: the %s has %d bytes, at most %d are allowed", e.Kind, n.field, len(n.value), MaxName)
		case !utf8.ValidString(n.value):
			return abi.Errorf(abi.Invalid, "append event %q: the %s %q is not UTF-8", e.Kind, n.field, n.value)
		case strings.ContainsFunc(n.value, unicode.IsControl):
			return abi.Errorf(abi.Invalid, "append event %q: the %s %q holds a control character", e.Kind, n.field, n.value)
		}
	}
	return nil
}

// encodeBody gives the bytes that are stored and hashed: one JSON object without insignificant white space, in UTF-8,
// no name twice in an object (readers would disagree about which one counts), and with <, >, &, U+2028 and U+2029
// escaped as encoding/json does it: marshalled again on the way to a client, the bytes stay the ones that were hashed.
func encodeBody(kind string, body any, clean func(kind string, body []byte) []byte) ([]byte, error) {
	if body == nil {
		return []byte("{}"), nil
	}
	refuse := func(why string) error { return abi.Errorf(abi.Invalid, "append event %q: the body %s", kind, why) }
	if raw, ok := body.(json.RawMessage); ok {
		if len(raw) > 4*MaxBody { // white space is not counted, but not read without bound either
			return nil, tooLarge(kind, len(raw))
		}
		if !json.Valid(raw) {
			return nil, refuse("is not JSON")
		}
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, refuse("does not marshal: " + err.Error())
	}
	if clean != nil {
		b = clean(kind, b)
	}
	switch {
	case len(b) > MaxBody:
		return nil, tooLarge(kind, len(b))
	case b[0] != '{':
		return nil, refuse("is not a JSON object")
	case !utf8.Valid(b):
		return nil, refuse("is not UTF-8")
	}
	if name, twice := repeatedName(b); twice {
		return nil, refuse("has the name " + name + " twice in one object")
	}
	return b, nil
}

func tooLarge(kind string, n int) error {
	return abi.Errorf(abi.TooLarge, "append event %q: the body has %d bytes, at most %d are allowed", kind, n, MaxBody).
		WithHint("store the bytes as a blob and journal its digest")
}

// bodySum binds the chain to a body without holding it: a body that must be forgotten can be taken out with its salt,
// and the chain still verifies. Without the salt the sum of a short secret could be guessed.
func bodySum(salt, body []byte) (sum [32]byte) {
	h := sha256.New()
	h.Write(salt)
	h.Write(body)
	h.Sum(sum[:0])
	return sum
}

// chain computes the next link: the hash of what docs/spec/events.md calls the event message.
func (e *entry) chain(prev link, at time.Time) link {
	msg := make([]byte, 0, 256)
	msg = append(msg, hashDomain...)
	msg = append(msg, prev.hash[:]...)
	msg = binary.BigEndian.AppendUint64(msg, uint64(prev.id+1))
	msg = binary.BigEndian.AppendUint64(msg, uint64(at.UnixMilli()))
	for _, s := range [...]string{e.Kind, e.Corr, e.Actor, e.Project, e.Pack, e.Action} {
		msg = binary.BigEndian.AppendUint32(msg, uint32(len(s)))
		msg = append(msg, s...)
	}
	msg = append(msg, e.sum[:]...)
	next := link{id: prev.id + 1, hash: sha256.Sum256(msg), bytes: prev.bytes + int64(len(e.body))}
	next.text = digest(next.hash[:])
	return next
}

func (e *entry) record(prev, next link, at time.Time) Record {
	return Record{
		ID: next.id, Time: at, Kind: e.Kind, Corr: e.Corr, Actor: e.Actor, Project: e.Project, Pack: e.Pack, Action: e.Action,
		Body: e.body, Salt: hex.EncodeToString(e.salt[:]), Prev: prev.text, Hash: next.text,
	}
}

func digest(sum []byte) string { return "sha256:" + hex.EncodeToString(sum) }
