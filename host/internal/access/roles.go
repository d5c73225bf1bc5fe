package access

import "slices"

// Capability is what a route needs of its caller.
type Capability string

// What callers may need.
const (
	StateRead     Capability = "state.read"
	EventRead     Capability = "event.read"
	ActionSubmit  Capability = "action.submit"
	ActionRecord  Capability = "action.record"
	EgressPreview Capability = "egress.preview"
	EgressManage  Capability = "egress.manage"
	QueueControl  Capability = "queue.control"
	PackInstall   Capability = "pack.install"
	PackControl   Capability = "pack.control"
	LeaseGrant    Capability = "lease.grant"
	PromptAnswer  Capability = "prompt.answer"
	SecretManage  Capability = "secret.manage"
	PolicyManage  Capability = "policy.manage"
	LogicChange   Capability = "logic.change"
	LogicApprove  Capability = "logic.approve"
	Manage        Capability = "access.manage"
	HostManage    Capability = "host.manage"
	ProjectManage Capability = "project.manage"
	MemoryReview  Capability = "memory.review"
)

// Role is what a principal is here for.
type Role string

// The roles. What changes authority is the operator's alone.
const (
	RoleOperator Role = "operator" // everything
	User         Role = "user"     // looks, and has tools run
	Guest        Role = "guest"    // looks
	Pack         Role = "pack"     // has tools run and follows what comes of it; does not look around
)

// roles is the table: what each role but the operator's may do.
var roles = map[Role][]Capability{
	User:  {StateRead, EventRead, ActionSubmit, EgressPreview, LogicApprove},
	Guest: {StateRead, EventRead},
	Pack:  {ActionSubmit},
}

func (r Role) known() bool { return r == RoleOperator || roles[r] != nil }

// May reports whether the role has a capability; everyone has "".
func (r Role) May(c Capability) bool {
	return c == "" || r == RoleOperator || slices.Contains(roles[r], c)
}
