package host

import (
	"log/slog"
	"time"

	"github.com/arw-project/arw/host/internal/access"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/capsule"
	"github.com/arw-project/arw/host/internal/cas"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/egress"
	"github.com/arw-project/arw/host/internal/experiment"
	"github.com/arw-project/arw/host/internal/infer/serve"
	"github.com/arw-project/arw/host/internal/infer/shelf"
	"github.com/arw-project/arw/host/internal/infer/supervise"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/logic"
	"github.com/arw-project/arw/host/internal/memo"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/host/internal/project"
	"github.com/arw-project/arw/host/internal/prompt"
	"github.com/arw-project/arw/host/internal/quota"
	"github.com/arw-project/arw/host/internal/recall"
	"github.com/arw-project/arw/host/internal/redact"
	"github.com/arw-project/arw/host/internal/review"
	"github.com/arw-project/arw/host/internal/schedule"
	"github.com/arw-project/arw/host/internal/snappy"
	"github.com/arw-project/arw/host/internal/vault"
	"github.com/arw-project/arw/host/internal/view"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/signing"
)

// Services are the parts an edge serves: HTTP handlers and the command line work with these. Each is safe for
// concurrent use and lives as long as the Host.
type Services struct {
	Actions   *action.Executor
	Schedules *schedule.Book
	Packs     *pack.Manager
	Leases    *lease.Book
	Journal   *journal.Journal
	View      *view.View
	CAS       *cas.Store
	Policy    *policy.Live
	Prompts   *prompt.Book
	Logic     *logic.Store
	// Experiments compare candidates of the configuration.
	Experiments *experiment.Book
	Egress      *egress.Guard
	// Capsules are the signed guard-rails that hold above leases and policies.
	Capsules *capsule.Book
	// Reviews are writes that wait for a person.
	Reviews *review.Book
	// Projects are which there are, and what one lets another read.
	Projects *project.Book
	Quotas   *quota.Book
	Trust    *signing.Policy
	Memo     *memo.Memo
	// Recall gives answers again to questions that mean the same.
	Recall *recall.Recall
	Snappy *snappy.Governor
	Vault  *vault.Vault
	Redact *redact.Redactor
	Engine *wasm.Engine // the one that runs packs
	// Shelf holds model files.
	Shelf *shelf.Shelf
	// Models answers requests for inference.
	Models *serve.Service
	// Runtimes is the supervisor; nil until a runtime was needed.
	Runtimes func() *supervise.Supervisor
	DB       func() db.Stats
	// Operator reports in constant time whether a token is the operator's credential.
	Operator func(token string) bool
	Access   *access.Book
	Version  string
	Started  time.Time
	StateDir string
	Log      *slog.Logger
}

// Services returns the parts.
func (h *Host) Services() Services { return h.parts }
