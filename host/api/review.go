package api

import "time"

// Change is one change of what a pack keeps: a key (store "kv") or a read model (store "state", value JSON).
type Change struct {
	Op    string `json:"op"`    // put or delete; a read model is only put
	Store string `json:"store"` // kv or state
	Name  string `json:"name"`
	Value []byte `json:"value_base64,omitempty"`
	Text  string `json:"value,omitempty"` // in the place of value_base64
	// Was is the SHA-256 of the value that is changed, in hexadecimal; "none" where there is to be none. When absent it is what
	// stands there when the change is queued.
	Was string `json:"was_sha256,omitempty"`
}

// HeldChange is a change as it is shown to whoever decides about it: previews, never whole values, without secrets.
type HeldChange struct {
	Op       string `json:"op"`
	Store    string `json:"store"`
	Name     string `json:"name"`
	Bytes    int    `json:"bytes"`
	Was      string `json:"was_sha256"`
	Before   string `json:"before,omitempty"`
	After    string `json:"after,omitempty"`
	Conflict string `json:"conflict,omitempty"` // what stands in the way, as of the last look
}

// Provenance is where something comes from.
type Provenance struct {
	Tainted bool     `json:"tainted,omitempty"` // something from outside was seen on the way
	From    []string `json:"from,omitempty"`    // places on the network
}

// Review is what a person, or time, decided.
type Review struct {
	By       string    `json:"by"`
	Time     time.Time `json:"time"`
	Decision string    `json:"decision"` // admit, apply, reject, defer or expire
	Note     string    `json:"note,omitempty"`
}

// Held is a write that waits for a person: of memory that is not trusted, or a diff that somebody proposes.
type Held struct {
	ID         string       `json:"id"`
	Kind       string       `json:"kind"` // memory or world
	Project    string       `json:"project,omitempty"`
	Pack       string       `json:"pack"` // whose keys and documents it changes
	Source     string       `json:"source"`
	From       string       `json:"from"` // who wrote or proposed it
	Tool       string       `json:"tool,omitempty"`
	Corr       string       `json:"corr_id"`
	Action     string       `json:"action,omitempty"`
	Summary    string       `json:"summary,omitempty"`
	Reason     string       `json:"reason,omitempty"` // why it waits
	Policies   []string     `json:"policies,omitempty"`
	Provenance Provenance   `json:"provenance"`
	Evidence   *float64     `json:"evidence_score,omitempty"`
	Markers    []string     `json:"risk_markers,omitempty"`
	Changes    []HeldChange `json:"changes"`
	State      string       `json:"state"` // queued, conflict, admitted, applied, rejected or expired
	Created    time.Time    `json:"created"`
	Expires    time.Time    `json:"expires"`
	Review     *Review      `json:"review,omitempty"`
}

// QueueMemory is the body of POST /admin/memory/quarantine: something to be remembered by a pack once a person agrees.
type QueueMemory struct {
	Project  string   `json:"project,omitempty"`
	Pack     string   `json:"pack"`
	Changes  []Change `json:"changes"`
	Source   string   `json:"source,omitempty"` // ingest or manual
	From     []string `json:"from,omitempty"`
	Evidence *float64 `json:"evidence_score,omitempty"`
	Summary  string   `json:"summary,omitempty"`
}

// QueueDiff is the body of POST /admin/world_diffs/queue, and the input of the tool world.propose.
type QueueDiff struct {
	Project string   `json:"project,omitempty"`
	Pack    string   `json:"pack,omitempty"` // a pack that proposes may leave its own name out
	From    string   `json:"from_node,omitempty"`
	Summary string   `json:"summary"`
	Changes []Change `json:"changes"`
}

// DecideHeld is the body of POST /admin/memory/quarantine/admit and of POST /admin/world_diffs/decision.
type DecideHeld struct {
	ID       string `json:"id"`
	Decision string `json:"decision"` // admit or reject; apply, reject or defer
	Note     string `json:"note,omitempty"`
	// Force writes over what changed in the meantime.
	Force bool `json:"force,omitempty"`
}

// HeldEvent is the body of memory.* and world.diff.*: what waits, or waited, as it stands.
type HeldEvent = Held
