package project

import (
	"cmp"
	"context"
	"database/sql"
	"path"
	"strings"
	"time"
	"unicode"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
)

// DefaultTTL is how long an export holds that says nothing about it.
const DefaultTTL = 24 * time.Hour

// The words of what is exported.
const (
	KV    = "kv"
	State = "state"
	Files = "files"
)

// holder stands where a lease names a version of its pack: an export is a pack's in a project, whatever its version. It is the
// SHA-256 of "arw project export".
const holder = "sha256:20edf5e02f59b3dda4add80c125cf05997436b4f2164662c1f4c08009d360c93"

// Export makes an export on behalf of an actor, whom the edge must have made sure of. Errors: Invalid, Denied by the policies,
// Conflict for a folder that a third project has.
func (b *Book) Export(ctx context.Context, corr, by string, in api.CreateExport) (api.ProjectExport, error) {
	g, e, err := b.grant(by, in)
	if err != nil {
		return api.ProjectExport{}, err
	}
	if g.Policies, err = b.Judge(e); err != nil {
		return api.ProjectExport{}, err
	}
	err = b.DB.Write(ctx, func(tx *sql.Tx) error {
		l, err := b.Leases.GrantTx(tx, corr, g)
		if err != nil {
			return err
		}
		e = exportOf(l)
		return b.tell(tx, KindExported, corr, by, e)
	})
	if err != nil {
		return api.ProjectExport{}, b.DB.Explain("export from project "+e.From, err)
	}
	return e, nil
}

// grant reads what somebody wants to export.
func (b *Book) grant(by string, in api.CreateExport) (lease.Grant, api.ProjectExport, error) {
	bad := func(format string, args ...any) (lease.Grant, api.ProjectExport, error) {
		return lease.Grant{}, api.ProjectExport{}, abi.Errorf(abi.Invalid, "export %.120q from project %.80q: "+format, append([]any{in.What, in.From}, args...)...).
			WithHint("such as: arw project export create --from notes --to report --pack arw/research --what kv:findings/ --ttl 8h")
	}
	from, err := Of(in.From)
	if err != nil {
		return lease.Grant{}, api.ProjectExport{}, err
	}
	to, err := Of(in.To)
	if err != nil {
		return lease.Grant{}, api.ProjectExport{}, err
	}
	ttl := DefaultTTL
	if in.TTL != "" {
		if ttl, err = time.ParseDuration(in.TTL); err != nil {
			return bad("ttl %.40q is not a duration", in.TTL)
		}
	}
	if from == to || in.From == "" || in.To == "" {
		return bad("it goes from one project to another, both named")
	}
	kind, rest, _ := strings.Cut(in.What, ":")
	if strings.ContainsFunc(rest, func(r rune) bool { return r == '*' || unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return bad("a prefix, name or folder has no *, space or control character")
	}
	head := kind + ":" + Name(from) + ":"
	var scope []string
	switch {
	case kind == KV:
		scope = []string{head + rest + "*"}
	case kind == State && strings.HasSuffix(rest, ".") && len(rest) > 1:
		scope = []string{head + rest + "*"}
	case kind == State && rest != "":
		scope = []string{head + rest}
	case kind == Files && path.IsAbs(rest) && path.Clean(rest) == rest && rest != "/":
		scope = []string{head + rest, head + rest + "/*"}
		if err := b.Leases.Folder(from, rest); err != nil {
			return lease.Grant{}, api.ProjectExport{}, err
		}
	default:
		return bad("what is exported reads kv:PREFIX, state:NAME or files:/FOLDER")
	}
	g := lease.Grant{
		Pack: in.Pack, Digest: holder, Capability: lease.Export, Scope: scope, TTL: ttl, Budget: lease.Budget{Calls: in.Calls, Bytes: in.Bytes},
		By: by, Reason: in.Reason, Where: lease.Where{Project: Name(to)},
	}
	e := api.ProjectExport{From: Name(from), To: Name(to), Pack: in.Pack, What: in.What, By: by, Reason: in.Reason}
	return g, e, nil
}

// exportOf reads a lease as the export it is.
func exportOf(l lease.Lease) api.ProjectExport {
	kind, rest, _ := strings.Cut(l.Scope[0], ":")
	from, rest, _ := strings.Cut(rest, ":")
	return api.ProjectExport{
		ID: l.ID, From: from, To: Name(l.Project), Pack: l.Pack, What: kind + ":" + strings.TrimSuffix(rest, "*"), State: l.State,
		Created: l.Created, Expires: l.Expires, Calls: l.Used.Calls, By: l.By, Reason: l.Reason,
	}
}

// Exports are the exports in a state, or all that are not forgotten, the oldest first.
func (b *Book) Exports(state string) []api.ProjectExport {
	out := []api.ProjectExport{}
	for _, l := range b.Leases.List(lease.Filter{Digest: holder, State: state}) {
		out = append(out, exportOf(l))
	}
	return out
}

// Revoke ends an export: the next read under it is refused, also in mid-call. Errors: NotFound, and those of lease.Book.Revoke.
func (b *Book) Revoke(ctx context.Context, corr, by, id, reason string) (api.ProjectExport, error) {
	l, err := b.Leases.Get(id)
	if err != nil || l.Capability != lease.Export {
		return api.ProjectExport{}, abi.Errorf(abi.NotFound, "revoke export %.80q: there is none of that id", id).WithHint("arw project export list")
	}
	if l, err = b.Leases.Revoke(ctx, corr, id, by, cmp.Or(reason, "revoked by the operator")); err != nil {
		return api.ProjectExport{}, err
	}
	e := exportOf(l)
	return e, b.DB.Write(ctx, func(tx *sql.Tx) error { return b.tell(tx, KindRevoked, corr, by, e) })
}

// Forget ends the exports of a pack that was removed with all it kept.
func (b *Book) Forget(ctx context.Context, corr, by, pack string) error {
	for _, e := range b.Exports(lease.Live) {
		if e.Pack == pack {
			if _, err := b.Revoke(ctx, corr, by, e.ID, "the pack was removed"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *Book) tell(tx *sql.Tx, kind, corr, by string, e api.ProjectExport) error {
	from, _ := Of(e.From) // it was read before
	_, err := b.Journal.AppendTx(tx, journal.Event{Kind: kind, Corr: corr, Actor: by, Project: from, Pack: e.Pack, Body: e})
	return err
}

// May asks whether a call of a pack in the project "to" may read something of the project "from", and counts it: the lease is
// looked at, then the policies are asked again, so that what either of them says holds from the next read on. Denied,
// LeaseExpired, LeaseRevoked, BudgetExhausted.
func (b *Book) May(ctx context.Context, pack, to, from, kind, name string, n int) error {
	seat := b.Leases.Holder(pack, holder).At(lease.Where{Project: to})
	_, id, err := seat.Take(ctx, lease.Export, kind+":"+Name(from)+":"+name, n)
	if err != nil {
		return abi.Errorf(abi.CodeOf(err), "read %q of project %q in project %q: %s", kind+":"+name, Name(from), Name(to), ended(err)).
			WithHint("arw project export create --from %s --to %s --pack %s --what %s:%s", Name(from), Name(to), pack, kind, name)
	}
	l, err := b.Leases.Get(id)
	if err != nil {
		return err
	}
	_, err = b.Judge(exportOf(l))
	return err
}

func ended(err error) string {
	switch abi.CodeOf(err) {
	case abi.LeaseExpired:
		return "the export's time is over"
	case abi.LeaseRevoked:
		return "the export was taken back"
	case abi.BudgetExhausted:
		return "the export's budget is spent"
	case abi.Denied:
		return "no export lets it"
	}
	return err.Error()
}

// Folder finds the export that lets a call read a path, and answers the scope of its lease as lease.Seat.Take would for fs.
func (b *Book) Folder(ctx context.Context, pack, to, name string, n int) (scope string, err error) {
	name = path.Clean(name)
	for _, e := range b.Exports(lease.Live) {
		folder, ok := strings.CutPrefix(e.What, Files+":")
		if !ok || e.Pack != pack || e.To != Name(to) || name != folder && !strings.HasPrefix(name, folder+"/") {
			continue
		}
		from, _ := Of(e.From)
		if err = b.May(ctx, pack, to, from, Files, name, n); err == nil {
			return "read:" + folder, nil
		}
	}
	return "", cmp.Or(err, error(abi.Errorf(abi.Denied, "read %q in project %q: no export lets it", name, Name(to))))
}
