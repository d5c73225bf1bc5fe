package server

import (
	"slices"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/access"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/spec"
)

// route is one line of the table below: who may call it, what answers, and what OpenAPI says of it. The table is the only
// place of each. Need is "" where nobody has to say who they are.
type route struct {
	method, path string
	need         access.Capability
	handle       fiber.Handler
	doc
}

// doc is the part of a route that only the specification reads; the rest of an operation comes from the row.
type doc = spec.Op

// Short names of what a caller needs, for the table.
const (
	stateRead     = access.StateRead
	eventRead     = access.EventRead
	actionSubmit  = access.ActionSubmit
	actionRecord  = access.ActionRecord
	queueControl  = access.QueueControl
	packInstall   = access.PackInstall
	packControl   = access.PackControl
	leaseGrant    = access.LeaseGrant
	promptAnswer  = access.PromptAnswer
	secretManage  = access.SecretManage
	egressPreview = access.EgressPreview
	egressManage  = access.EgressManage
	policyManage  = access.PolicyManage
	logicChange   = access.LogicChange
	logicApprove  = access.LogicApprove
	accessManage  = access.Manage
	hostManage    = access.HostManage
	projectManage = access.ProjectManage
	memoryReview  = access.MemoryReview
)

// packCodes are why a pack is not put in place.
var packCodes = []abi.Code{abi.NotFound, abi.Untrusted, abi.Conflict, abi.Unsupported, abi.Corrupt, abi.Unavailable}

func (s *Server) routes() []route {
	return slices.Concat(s.logicRoutes(), s.unitRoutes(), s.experimentRoutes(), s.lifecycleRoutes(), s.authorityRoutes(), s.capsuleRoutes(), s.secretRoutes(), s.egressRoutes(), s.queueRoutes(), s.journalRoutes(), s.specRoutes(), s.accessRoutes(), s.openAIRoutes(), s.projectRoutes(), s.reviewRoutes(), []route{
		{"GET", "/healthz", "", s.getHealth, doc{Summary: "Whether the host is well", Out: api.Health{}}},
		{"POST", "/safe-mode/exit", hostManage, s.postLeaveSafe, doc{Summary: "Let packs run again", Out: api.Health{}, Codes: []abi.Code{abi.Conflict, abi.NotFound}}},
		{"GET", "/metrics", "", s.getMetrics, doc{Summary: "Series for Prometheus", Media: "text/plain"}},
		{"POST", "/actions", actionSubmit, s.postAction, doc{Summary: "Submit an action; with Prefer: wait=SECONDS, and hold on for its end", In: api.SubmitAction{}, Out: api.Action{}, Also: 202, Codes: []abi.Code{abi.NotFound, abi.Conflict, abi.Unavailable, abi.Unsupported}}},
		{"GET", "/actions/:id", stateRead, s.getAction, doc{Summary: "One action and what became of it", Out: api.Action{}}},
		{"POST", "/actions/:id/cancel", actionSubmit, s.cancelAction, doc{Summary: "Take an action back", Out: api.Action{}, Codes: []abi.Code{abi.Conflict}}},
		{"PUT", "/actions/:id/stream", actionSubmit, s.putStream, doc{Summary: "Give a call a piece of its input", Query: "offset last", Takes: "application/octet-stream", Out: api.StreamIn{}, Codes: []abi.Code{abi.Conflict, abi.Busy}}},
		{"GET", "/actions/:id/stream", actionSubmit, s.getStream, doc{Summary: "Take a call's output while it runs", Media: "application/octet-stream", Codes: []abi.Code{abi.Conflict, abi.Busy, abi.Unsupported}}},
		{"GET", "/actions/:id/record", actionRecord, s.getRecord, doc{Summary: "The record of a call", Media: "application/octet-stream", Codes: []abi.Code{abi.Conflict}}},
		{"POST", "/actions/:id/replay", actionRecord, s.postReplay, doc{Summary: "Run a recorded call again and compare", In: api.ReplayAction{}, Optional: true, Out: api.Replay{}, Codes: []abi.Code{abi.Conflict}}},
		{"GET", "/events", eventRead, s.getEvents, doc{Summary: "Follow what happens, as server-sent events", Query: "after replay prefix corr_id pack action project", Media: "text/event-stream", Codes: []abi.Code{abi.Busy}}},
		{"GET", "/packs/:ns/:name", stateRead, s.getPack, doc{Summary: "An installed pack", Out: pack.Info{}}},
		{"GET", "/packs/:ns/:name/verdict", stateRead, s.getVerdict, doc{Summary: "Why a pack runs, or why it does not", Out: pack.Why{}}},
		{"POST", "/packs", packInstall, s.postPack, doc{Summary: "Install a pack; newline-delimited JSON shows the progress", In: api.InstallPack{}, Out: pack.Verdict{}, Status: 201, Codes: packCodes}},
		{"DELETE", "/packs/:ns/:name", packInstall, s.deletePack, doc{Summary: "Remove a pack, and with purge what it stored", Query: "purge"}},
		{"POST", "/index/refresh", packInstall, s.postIndexRefresh, doc{Summary: "Ask the signed index for news", Out: spec.Any{}, Codes: []abi.Code{abi.NotFound, abi.Unavailable, abi.Untrusted}}},
		{"GET", "/blobs/:digest", stateRead, s.getBlob, doc{Summary: "A blob by its digest: a file of an installed pack; to the operator any other too", Media: "application/octet-stream", Ranges: true, Codes: []abi.Code{abi.Invalid, abi.Corrupt}}},
		{"GET", "/models/by-hash/:sha256", stateRead, s.getModelFile, doc{Summary: "A model file of the shelf by the digits of its digest", Media: "application/octet-stream", Ranges: true, Codes: []abi.Code{abi.Invalid, abi.NotFound, abi.DigestMismatch}}},
		{"GET", "/recall", stateRead, s.getRecall, doc{Summary: "What may be given again for each tool, project and person, now", Out: api.Recall{}}},
		{"DELETE", "/recall", hostManage, s.deleteRecall, doc{Summary: "Forget answers that could be given again: all, or those that fit", Query: "pack project person", Out: api.RecallForgotten{}}},
		{"POST", "/leases", leaseGrant, s.postLease, doc{Summary: "Grant a lease", In: api.GrantLease{}, Out: lease.Wire{}, Status: 201, Codes: []abi.Code{abi.NotFound}}},
		{"DELETE", "/leases/:id", leaseGrant, s.deleteLease, doc{Summary: "Take a lease back", Query: "reason", Out: lease.Wire{}}},
	}, s.modelRoutes())
}
