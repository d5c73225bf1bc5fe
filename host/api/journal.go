package api

// RedactJournal is the body of POST /admin/journal/redact: either an event and a place, or a value.
type RedactJournal struct {
	ID     int64  `json:"id,omitempty"`     // of the event
	Path   string `json:"path,omitempty"`   // JSON Pointer into its body
	Value  string `json:"value,omitempty"`  // taken out wherever it stands; it is neither logged nor journaled
	Reason string `json:"reason,omitempty"` // for the journal
}

// RedactedJournal is the answer.
type RedactedJournal struct {
	Redactions []JournalRedacted `json:"redactions"`
	Documents  []string          `json:"documents,omitempty"` // read models that had the value
	// Left says that the value still stands in the database's files, in tables that are not the journal's.
	Left bool `json:"left,omitempty"`
}

// JournalRedacted is the body of journal.redacted.
type JournalRedacted struct {
	By      string           `json:"by"` // path or value
	Reason  string           `json:"reason,omitempty"`
	Records []RedactedRecord `json:"records"`
}

// RedactedRecord is one record of whose body a part was taken out.
type RedactedRecord struct {
	ID    int64    `json:"id"`
	Paths []string `json:"paths"`
	Count int      `json:"count"`
	Sum   string   `json:"sum"` // salted sum of the body that stands there now
}

// JournalPruned is the body of journal.pruned.
type JournalPruned struct {
	From  int64  `json:"from"`
	To    int64  `json:"to"`
	Count int64  `json:"count"`
	Hash  string `json:"hash"` // of the last record removed
	Seq   int64  `json:"seq"`  // the checkpoint that vouched for it
}
