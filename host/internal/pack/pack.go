// Package pack takes a pack from a reference in a registry to answers for its callers, and tells at every step why.
// Manager's comment tells the lifecycle; Verdict is the record of it.
//
// Nothing a pack does happens unless its signature satisfies the trust policy, Cedar admits it, and a live lease covers
// the host call. The package decides none of the three itself: it asks signing, policy and lease, in that order, and
// fails closed.
package pack

import (
	"encoding/json"
	"time"

	"github.com/arw-project/arw/abi"
)

// State says whether an installed pack answers calls.
type State string

// The states of an installed pack. What is not installed has none.
const (
	Loading State = "loading" // installed; the first call or the background loads the program
	Ready   State = "ready"
	Broken  State = "broken" // kept, but refuses calls; Info.Reason says why, and a new Install mends it
	// Halted packs refuse calls until somebody resumes them: they were suspended by a person, or their digest was revoked.
	Halted State = "suspended"
)

// Options of an install or a removal.
type Options struct {
	By   string // who asks, for the record
	Corr string // groups the events; made up when empty
	// Progress hears of bytes pulled; it may be nil and is called from the installing goroutine.
	Progress func(what string, done, total int64)
	// Step hears the name of each step of an install as it begins, and "done" when the commit is durable; it may be nil.
	Step func(name string)
	// OverrideUnsigned admits this one manifest digest although no signature satisfies the trust policy. It never
	// carries over to another version.
	OverrideUnsigned string
	// What follows is for an install that replaces another version. AcceptSigner takes a version that nobody signed who
	// signed the one before; Downgrade takes a lower one; Again takes a digest that was rolled back; Accept gives what
	// widened at once, as far as the policies let the one who asks.
	AcceptSigner, Downgrade, Again, Accept bool
	// Soon serves the pack from the interpreter as soon as its examples hold there, and compiles behind it. Compiled code
	// takes over once it gave the same answers to the examples; when it does not, the pack stays on the interpreter and the
	// log says why. It is for a developer, who waits for every build; a person's first job would run slowly to its end.
	Soon bool
	// Why is the reason, for the record.
	Why string
	// Purge, in a removal, also deletes the pack's keys and read models.
	Purge bool
}

// Info is an installed pack as a caller may see it.
type Info struct {
	Name        string    `json:"name"`
	Version     string    `json:"version"`
	Digest      string    `json:"digest"`
	Ref         string    `json:"ref"`
	State       State     `json:"state"`
	Reason      string    `json:"reason,omitempty"` // of a broken or suspended pack
	Description string    `json:"description,omitempty"`
	License     string    `json:"license,omitempty"`
	Tools       []Tool    `json:"tools"`
	Models      []Model   `json:"state_models,omitempty"`
	Installed   time.Time `json:"installed"`
	By          string    `json:"by,omitempty"`
	Calls       int       `json:"calls"`              // running now
	Draining    int       `json:"draining,omitempty"` // versions before this one that finish their calls
	// Held are what the version goes without until a person accepts it: what widened with the last upgrade.
	Held []Item `json:"held,omitempty"`
	// Suspension is set while the pack is suspended.
	Suspension *Suspension `json:"suspension,omitempty"`
	// Trial says until when the host takes the version back by itself if it does badly, and to which digest.
	Trial   *Trial   `json:"trial,omitempty"`
	Verdict *Verdict `json:"verdict,omitempty"`
}

// Trial is how a new version is doing while it is watched.
type Trial struct {
	Until    time.Time `json:"until"`
	From     string    `json:"from"` // digest it would be rolled back to
	Calls    int       `json:"calls"`
	Failures int       `json:"failures"`
	Denials  int       `json:"denials"`
}

// Tool is one tool of an installed pack.
type Tool struct {
	ID          string          `json:"id"`
	Pack        string          `json:"pack"`
	Title       string          `json:"title,omitempty"`
	Description string          `json:"description,omitempty"`
	Effects     string          `json:"effects"`
	Isolation   string          `json:"isolation"`
	Streams     []string        `json:"streams,omitempty"` // those of "input" and "output" that it uses
	Input       json.RawMessage `json:"input_schema,omitempty"`
	Output      json.RawMessage `json:"output_schema,omitempty"`
}

// Model is one read model a pack contributes.
type Model struct {
	ID          string          `json:"id"`
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"schema,omitempty"`
}

// Callable is a tool ready to be called: what a queue needs to know of it.
type Callable struct {
	Pack     string
	ID       string
	Digest   string // of the version: Validate speaks for this one (see Call.Checked)
	Effects  abi.Effect
	MaxInput int64                    // bytes
	Streams  []string                 // those it uses, as the manifest has them
	Validate func(input []byte) error // Invalid with the JSON pointers of the faults
}
