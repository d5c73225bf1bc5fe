package host

import (
	"github.com/arw-project/arw/host/internal/access"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/capsule"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/egress"
	"github.com/arw-project/arw/host/internal/experiment"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/kv"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/logic"
	"github.com/arw-project/arw/host/internal/memo"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/project"
	"github.com/arw-project/arw/host/internal/prompt"
	"github.com/arw-project/arw/host/internal/queue/local"
	"github.com/arw-project/arw/host/internal/quota"
	"github.com/arw-project/arw/host/internal/review"
	"github.com/arw-project/arw/host/internal/schedule"
	"github.com/arw-project/arw/host/internal/vault"
	"github.com/arw-project/arw/host/internal/view"
)

// schema is every owner's tables, in the order of the ladder.
func schema() []db.Migration {
	return []db.Migration{
		{Owner: "journal", Steps: journal.Schema},
		{Owner: "kv", Steps: kv.Schema},
		{Owner: "view", Steps: view.Schema},
		{Owner: "lease", Steps: lease.Schema},
		{Owner: "vault", Steps: vault.Schema},
		{Owner: "logic", Steps: logic.Schema},
		{Owner: "memo", Steps: memo.Schema},
		{Owner: "pack", Steps: pack.Schema},
		{Owner: "queue", Steps: local.Schema},
		{Owner: "action", Steps: action.Schema},
		{Owner: "schedule", Steps: schedule.Schema},
		{Owner: "egress", Steps: egress.Schema},
		{Owner: "prompt", Steps: prompt.Schema},
		{Owner: "project", Steps: project.Schema},
		{Owner: "review", Steps: review.Schema},
		{Owner: "access", Steps: access.Schema},
		{Owner: "capsule", Steps: capsule.Schema},
		{Owner: "quota", Steps: quota.Schema},
		{Owner: "experiment", Steps: experiment.Schema},
	}
}
