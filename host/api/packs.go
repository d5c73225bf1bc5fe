package api

// UpgradePack is the body of POST /packs/{ns}/{name}/upgrade. A dry run answers the plan; else the answer is as for an
// install.
type UpgradePack struct {
	To           string `json:"to,omitempty"`  // a version; empty is the newest
	Ref          string `json:"ref,omitempty"` // a whole reference instead, as a plan names it
	DryRun       bool   `json:"dry_run,omitempty"`
	Downgrade    bool   `json:"downgrade,omitempty"`     // take a lower version
	AcceptSigner bool   `json:"accept_signer,omitempty"` // take another signer
	Again        bool   `json:"again,omitempty"`         // take a digest that was rolled back
	Accept       bool   `json:"accept,omitempty"`        // give what widens at once
	Reason       string `json:"reason,omitempty"`
	// AllowUnsigned is as for an install.
	AllowUnsigned string `json:"allow_unsigned,omitempty"`
}

// RollbackPack is the body of POST /packs/{ns}/{name}/rollback; it may be empty.
type RollbackPack struct {
	To     string `json:"to,omitempty"` // a version or digest that is kept; empty is the last one replaced
	Reason string `json:"reason,omitempty"`
}

// SuspendPack is the body of POST /packs/{ns}/{name}/suspend and /resume.
type SuspendPack struct {
	Reason string `json:"reason,omitempty"`
}

// AcceptHeld is the body of POST /packs/{ns}/{name}/accept; no items means all that are held.
type AcceptHeld struct {
	Items []string `json:"items,omitempty"` // "tool:a.b", "capability:fs"
}

// SyncPacks is the body of POST /sync. The answer lists every pack and what became of it; a refusal is a problem whose
// data is that list.
type SyncPacks struct {
	Lock          string   `json:"lock"` // text of the lock file
	DryRun        bool     `json:"dry_run,omitempty"`
	Prune         bool     `json:"prune,omitempty"`
	Registry      string   `json:"registry,omitempty"`
	AllowUnsigned []string `json:"allow_unsigned,omitempty"` // digests
}
