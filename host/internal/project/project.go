// Package project keeps one promise: what the calls of one project wrote, the calls of another neither see nor change, except
// where an export that is in force says so, and then they only read.
//
// Every store keeps the project beside what it stores; this package knows the names of projects, which of them there are, and
// the exports. An export is a lease (capability lease.Export) of a pack in the project that reads, so that its time, budget,
// revocation and journal are those of every lease: the next host call after its end is refused. docs/spec/projects.md is
// normative.
package project

import (
	"context"
	"database/sql"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
)

// Schema is project's part of the database.
var Schema = []string{`
CREATE TABLE project (
	id         TEXT PRIMARY KEY,
	title      TEXT NOT NULL,
	created_ms INTEGER NOT NULL,
	by         TEXT NOT NULL
) STRICT;`, `ALTER TABLE project ADD COLUMN archived_ms INTEGER NOT NULL DEFAULT 0;`}

// The kinds of events.
const (
	KindCreated  = "project.created"        // body: api.Project
	KindArchived = "project.archived"       // body: api.Project
	KindRestored = "project.restored"       // body: api.Project
	KindExported = "project.export.created" // body: api.ProjectExport
	KindRevoked  = "project.export.revoked" // body: api.ProjectExport
)

// Default is the name of the project of calls that name none; inside the host it is "".
const Default = api.DefaultProject

// MaxProjects bounds what callers can make by naming it.
const MaxProjects = 10_000

var form = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// Of is a project as stores keep it: "" for the default one, whether it is named or not. Invalid.
func Of(given string) (string, error) {
	if given == "" || given == Default {
		return "", nil
	}
	if !form.MatchString(given) {
		return "", abi.Errorf(abi.Invalid, "name a project %.80q: a name has 1 to 63 of a-z, 0-9 and, not at the beginning, . _ -", given).
			WithHint("leave it out for the default project")
	}
	return given, nil
}

// Name is the inverse of Of.
func Name(id string) string {
	if id == "" {
		return Default
	}
	return id
}

const docPrefix = "project/"

// DocID is the name, among all documents, of a pack's read model in a project.
func DocID(id, name string) string {
	if id == "" {
		return name
	}
	return docPrefix + id + "/" + name
}

// OfDoc is the inverse of DocID.
func OfDoc(doc string) (id, name string) {
	if rest, ok := strings.CutPrefix(doc, docPrefix); ok {
		if id, name, ok := strings.Cut(rest, "/"); ok && form.MatchString(id) {
			return id, name
		}
	}
	return "", doc
}

// foreign begins the name of what another project exports: //PROJECT/NAME.
const foreign = "//"

// Foreign splits the name of something that another project exports. Any name that begins with two slashes is one; Invalid for
// one that names no project.
func Foreign(name string) (from, rest string, is bool, err error) {
	s, ok := strings.CutPrefix(name, foreign)
	if !ok {
		return "", name, false, nil
	}
	from, rest, ok = strings.Cut(s, "/")
	if !ok || from == "" {
		return "", "", true, abi.Errorf(abi.Invalid, "read %.80q: what begins with // belongs to another project and is written //PROJECT/NAME", name)
	}
	from, err = Of(from)
	return from, rest, true, err
}

// Parts are what a Book stands on; all are needed.
type Parts struct {
	DB      *db.DB
	Journal *journal.Journal
	Leases  *lease.Book
	// Judge asks the policies about an export, when it is made and at every use of it.
	Judge func(e api.ProjectExport) (policies []string, err error)
	// Open lets the first call that names a project make it; else only its operator makes one.
	Open bool
}

// Book knows the projects of a host. It is safe for concurrent use.
type Book struct {
	Parts

	mu    sync.RWMutex
	known map[string]api.Project // by id; the default one is not among them
}

// Open reads which projects there are.
func Open(ctx context.Context, p Parts) (*Book, error) {
	b := &Book{Parts: p, known: map[string]api.Project{}}
	rows, err := p.DB.Read().QueryContext(ctx, `SELECT id, title, created_ms, by, archived_ms FROM project`)
	if err != nil {
		return nil, p.DB.Explain("read the projects", err)
	}
	defer rows.Close()
	for rows.Next() {
		var e api.Project
		var created, archived int64
		if err := rows.Scan(&e.ID, &e.Title, &created, &e.By, &archived); err != nil {
			return nil, p.DB.Explain("read the projects", err)
		}
		if e.Created = time.UnixMilli(created).UTC(); archived > 0 {
			e.Archived = time.UnixMilli(archived).UTC()
		}
		b.known[e.ID] = e
	}
	return b, p.DB.Explain("read the projects", rows.Err())
}

// Create makes a project. Errors: Invalid for its name, Conflict when there is one, Busy beyond MaxProjects.
func (b *Book) Create(ctx context.Context, corr, by string, in api.CreateProject) (api.Project, error) {
	return b.create(ctx, journal.Event{Corr: corr, Actor: by}, in)
}

// create makes a project, on whose behalf and in the course of what the event says.
func (b *Book) create(ctx context.Context, of journal.Event, in api.CreateProject) (api.Project, error) {
	id, err := Of(in.ID)
	switch {
	case err != nil:
		return api.Project{}, err
	case id == "":
		return api.Project{}, abi.Errorf(abi.Conflict, "create project %q: it is there from the beginning", Default)
	case len(in.Title) > 200:
		return api.Project{}, abi.Errorf(abi.TooLarge, "create project %q: a title has at most 200 bytes", id)
	}
	p := api.Project{ID: id, Title: in.Title, By: of.Actor, Created: time.Now().UTC().Truncate(time.Millisecond)}
	b.mu.RLock()
	n := len(b.known)
	b.mu.RUnlock()
	if n >= MaxProjects {
		return api.Project{}, abi.Errorf(abi.Busy, "create project %q: there are %d, the most this host keeps", id, MaxProjects)
	}
	err = b.DB.Write(ctx, func(tx *sql.Tx) error {
		res, err := tx.Exec(`INSERT INTO project (id, title, created_ms, by) VALUES (?,?,?,?) ON CONFLICT DO NOTHING`, p.ID, p.Title, p.Created.UnixMilli(), p.By)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return abi.Errorf(abi.Conflict, "create project %q: there is one", id)
		}
		_, err = b.Journal.AppendTx(tx, journal.Event{Kind: KindCreated, Corr: of.Corr, Actor: of.Actor, Project: id, Pack: of.Pack, Action: of.Action, Body: p})
		return err
	})
	if err != nil {
		return api.Project{}, b.DB.Explain("create project "+id, err)
	}
	b.mu.Lock()
	b.known[id] = p
	b.mu.Unlock()
	return p, nil
}

// Known refuses what is not there to be worked in: NotFound for a project that nobody made, unless calls make them, Conflict for one that is
// archived.
func (b *Book) Known(id string) error {
	if id == "" {
		return nil
	}
	b.mu.RLock()
	p, ok := b.known[id]
	b.mu.RUnlock()
	switch {
	case ok && !p.Archived.IsZero():
		return abi.Errorf(abi.Conflict, "enter project %q: it is archived since %s", id, p.Archived.Format(time.RFC3339)).
			WithHint("its operator opens it again: arw project restore %s", id)
	case !ok && !b.Open:
		return abi.Errorf(abi.NotFound, "enter project %q: there is none of that name", id).
			WithHint("arw project list; the operator makes it: arw project add %s", id)
	}
	return nil
}

// Archive closes a project, or opens it again: no call enters one that is closed, and what it keeps stays. Errors: NotFound; Conflict when
// it is so already, and for the default one.
func (b *Book) Archive(ctx context.Context, corr, by, id string, closed bool) (api.Project, error) {
	doing, kind := "archive", KindArchived
	if !closed {
		doing, kind = "restore", KindRestored
	}
	b.mu.RLock()
	p, ok := b.known[id]
	b.mu.RUnlock()
	switch {
	case id == Default:
		return p, abi.Errorf(abi.Conflict, "%s project %q: it is there as long as the host is", doing, id)
	case !ok:
		return p, abi.Errorf(abi.NotFound, "%s project %.80q: there is none of that name", doing, id).WithHint("arw project list")
	case p.Archived.IsZero() == !closed:
		return p, abi.Errorf(abi.Conflict, "%s project %q: that has happened already", doing, id)
	}
	var ms int64
	if p.Archived = (time.Time{}); closed {
		p.Archived = time.Now().UTC().Truncate(time.Millisecond)
		ms = p.Archived.UnixMilli()
	}
	err := b.DB.Write(ctx, func(tx *sql.Tx) error {
		res, err := tx.Exec(`UPDATE project SET archived_ms = ?1 WHERE id = ?2 AND (archived_ms > 0) <> (?1 > 0)`, ms, id)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 { // somebody was faster
			return abi.Errorf(abi.Conflict, "%s project %q: that has happened already", doing, id)
		}
		_, err = b.Journal.AppendTx(tx, journal.Event{Kind: kind, Corr: corr, Actor: by, Project: id, Body: p})
		return err
	})
	if err != nil {
		return api.Project{}, b.DB.Explain(doing+" project "+id, err)
	}
	b.mu.Lock()
	b.known[id] = p
	b.mu.Unlock()
	return p, nil
}

// Enter notes the project of a call. Errors are Known's; where calls make projects, the first one that names a project does.
func (b *Book) Enter(ctx context.Context, of journal.Event) error {
	id := of.Project
	if err := b.Known(id); err != nil || id == "" {
		return err
	}
	b.mu.RLock()
	_, ok := b.known[id]
	b.mu.RUnlock()
	if ok {
		return nil
	}
	_, err := b.create(ctx, of, api.CreateProject{ID: id})
	if abi.CodeOf(err) == abi.Conflict { // another call was faster
		return nil
	}
	return err
}

// List is all projects, the default one first.
func (b *Book) List() []api.Project {
	b.mu.RLock()
	defer b.mu.RUnlock()
	all := []api.Project{}
	for _, p := range b.known {
		all = append(all, p)
	}
	slices.SortFunc(all, func(x, y api.Project) int { return strings.Compare(x.ID, y.ID) })
	return append([]api.Project{{ID: Default, Title: "what belongs to no other project", By: "host"}}, all...)
}

// Show is one project with its exports in force; NotFound.
func (b *Book) Show(id string) (api.ShowProject, error) {
	for _, p := range b.List() {
		if p.ID != id {
			continue
		}
		out := api.ShowProject{Project: p, Out: []api.ProjectExport{}, In: []api.ProjectExport{}}
		for _, e := range b.Exports(lease.Live) {
			if e.From == id {
				out.Out = append(out.Out, e)
			}
			if e.To == id {
				out.In = append(out.In, e)
			}
		}
		return out, nil
	}
	return api.ShowProject{}, abi.Errorf(abi.NotFound, "show project %.80q: there is none of that name", id).WithHint("arw project list")
}
