package api

// HeaderVersion carries the version of a document of /state: the one that the next patch event is counted from.
const HeaderVersion = "X-Arw-Version"

// EpisodeSnapshot is GET /state/episode/ID/snapshot.
type EpisodeSnapshot struct {
	Version   int64   `json:"version"` // the last event when it was taken
	Episode   any     `json:"episode"`
	Items     []Event `json:"items"` // the events, in order
	Truncated bool    `json:"truncated,omitempty"`
	// The configuration as it was when the episode began, and its version: its documents for the one project and the one
	// agent of the episode, where there is one. Changes made meanwhile are later versions.
	ConfigVersion int64 `json:"config_version"`
	Config        any   `json:"effective_config,omitempty"`
	// ConfigProblem says why the documents cannot be made any more: this host's schemas have moved on.
	ConfigProblem string `json:"config_problem,omitempty"`
}

// JournalPage is GET /admin/events/journal: records behind the one asked for, in order. Ask again with after=next; a page
// without items is the end for now.
type JournalPage struct {
	Last  int64   `json:"last"` // the newest record of the journal
	Next  int64   `json:"next"`
	Items []Event `json:"items"`
}
