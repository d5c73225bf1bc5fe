package abi

// Code is the stable number of one kind of failure: a guest sees it as the errno of a host call, an HTTP client as the
// status and "code" of a problem document, a reader as a line of docs/spec/errors.md. Numbers are never reused.
type Code uint32

// The codes. What each means, its HTTP status and what a person does next stand in Codes, the one table.
const (
	OK Code = iota
	More
	Invalid
	NotFound
	Denied
	Unauthenticated
	LeaseExpired
	LeaseRevoked
	BudgetExhausted
	Untrusted
	Unsigned
	DigestMismatch
	Corrupt
	TooLarge
	Unsupported
	Incompatible
	Conflict
	Busy
	Unavailable
	Deadline
	Cancelled
	GasExhausted
	MemoryExhausted
	DepthExceeded
	Trap
	Exited
	Quarantined
	Interrupted
	ToolFailed
	StorageFull
	Internal
	NoModel
)

// CodeInfo is one row of the table.
type CodeInfo struct {
	Code   Code
	Name   string // the word on the wire
	Status int    // HTTP status at the edge
	Doc    string // what happened, for a person
	Next   string // what that person does next
}

// Codes is the table, indexed by Code.
var Codes = [...]CodeInfo{
	OK:              {OK, "ok", 200, "done", ""},
	More:            {More, "more", 200, "the reply is larger than the buffer that was offered", "collect it with io.take"},
	Invalid:         {Invalid, "invalid", 400, "the request is malformed or does not fit its schema", "mend the named field and send it again"},
	NotFound:        {NotFound, "not_found", 404, "the named thing does not exist here", "check the name; list what there is"},
	Denied:          {Denied, "denied", 403, "policy or a missing lease refuses this", "add the named capability to pack.toml or ask the operator for a lease"},
	Unauthenticated: {Unauthenticated, "unauthenticated", 401, "this changes authority and needs the operator's credential", "send the operator token"},
	LeaseExpired:    {LeaseExpired, "lease_expired", 403, "the lease for this ran out", "have the operator grant a new lease"},
	LeaseRevoked:    {LeaseRevoked, "lease_revoked", 403, "the lease for this was taken back", "ask the operator why; a new lease is needed"},
	BudgetExhausted: {BudgetExhausted, "budget_exhausted", 403, "the lease's budget is spent", "have the operator grant a larger budget"},
	Untrusted:       {Untrusted, "untrusted", 403, "no signature on this satisfies the trust policy", "see the reasons; extend trust.toml only if you know the signer"},
	Unsigned:        {Unsigned, "unsigned", 403, "nothing signed this", "sign it, or admit that one digest by hand"},
	DigestMismatch:  {DigestMismatch, "digest_mismatch", 422, "the bytes are not the ones that were named", "fetch again from a source you trust"},
	Corrupt:         {Corrupt, "corrupt", 500, "stored bytes do not read back as they were written", "restore the named file from a backup"},
	TooLarge:        {TooLarge, "too_large", 413, "the payload is above the stated limit", "send less, or raise the limit"},
	Unsupported:     {Unsupported, "unsupported", 422, "this host does not do that", "see the message for what it does instead"},
	Incompatible:    {Incompatible, "incompatible", 422, "the module and this host do not share a contract", "rebuild for the ABI the message names"},
	Conflict:        {Conflict, "conflict", 409, "the state it would change is not the state it expects", "read the current state and try again"},
	Busy:            {Busy, "busy", 429, "too much work is waiting", "wait and try again"},
	Unavailable:     {Unavailable, "unavailable", 503, "something this needs does not answer", "see the message for what and where"},
	Deadline:        {Deadline, "deadline", 504, "the time for this ran out", "raise the tool's time limit or ask for less"},
	Cancelled:       {Cancelled, "cancelled", 409, "the caller took it back", ""},
	GasExhausted:    {GasExhausted, "gas_exhausted", 422, "the call used up its instruction budget", "raise the tool's gas limit or ask for less"},
	MemoryExhausted: {MemoryExhausted, "memory_exhausted", 422, "the guest asked for more memory than its limit", "raise the tool's memory limit"},
	DepthExceeded:   {DepthExceeded, "depth_exceeded", 422, "calls nested too deep", "bound the recursion"},
	Trap:            {Trap, "trap", 422, "the guest crashed", "report it to the pack's author with the message"},
	Exited:          {Exited, "exited", 422, "the guest ended its own process in mid-call", "report it to the pack's author"},
	Quarantined:     {Quarantined, "quarantined", 503, "the pack failed too often and rests", "wait for the stated time, or reinstall it"},
	Interrupted:     {Interrupted, "interrupted", 500, "the host stopped while this was running", "submit it again"},
	ToolFailed:      {ToolFailed, "tool_failed", 422, "the tool itself answered with an error", "see its message"},
	StorageFull:     {StorageFull, "storage_full", 507, "the disk is full", "free space; nothing was lost"},
	Internal:        {Internal, "internal", 500, "a fault of the host", "report it with the correlation id"},
	NoModel:         {NoModel, "no_model_configured", 503, "no model is configured that could answer", "arw model pull, or arw model add; runtimes.toml says how it runs"},
}

// Info returns the row of a code; an unknown number has Internal's row.
func (c Code) Info() CodeInfo {
	if int(c) < len(Codes) {
		return Codes[c]
	}
	return Codes[Internal]
}

// String is the word on the wire.
func (c Code) String() string { return c.Info().Name }

// CodeByName is the inverse of String; false for a word that is not in the table.
func CodeByName(name string) (Code, bool) {
	for _, row := range Codes {
		if row.Name == name {
			return row.Code, true
		}
	}
	return Internal, false
}
