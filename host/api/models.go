package api

// HeaderVersion carries the version of a document of /state: the one that the next patch event is counted from.
const HeaderVersion = "X-Arw-Version"

// EpisodeSnapshot is GET /state/episode/ID/snapshot.
type EpisodeSnapshot struct {
	Version   int64   `json:"version"` // the last event when it was taken
	Episode   any     `json:"episode"`
	Items     []Event `json:"items"` // the events, in order
	Truncated bool    `json:"truncated,omitempty"`
	Config    any     `json:"effective_config,omitempty"` // as it is now
}

// JournalPage is GET /admin/events/journal: records behind the one asked for, in order. Ask again with after=next; a page
// without items is the end for now.
type JournalPage struct {
	Last  int64   `json:"last"` // the newest record of the journal
	Next  int64   `json:"next"`
	Items []Event `json:"items"`
}
