package api

import (
	"encoding/json"
	"time"
)

// EventKind is one kind of event: what it means and what its body is.
type EventKind struct {
	Kind  string
	Means string
	Body  any // a zero value of the body's type
}

// Events is the table of every kind that the host itself appends to its journal. Packs append others, which begin with
// their namespace. A kind that is not here fails the tests of whoever appends it.
func Events() []EventKind {
	return []EventKind{
		{"service.start", "The host has started", ServiceEvent{}},
		{"service.stop", "The host stops", ServiceEvent{}},
		{"service.safe", "The host started with all packs suspended, because it crashed too often or was told to", SafeEvent{}},
		{"service.safe.left", "A person let the host run packs again", SafeLeft{}},
		{"service.dev.start", "From here on the key of a developer's session is trusted for one pack", DevEvent{}},
		{"service.dev.end", "The key of a developer's session is trusted no more", DevEvent{}},

		{"journal.pruned", "The oldest records were removed; a signed anchor stands in their place", JournalPruned{}},
		{"journal.redacted", "A part of records was taken out, for good", JournalRedacted{}},

		{"snappy.notice", "A route begins to answer too slowly, or does so no longer", SnappyNotice{}},

		{"access.token.created", "Someone was given a token for this host", TokenEvent{}},
		{"access.token.revoked", "A token holds no more", TokenEvent{}},

		{"actions.submitted", "An action was accepted and is durable", ActionEvent{}},
		{"actions.queued", "An action waits again: its run was cut short, it is to be tried later, or it waits for a person", ActionEvent{}},
		{"actions.running", "An action's call has begun", ActionEvent{}},
		{"actions.completed", "An action ended with an output", ActionEvent{}},
		{"actions.failed", "An action ended without an output", ActionEvent{}},
		{"actions.cancelled", "An action was taken back", ActionEvent{}},
		{"actions.dead", "An action lies among the dead letters: it does not begin again by itself", LetterEvent{}},
		{"actions.requeued", "A dead letter was submitted again, as another action", LetterEvent{}},
		{"actions.dropped", "A dead letter was forgotten", LetterEvent{}},

		{"queue.paused", "Nothing new begins to run", QueueEvent{}},
		{"queue.resumed", "What waits begins again", QueueEvent{}},

		{"schedule.fired", "A tick of a schedule became an action", ScheduleEvent{}},
		{"schedule.missed", "Ticks of a schedule passed and are not made up for", ScheduleEvent{}},
		{"schedule.failed", "A tick of a schedule was refused", ScheduleEvent{}},

		{"tool.cache", "What became of a call of a pure tool that was looked up", CacheEvent{}},
		{"recall.hit", "An answer was given that had been made before", RecallEvent{}},
		{"recall.miss", "A tool ran whose answers may be given again", RecallEvent{}},
		{"recall.audited", "An answer that could have been given was made anew, and compared", RecallEvent{}},
		{"recall.rested", "Answers were wrong too often: for a while none is given to another question", RecallEvent{}},
		{"recall.forgotten", "Answers that could have been given again are gone", RecallForgotten{}},
		{"cache.policy.reloaded", "Another policy of kept answers is in force", CachePolicy{}},

		{"pack.installed", "A version of a pack was verified, admitted and put in place", VerdictEvent{}},
		{"pack.refused", "A pack was not installed; the verdict has the step and the reason", VerdictEvent{}},
		{"pack.loaded", "A pack's program can be called", PackEvent{}},
		{"pack.broken", "A pack's program could not be made to run", PackEvent{}},
		{"pack.retired", "A replaced version has ended", PackEvent{}},
		{"pack.rolled_back", "A version that had been replaced is back", PackEvent{}},
		{"pack.rollback_failed", "The host could not go back by itself, and does not try again", PackEvent{}},
		{"pack.suspended", "A pack answers no calls until it is resumed", PackEvent{}},
		{"pack.resumed", "A suspended pack answers calls again", PackEvent{}},
		{"pack.accepted", "A person accepted what an upgrade had widened", PackEvent{}},
		{"pack.removed", "A pack was removed", PackEvent{}},

		{"leases.granted", "A lease was given", LeaseEvent{}},
		{"leases.renewed", "A lease lives longer", LeaseEvent{}},
		{"leases.revoked", "A lease was taken back", LeaseEvent{}},
		{"leases.expired", "A lease's time is over", LeaseEvent{}},
		{"leases.exhausted", "A lease's budget is spent", LeaseEvent{}},
		{"leases.carried", "A lease went over to another version of its pack", LeaseEvent{}},
		{"leases.denied", "A host call had no lease that covers it", LeaseDenied{}},

		{"policy.decision", "Cedar decided, and the deciding policy asks for a record of it", PolicyEvent{}},
		{"policy.denied", "Cedar or a held capability refused", PolicyEvent{}},
		{"policy.prompt", "A person is asked", Prompt{}},
		{"policy.allow", "A person said yes", Prompt{}},
		{"policy.agreed", "A person said yes, and more than one have to", Prompt{}},
		{"policy.deny", "A person said no", Prompt{}},
		{"policy.expired", "Nobody answered in time: the answer is no", Prompt{}},
		{"policy.reloaded", "Other policies are in force", PolicyReloaded{}},
		{"policy.reload.failed", "The policies could not be read again; the last good ones stay", PolicyStale{}},
		{"policy.capsule.applied", "A policy capsule holds from here on", CapsuleEntry{}},
		{"policy.capsule.failed", "A policy capsule was refused, or ends because its signature is good no more", CapsuleEntry{}},
		{"policy.capsule.expired", "A policy capsule's lease is over", CapsuleEntry{}},
		{"policy.capsule.teardown", "A policy capsule was ended before its time", CapsuleEntry{}},
		{"policy.capsule.forwarded", "A policy capsule was handed on to another node", CapsuleEntry{}},
		{"policy.prompt.flood", "A pack asks too much and is refused without asking", FloodEvent{}},

		{"project.created", "A project was made, or first named by a call", ProjectEvent{}},
		{"project.archived", "A project was closed: no call enters it", ProjectEvent{}},
		{"project.restored", "A closed project was opened again", ProjectEvent{}},
		{"project.export.created", "A pack may read in one project what it wrote in another", ExportEvent{}},
		{"project.export.revoked", "An export was taken back", ExportEvent{}},

		{"memory.quarantined", "A write of a pack's memory waits for a person", HeldEvent{}},
		{"memory.admitted", "A person let a write that waited be written, and it is", HeldEvent{}},
		{"memory.rejected", "A write that waited is not written: a person said so, or nobody did", HeldEvent{}},
		{"world.diff.queued", "A proposed diff waits for a person", HeldEvent{}},
		{"world.diff.conflict", "A proposed diff was to be applied, and what it changes is not what it was made for", HeldEvent{}},
		{"world.diff.applied", "A proposed diff was applied", HeldEvent{}},
		{"world.diff.rejected", "A proposed diff is not applied: a person said so, or nobody did", HeldEvent{}},
		{"quota.nearing", "Most of a quota is used", Quota{}},
		{"quota.exhausted", "A quota is used up, or something did not fit what was left of it", Quota{}},
		{"quota.reset", "The operator let a quota's window begin anew; the body is what it was", Quota{}},

		{"egress.ledger.appended", "Something leaves for the network, or was kept from it", LedgerRow{}},
		{"egress.ledger.settled", "What became of a row of the ledger", LedgerSettled{}},
		{"egress.settings.updated", "Posture or scopes of egress changed", EgressSettings{}},
		{"egress.token.issued", "A program was given a token for the proxy", EgressTokenEvent{}},
		{"egress.token.revoked", "A token for the proxy holds no more", EgressTokenEvent{}},
		{"dns.anomaly", "Questions about names look odd", DNSAnomaly{}},

		{"infer.done", "A model was asked and answered", InferEvent{}},
		{"infer.failed", "A model was asked and did not answer to the end", InferEvent{}},
		{"infer.refused", "A policy or a lease refused that a model be asked", InferEvent{}},
		{"models.pull.progress", "A model file is being fetched", ModelFile{}},
		{"models.pulled", "A model file is here and named in models.toml", ModelFile{}},
		{"models.pull.failed", "A model file was not fetched; what came may be kept for the next try", ModelFile{}},
		{"models.swept", "A model file that nothing names or uses was removed", ModelFile{}},

		{"secrets.stored", "A secret was stored or changed", Secret{}},
		{"secrets.removed", "A secret was removed", SecretName{}},
		{"secrets.redacted", "A pack said secrets where everybody reads, and they were taken out", SecretsRedacted{}},
		{"secrets.found", "Secrets were found where they do not belong: by place, rule and what became of them", SecretsFound{}},
		{"secrets.used", "A pack had a secret used for it", SecretUse{}},
		{"archive.unpacked", "An archive was unpacked", ArchiveEvent{}},
		{"archive.blocked", "An archive was refused", ArchiveEvent{}},

		{"logic.unit.installed", "A logic unit is known", UnitEvent{}},
		{"logic.unit.suggested", "A logic unit was proposed", UnitEvent{}},
		{"logic.unit.archived", "A logic unit was put away", UnitEvent{}},
		{"logic.unit.refused", "A logic unit from a registry was not let in", UnitRefused{}},
		{"logic.unit.approved", "A person agreed to the promotion of a logic unit", UnitApproved{}},
		{"logic.unit.breached", "A guard of a logic unit was breached: the unit was taken back, or could not be", UnitBreached{}},
		{"logic.unit.applied", "A logic unit's patches are in force", UnitEvent{}},
		{"logic.unit.reverted", "A logic unit's patches were taken back", UnitEvent{}},
		{"logic.unit.promoted", "A logic unit went from trial to default", UnitEvent{}},
		{"config.patch.applied", "The configuration was changed by hand", UnitEvent{}},

		{"experiment.started", "An experiment runs", ExperimentEvent{}},
		{"experiment.completed", "An experiment is over", ExperimentEvent{}},
		{"experiment.failed", "An experiment ended before it could tell anything", ExperimentEvent{}},

		{"index.refreshed", "The signed index has news", IndexEvent{}},
		{"index.refused", "What the signed index sent was refused", IndexEvent{}},
		{"state.read.model.patch", "A document under /state changed", PatchEvent{}},
	}
}

// ServiceEvent is the body of service.start and service.stop.
type ServiceEvent struct {
	Version     string `json:"version"`
	ABI         string `json:"abi"`
	PolicySet   string `json:"policy_set"`
	TrustPolicy string `json:"trust_policy"`
}

// SafeEvent is the body of service.safe.
type SafeEvent struct {
	Reason  string      `json:"reason"`
	Crashes []time.Time `json:"crashes"`
	Packs   []string    `json:"packs"`
}

// SafeLeft is the body of service.safe.left.
type SafeLeft struct {
	By string `json:"by"`
}

// DevEvent is the body of service.dev.start and service.dev.end.
type DevEvent struct {
	Key string `json:"key_id"`
	For string `json:"trusted_for"`
}

// TokenEvent is the body of access.token.created and access.token.revoked.
type TokenEvent = AccessToken

// ActionEvent is the body of the events of actions. Payloads are not in it.
type ActionEvent struct {
	ID          string          `json:"id"`
	Kind        string          `json:"kind"`
	State       string          `json:"state"`
	Parent      string          `json:"parent,omitempty"`
	IdemKey     string          `json:"idem_key,omitempty"`
	InputBytes  int             `json:"input_bytes,omitempty"`
	OutputBytes int             `json:"output_bytes,omitempty"`
	Code        string          `json:"code,omitempty"`
	Message     string          `json:"message,omitempty"`
	Hint        string          `json:"hint,omitempty"`
	Detail      json.RawMessage `json:"detail,omitempty"`
	Usage       *ActionUsage    `json:"usage,omitempty"`
	WaitedMS    int64           `json:"waited_ms,omitempty"`
	Attempt     int             `json:"attempt,omitempty"`
	RanMS       int64           `json:"ran_ms,omitempty"`
	Priority    string          `json:"priority,omitempty"`
	Reason      string          `json:"reason,omitempty"`
	RetryMS     int64           `json:"retry_ms,omitempty"`
}

// ActionUsage is what a call cost.
type ActionUsage struct {
	Gas       uint64 `json:"gas"`
	HostCalls int    `json:"host_calls"`
	Memory    int64  `json:"memory_bytes"`
	Wall      int64  `json:"wall_ns"`
	Cache     string `json:"cache,omitempty"`
}

// VerdictEvent is the body of pack.installed and pack.refused: the verdict, whose parts docs/spec/pack.md describes.
type VerdictEvent struct {
	Pack      string          `json:"pack,omitempty"`
	Version   string          `json:"version,omitempty"`
	Ref       string          `json:"ref"`
	Allowed   bool            `json:"allowed"`
	Time      time.Time       `json:"time"`
	By        string          `json:"by,omitempty"`
	Corr      string          `json:"corr_id"`
	Step      string          `json:"step"`
	Refused   *EventFailure   `json:"refused,omitempty"`
	Digests   json.RawMessage `json:"digests"`
	Signature json.RawMessage `json:"signature,omitempty"`
	Override  string          `json:"override,omitempty"`
	Load      json.RawMessage `json:"load,omitempty"`
	Links     json.RawMessage `json:"links,omitempty"`
	Imports   []string        `json:"imports,omitempty"`
	Replaces  string          `json:"replaces,omitempty"`
	Diff      json.RawMessage `json:"diff,omitempty"`
	Held      []string        `json:"held,omitempty"`
	Signer    json.RawMessage `json:"signer_change,omitempty"`
	Registry  string          `json:"registry,omitempty"`
	Warning   string          `json:"warning,omitempty"`
	Proofs    json.RawMessage `json:"proofs,omitempty"`
	Carried   json.RawMessage `json:"carried,omitempty"`
	Examples  int             `json:"examples,omitempty"`
}

// EventFailure is an error as events and verdicts carry it.
type EventFailure struct {
	Code    string          `json:"code"`
	Message string          `json:"message"`
	Hint    string          `json:"hint,omitempty"`
	Detail  json.RawMessage `json:"detail,omitempty"`
}

// PackEvent is the body of the events of an installed pack; which members it has depends on the kind (docs/spec/events.md).
type PackEvent struct {
	Name        string          `json:"name,omitempty"`
	Version     string          `json:"version"`
	Digest      string          `json:"digest"`
	FromVersion string          `json:"from_version,omitempty"`
	From        string          `json:"from,omitempty"`
	By          string          `json:"by,omitempty"`
	Reason      json.RawMessage `json:"reason,omitempty"` // words, or of pack.broken the refusal
	Error       *EventFailure   `json:"error,omitempty"`
	Milli       int64           `json:"ms,omitempty"`
	Cut         int             `json:"cut,omitempty"`
	Carried     json.RawMessage `json:"carried,omitempty"`
	Suspension  json.RawMessage `json:"suspension,omitempty"`
	Items       json.RawMessage `json:"items,omitempty"`
	Purged      bool            `json:"purged,omitempty"`
}

// LeaseEvent is the body of the events of a lease: the lease as it stands after it.
type LeaseEvent struct {
	ID         string      `json:"id"`
	Pack       string      `json:"pack"`
	Digest     string      `json:"digest"`
	Capability string      `json:"capability"`
	Scope      []string    `json:"scope"`
	State      string      `json:"state"`
	TTLMS      int64       `json:"ttl_ms"`
	Created    time.Time   `json:"created"`
	Expires    time.Time   `json:"expires"`
	Budget     Budget      `json:"budget"`
	Used       Budget      `json:"used"`
	By         string      `json:"by"`
	Reason     string      `json:"reason"`
	Policies   []string    `json:"policies"`
	Renewable  bool        `json:"renewable"`
	Project    string      `json:"project,omitempty"`
	Session    string      `json:"session,omitempty"`
	Action     string      `json:"action,omitempty"`
	Ended      *LeaseEnded `json:"ended,omitempty"`
	From       string      `json:"from_digest,omitempty"` // of leases.carried
}

// LeaseEnded is how a lease ended.
type LeaseEnded struct {
	Time   time.Time `json:"time"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// LeaseDenied is the body of leases.denied. More counts refusals of the same call that are not told one by one.
type LeaseDenied struct {
	Capability string `json:"capability,omitempty"`
	Target     string `json:"target,omitempty"`
	Tool       string `json:"tool"`
	Code       string `json:"code,omitempty"`
	Message    string `json:"message,omitempty"`
	Hint       string `json:"hint,omitempty"`
	More       int    `json:"more,omitempty"`
}

// PolicyEvent is the body of policy.decision and policy.denied.
type PolicyEvent struct {
	Action     string          `json:"action"`
	Tool       string          `json:"tool,omitempty"`
	Target     string          `json:"target,omitempty"`
	Capability string          `json:"capability,omitempty"`
	Scope      []string        `json:"scope,omitempty"`
	Actor      string          `json:"actor,omitempty"`
	Held       json.RawMessage `json:"held,omitempty"`
	Capsule    json.RawMessage `json:"capsule,omitempty"` // which one denies it
	Decision   json.RawMessage `json:"decision,omitempty"`
}

// FloodEvent is the body of policy.prompt.flood.
type FloodEvent struct {
	Pack   string `json:"pack"`
	Reason string `json:"reason"`
}

// EgressCaller is on whose behalf something goes over the network.
type EgressCaller struct {
	Actor   string `json:"actor,omitempty"`
	Pack    string `json:"pack,omitempty"`
	Digest  string `json:"digest,omitempty"`
	Tool    string `json:"tool,omitempty"`
	Action  string `json:"action,omitempty"`
	Corr    string `json:"corr_id,omitempty"`
	Project string `json:"project,omitempty"`
}

// LedgerRow is the body of egress.ledger.appended (docs/spec/egress.md has the meaning of each member).
type LedgerRow struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Kind     string    `json:"kind"`
	Decision string    `json:"decision"`
	Reason   string    `json:"reason"`
	Message  string    `json:"message,omitempty"`
	EgressCaller
	Posture   string         `json:"posture"`
	Lease     string         `json:"lease,omitempty"`
	Scope     string         `json:"scope,omitempty"`
	Rule      string         `json:"rule,omitempty"`
	Policies  []string       `json:"policies,omitempty"`
	Method    string         `json:"method,omitempty"`
	Scheme    string         `json:"scheme,omitempty"`
	Host      string         `json:"host"`
	Port      uint16         `json:"port,omitempty"`
	Path      string         `json:"path,omitempty"`
	Address   string         `json:"address,omitempty"`
	Announced int64          `json:"bytes_announced"`
	Payload   string         `json:"payload,omitempty"`
	Cost      int64          `json:"cost_estimate_microusd,omitempty"`
	Parent    string         `json:"parent,omitempty"`
	State     string         `json:"state,omitempty"`
	Outcome   *EgressOutcome `json:"outcome,omitempty"`
}

// EgressOutcome is what became of a row that was allowed.
type EgressOutcome struct {
	Time     time.Time `json:"time"`
	Status   int       `json:"status,omitempty"`
	Address  string    `json:"address,omitempty"`
	Out      int64     `json:"bytes_out"`
	In       int64     `json:"bytes_in"`
	Payload  string    `json:"payload,omitempty"`
	Millis   int64     `json:"duration_ms"`
	Cost     int64     `json:"cost_microusd,omitempty"`
	Code     string    `json:"code"`
	Error    string    `json:"error,omitempty"`
	Reused   bool      `json:"reused,omitempty"`
	Redirect string    `json:"redirect,omitempty"`
}

// LedgerSettled is the body of egress.ledger.settled.
type LedgerSettled struct {
	ID string `json:"id"`
	EgressCaller
	Host string `json:"host"`
	EgressOutcome
}

// EgressSettings is the body of egress.settings.updated: one of its members.
type EgressSettings struct {
	Posture string          `json:"posture,omitempty"`
	Scope   json.RawMessage `json:"scope,omitempty"`
	Removed string          `json:"removed,omitempty"`
}

// EgressTokenEvent is the body of egress.token.issued and egress.token.revoked; the token's secret is not in it.
type EgressTokenEvent struct {
	ID        string     `json:"id"`
	Actor     string     `json:"actor"`
	Project   string     `json:"project,omitempty"`
	Scope     []string   `json:"scope,omitempty"`
	Expires   *time.Time `json:"expires,omitempty"`
	Calls     int64      `json:"calls,omitempty"`
	Bytes     int64      `json:"bytes,omitempty"`
	UsedCalls int64      `json:"used_calls,omitempty"`
	UsedBytes int64      `json:"used_bytes,omitempty"`
	By        string     `json:"by,omitempty"`
	Reason    string     `json:"reason,omitempty"`
}

// DNSAnomaly is the body of dns.anomaly.
type DNSAnomaly struct {
	Time     time.Time `json:"time"`
	Reason   string    `json:"reason"`
	Severity string    `json:"severity"`
	Who      string    `json:"who,omitempty"`
	Domain   string    `json:"domain,omitempty"`
	Samples  []string  `json:"samples"`
	QPS      float64   `json:"qps,omitempty"`
}

// SecretName is the body of secrets.removed.
type SecretName struct {
	Name string `json:"name"`
}

// SecretsRedacted is the body of secrets.redacted: how many, by rule and by place (log, event or prompt), and never which.
type SecretsRedacted struct {
	Tool  string         `json:"tool"`
	Count int            `json:"count"`
	Rules map[string]int `json:"rules"`
	Where map[string]int `json:"where"`
}

// SecretsFound is the body of secrets.found: how many more of a rule were found at a place since it was last told, and in all
// since the start; never what. Rule is a rule's id, entropy, or vault: and the name of the secret.
type SecretsFound struct {
	Where   string `json:"where"`
	Rule    string `json:"rule"`
	Outcome string `json:"outcome"` // redacted, refused, or kept: it is somebody's data
	Count   uint64 `json:"count"`
	Total   uint64 `json:"total"`
}

// SecretUse is the body of secrets.used.
type SecretUse struct {
	Name    string `json:"name"`
	Use     string `json:"use"`
	Version int64  `json:"version"`
}

// ArchiveEvent is the body of archive.unpacked and archive.blocked.
type ArchiveEvent struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Tool    string `json:"tool"`
	Entries int64  `json:"entries,omitempty"`
	Bytes   int64  `json:"bytes,omitempty"`
	Format  string `json:"format,omitempty"`
	Skipped int64  `json:"skipped,omitempty"`
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Entry   string `json:"entry,omitempty"`
}

// UnitEvent is the body of the events of logic units and of changes of the configuration.
type UnitEvent struct {
	ID            string          `json:"id,omitempty"`
	Version       string          `json:"version,omitempty"`
	Digest        string          `json:"digest,omitempty"`
	Origin        string          `json:"origin,omitempty"`
	Params        json.RawMessage `json:"params,omitempty"`
	ConfigVersion int64           `json:"config_version,omitempty"`
	What          string          `json:"what,omitempty"`
	Docs          []UnitDoc       `json:"docs,omitempty"`
	Computed      json.RawMessage `json:"computed,omitempty"` // what made the patches of a transform
	Permits       json.RawMessage `json:"permits,omitempty"`  // what packs may do more, or no more
	Safety        json.RawMessage `json:"safety,omitempty"`   // what the safety scan found and a person answered for, or only told
}

// UnitRefused is the body of logic.unit.refused.
type UnitRefused struct {
	Ref    string        `json:"ref"`
	Digest string        `json:"digest"`
	Step   string        `json:"step"`
	Error  *EventFailure `json:"error"`
}

// UnitApproved is the body of logic.unit.approved.
type UnitApproved struct {
	ID      string          `json:"id"`
	Version string          `json:"version"`
	Digest  string          `json:"digest"`
	Params  json.RawMessage `json:"params"`
	Scope   string          `json:"scope"`
	Expires time.Time       `json:"expires"`
	Note    string          `json:"note"`
}

// UnitBreached is the body of logic.unit.breached. With Error the unit is still active.
type UnitBreached struct {
	ID      string          `json:"id"`
	Version string          `json:"version"`
	Digest  string          `json:"digest"`
	Scope   string          `json:"scope"`
	Reading json.RawMessage `json:"reading"`
	Error   string          `json:"error,omitempty"`
}

// ExperimentEvent is the body of the events of experiments. Report and CSV are digests in the content store.
type ExperimentEvent struct {
	ID     string `json:"id"`
	Run    int64  `json:"run"`
	Tool   string `json:"tool"`
	Items  int    `json:"items"`
	Winner string `json:"winner"`
	Why    string `json:"why"`
	Error  string `json:"error"`
	Report string `json:"report"`
	CSV    string `json:"csv"`
}

// UnitDoc is one document that a change touched; Before and After are digests.
type UnitDoc struct {
	Target  string `json:"target"`
	Scope   string `json:"scope"`
	Before  string `json:"before"`
	After   string `json:"after"`
	Changes int    `json:"changes"`
}

// IndexEvent is the body of index.refreshed and index.refused.
type IndexEvent struct {
	Index    string     `json:"index"`
	Snapshot int64      `json:"snapshot,omitempty"`
	Expires  *time.Time `json:"expires,omitempty"`
	Packs    int        `json:"packs,omitempty"`
	Code     string     `json:"code,omitempty"`
	Message  string     `json:"message,omitempty"`
	Hint     string     `json:"hint,omitempty"`
}

// PatchEvent is the body of state.read.model.patch.
type PatchEvent struct {
	ID      string    `json:"id"`
	Version int64     `json:"version"`
	Patch   []PatchOp `json:"patch"`
	Deleted bool      `json:"deleted,omitempty"`
}

// PatchOp is one operation of RFC 6902.
type PatchOp struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value,omitempty"`
}
