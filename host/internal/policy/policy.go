// Package policy answers one question: may this pack, person or agent do that? The answer comes from Cedar policies,
// the shipped default.cedar with the operator's files added, and says which policies decided it and why.
//
// It fails closed: a policy file that does not parse, does not fit arw.cedarschema or carries an annotation that means
// nothing stops Load; a request that does not fit the schema, or any error while a policy is evaluated, is a refusal
// that names the policy. (Cedar itself skips a policy whose condition fails to evaluate, which turns a broken forbid into
// a permission.) Deciding touches no clock, disk or network. docs/spec/policy.md is the normative description.
package policy

import (
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"time"
)

// The actions a request may name.
const (
	ActionLoad   = "load"   // may the pack run on this host
	ActionLink   = "link"   // may the capability be leased to the pack
	ActionCall   = "call"   // may the actor use the tool
	ActionGrant  = "grant"  // may the actor hand the pack a lease
	ActionEgress = "egress" // may the pack, or the actor, send this request there
	ActionOpen   = "open"   // may the pack open this file
	ActionInfer  = "infer"  // may the pack, or the actor, ask this model

	ActionRemember = "remember" // may the pack keep this without a person having seen it; no means that it waits for one

	ActionPromote = "promote" // may the actor make the logic unit the workspace's default
	ActionAdopt   = "adopt"   // may the policy capsule, whose signature is good, hold on this host
)

// Source is one policy file: Name is what errors call it, Text is Cedar.
type Source struct {
	Name string `json:"name"`
	Text []byte `json:"text"`
}

// Digest is "sha256:" and the digest of the text.
func (s Source) Digest() string {
	sum := sha256.Sum256(s.Text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Budget bounds what a lease may use; 0 is unlimited.
type Budget struct {
	Calls  int64 `json:"calls,omitempty"`
	Bytes  int64 `json:"bytes,omitempty"`
	Tokens int64 `json:"tokens,omitempty"`
	Gas    int64 `json:"gas,omitempty"`
	Money  int64 `json:"usd_micros,omitempty"` // millionths of a US dollar
}

// Rule describes one policy of a set, for explaining a decision.
type Rule struct {
	ID          string        `json:"id"`
	Effect      string        `json:"effect"` // permit or forbid
	Actions     []string      `json:"actions"`
	Mode        string        `json:"mode,omitempty"`            // ask, for a permit that only opens the question to a person
	Hold        time.Duration `json:"hold,omitempty"`            // how long a use waits for that person; 0: not at all
	Log         bool          `json:"log,omitempty"`             // every decision it takes part in is journaled
	Redact      bool          `json:"redact,omitempty"`          // of a call: what the tool answers is given out without secrets
	NeedsReason bool          `json:"reason_required,omitempty"` // of a grant: whoever grants says why
	Preview     bool          `json:"preview,omitempty"`         // of a link: whoever allows a use has looked at its preview
	// Approvals is how many different people must have agreed: to a promotion, to a grant, or to a use that a link asks about.
	Approvals int           `json:"approvals,omitempty"`
	Args      []Arg         `json:"args,omitempty"` // of a call: the arguments that it speaks of
	TTL       time.Duration `json:"ttl,omitempty"`  // 0 when the policy names none
	Budget    Budget        `json:"budget,omitzero"`
	Reason    string        `json:"reason,omitempty"`
	File      string        `json:"file"`
	Line      int           `json:"line"`
}

//go:embed default.cedar
var defaultText string

//go:embed arw.cedarschema
var schemaText string

// DefaultName is what errors and digests call the shipped policies.
const DefaultName = "default.cedar"

// Default returns the shipped policies. Every set begins with them.
func Default() Source { return Source{Name: DefaultName, Text: []byte(defaultText)} }

// Schema returns arw.cedarschema, for editors and for Cedar's own tools.
func Schema() []byte { return []byte(schemaText) }

// Set is a validated set of policies. It never changes and is safe for concurrent use.
type Set struct {
	sources []Source
	digest  string
	rules   []Rule
	byID    map[string]int // index into rules
	shards  map[string]shard

	capabilities []string // those the schema knows
	args         []string // see Args
}

// Digest names the set: "sha256:" and the digest of the schema and every source, each name and text preceded by its
// length as eight bytes, big endian. Two hosts with one digest decide alike.
func (s *Set) Digest() string { return s.digest }

// Sources returns the files of the set, the default first and the others by name. The texts are the set's own memory.
func (s *Set) Sources() []Source { return slices.Clone(s.sources) }

// Rules returns every policy of the set in the order of the files.
func (s *Set) Rules() []Rule { return slices.Clone(s.rules) }

// Asked reports whether a policy beside the shipped ones can speak about an action, so that asking could change anything.
func (s *Set) Asked(action string) bool {
	for _, e := range s.shards[action] {
		if !shipped(s.rules[s.byID[string(e.id)]].File) {
			return true
		}
	}
	return false
}

// Rule finds a policy by its id.
func (s *Set) Rule(id string) (Rule, bool) {
	i, ok := s.byID[id]
	if !ok {
		return Rule{}, false
	}
	return s.rules[i], true
}

func digestOf(sources []Source) string {
	h := sha256.New()
	part := func(b string) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		h.Write([]byte(b))
	}
	part(schemaText)
	for _, src := range sources {
		part(src.Name)
		part(string(src.Text))
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
