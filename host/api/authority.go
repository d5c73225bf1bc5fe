package api

import "time"

// AnswerPrompt is the body of POST /policy/prompts/{id}/allow and …/deny. For is "once" (when empty), "calls=N", a duration such
// as "15m", "session" or "project". Scope, when given, takes the place of what the prompt proposes, within the manifest.
type AnswerPrompt struct {
	For    string   `json:"for,omitempty"`
	Scope  []string `json:"scope,omitempty"`
	Reason string   `json:"reason,omitempty"`
	// Preview is the digest of GET /policy/prompts/{id}/preview that was looked at; where given, it has to be that of now.
	Preview string `json:"preview,omitempty"`
}

// Prompt is a question that only a person answers, with what became of it.
type Prompt struct {
	ID         string        `json:"id"`
	Pack       string        `json:"pack"`
	Version    string        `json:"version"`
	Digest     string        `json:"digest"`
	Tool       string        `json:"tool"`
	Capability string        `json:"capability"`
	Target     string        `json:"target,omitempty"` // what the call wanted
	Scope      []string      `json:"scope"`            // what a lease would cover
	Why        string        `json:"why"`              // in the words of the pack's author
	Rule       string        `json:"rule,omitempty"`   // in the words of the policy that asks
	Policies   []string      `json:"policies,omitempty"`
	Budget     Budget        `json:"budget,omitzero"`
	Actor      string        `json:"actor"` // on whose behalf the pack acts
	Corr       string        `json:"corr_id"`
	Project    string        `json:"project,omitempty"`
	Session    string        `json:"session,omitempty"`
	Action     string        `json:"action,omitempty"`
	State      string        `json:"state"`  // pending, allowed, denied, expired
	TTLMS      int64         `json:"ttl_ms"` // of the lease that is proposed
	Created    time.Time     `json:"created"`
	Expires    time.Time     `json:"expires"` // then the answer is no
	Waiting    []string      `json:"waiting"` // actions
	Answer     *PromptAnswer `json:"answer,omitempty"`
	// Approvals is how many different people have to say yes, Agreed who did; 0 and 1 are one. Preview: each has looked at the preview.
	Approvals int            `json:"approvals,omitempty"`
	Agreed    []PromptAnswer `json:"agreed,omitempty"`
	Preview   bool           `json:"preview,omitempty"`
}

// PromptAnswer is what a person said.
type PromptAnswer struct {
	Allow  bool      `json:"allow"`
	For    string    `json:"for"`
	By     string    `json:"by"`
	Who    string    `json:"who,omitempty"` // the name of the credential it was said with
	Reason string    `json:"reason,omitempty"`
	Scope  []string  `json:"scope,omitempty"`
	Seen   string    `json:"preview,omitempty"` // the digest of the preview that was looked at
	Time   time.Time `json:"time"`
	Leases []string  `json:"leases,omitempty"`
	Until  time.Time `json:"until,omitzero"` // of a denial: until then it is not asked again
}

// RenewLease is the body of POST /leases/{id}/renew.
type RenewLease struct {
	TTL string `json:"ttl"` // a Go duration, from now
}

// ChoosePosture is the body of POST /policy/posture.
type ChoosePosture struct {
	Posture string `json:"posture"` // base, relaxed, standard, strict or trial
	DryRun  bool   `json:"dry_run,omitempty"`
}

// Simulation is the answer of POST /policy/simulate: the decision of the policies in force, and the rules that made it.
type Simulation struct {
	Digest   string `json:"digest"`
	Decision any    `json:"decision"`
	Rules    []any  `json:"rules"`
}

// DiffPolicy is the body of POST /policy/diff: the files that would take the place of the operator's, and archives or lists of cases.
type DiffPolicy struct {
	Files []NamedText `json:"files"`
	Cases []NamedText `json:"cases,omitempty"`
	// Events is how many of the journal's last events are looked through for recorded decisions; 20,000 at most and when 0.
	Events int `json:"events,omitempty"`
}

// NamedText is a small file.
type NamedText struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// PolicyDiff is the answer of POST /policy/diff.
type PolicyDiff struct {
	Before     string `json:"before"` // digests of the policies
	After      string `json:"after"`
	Posture    string `json:"posture"`
	Added      []any  `json:"added"` // policies
	Removed    []any  `json:"removed"`
	Changed    []any  `json:"changed"`     // before and after
	CaseShifts []any  `json:"case_shifts"` // cases that are answered otherwise
	Cases      int    `json:"cases"`       // asked
	Shifts     []any  `json:"shifts"`      // answers about installed packs
	Recorded   any    `json:"recorded"`    // {records, asked, skipped, changes}: what would have become of decisions that the journal tells of
}

// PolicyState is the answer of POST /policy/reload.
type PolicyState struct {
	Posture string    `json:"posture"`
	Digest  string    `json:"digest"`
	Loaded  time.Time `json:"loaded"`
	Stale   string    `json:"stale,omitempty"` // why the files are not in force as they are now
}

// PostureChange is the answer of POST /policy/posture.
type PostureChange struct {
	From   string `json:"from"`
	To     string `json:"to"`
	DryRun bool   `json:"dry_run"`
	Digest string `json:"digest"`
	Shifts []any  `json:"shifts"`
}

// PolicyReloaded is the body of policy.reloaded.
type PolicyReloaded struct {
	Digest  string `json:"digest"`
	Before  string `json:"before"`
	Posture string `json:"posture"`
}

// PolicyStale is the body of policy.reload.failed.
type PolicyStale struct {
	Error   string `json:"error"`
	InForce string `json:"in_force"` // the digest that stays
}
