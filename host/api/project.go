package api

import "time"

// DefaultProject names what belongs to no other project: calls without one, and what was stored before there were any. On
// the wire it is an absent field.
const DefaultProject = "default"

// HeaderProject names the project of a request to the MCP door.
const HeaderProject = "X-Arw-Project"

// Project is one project.
type Project struct {
	ID      string    `json:"id"`
	Title   string    `json:"title,omitempty"`
	Created time.Time `json:"created"`
	By      string    `json:"by"`
	// Archived is when its operator closed it; zero: calls may be of it.
	Archived time.Time `json:"archived,omitzero"`
}

// CreateProject is the body of POST /projects.
type CreateProject struct {
	ID    string `json:"id"`
	Title string `json:"title,omitempty"`
}

// CreateExport is the body of POST /projects/exports: a pack, in the project To, may read what it wrote in the project From. What
// is "kv:PREFIX", "state:NAME" (or "state:BEGINNING.") or "files:/FOLDER".
type CreateExport struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Pack   string `json:"pack"`
	What   string `json:"what"`
	TTL    string `json:"ttl,omitempty"` // 24h
	Calls  int64  `json:"calls,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// ProjectExport is an export; its id is that of the lease that it is.
type ProjectExport struct {
	ID      string    `json:"id"`
	From    string    `json:"from"`
	To      string    `json:"to"`
	Pack    string    `json:"pack"`
	What    string    `json:"what"`
	State   string    `json:"state"` // live, expired, revoked, exhausted
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Calls   int64     `json:"calls"` // reads so far
	By      string    `json:"by"`
	Reason  string    `json:"reason,omitempty"`
}

// ProjectEvent is the body of project.created.
type ProjectEvent = Project

// ExportEvent is the body of project.export.created and project.export.revoked.
type ExportEvent = ProjectExport

// ShowProject is a project with what it lets others read and what others let it read.
type ShowProject struct {
	Project
	Out []ProjectExport `json:"exports"`
	In  []ProjectExport `json:"imports"`
}
