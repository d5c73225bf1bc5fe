package abi

import "time"

// KVEntry is one key of a list and the size of its value in bytes.
type KVEntry struct {
	Key  []byte
	Size int
}

// KVOp is one step of a batch: a put, or with Delete set a removal.
type KVOp struct {
	Delete bool
	Key    []byte
	Val    []byte
}

// FSList asks for the entries below Path in byte order of their paths, starting behind After; Limit 0 means 1,000 and
// is the most.
type FSList struct {
	Path      string `json:"path"`
	Recursive bool   `json:"recursive,omitempty"`
	After     string `json:"after,omitempty"`
	Limit     int    `json:"limit,omitempty"`
}

// FSEntry describes one file or folder; Path is absolute, Mode is "file", "dir", "symlink" or "other".
type FSEntry struct {
	Path    string `json:"path"`
	Size    int64  `json:"size"`
	Mode    string `json:"mode"`
	MTimeMS int64  `json:"mtime_ms"`
}

// ArchiveUnpack asks to unpack the archive at From, a file of a folder leased for reading, into To, which must not exist or be
// empty, in a folder leased for writing. Zip, tar, gzip and bzip2 are known. Limits can only be lowered below the host's.
type ArchiveUnpack struct {
	From            string `json:"from"`
	To              string `json:"to"`
	StripComponents int    `json:"strip_components,omitempty"` // leading folders taken off each name
	Nested          bool   `json:"nested,omitempty"`           // unpack archives found inside, too
	SkipLinks       bool   `json:"skip_links,omitempty"`       // leave out links instead of refusing the archive
	MaxTotalBytes   int64  `json:"max_total_bytes,omitempty"`
	MaxEntries      int    `json:"max_entries,omitempty"`
	MaxDepth        int    `json:"max_depth,omitempty"`
}

// ArchiveUnpacked is what was made.
type ArchiveUnpacked struct {
	Format  string `json:"format"`
	Files   int    `json:"files"`
	Folders int    `json:"folders"`
	Bytes   int64  `json:"bytes"`
	Skipped int    `json:"skipped"`
	Depth   int    `json:"depth"` // of the deepest archive inside; 1 is the archive itself
}

// ModTime is MTimeMS as a time.
func (e FSEntry) ModTime() time.Time { return time.UnixMilli(e.MTimeMS).UTC() }

// HTTPRequest is what a guest wants to send. Headers are pairs of name and value in the order of sending. Redirect is "follow"
// (also when empty: each hop is judged anew) or "manual". TimeoutMS bounds the wait for the answer's head and MaxBytes the answer's
// body, each within the host's own bounds; 0 is those.
type HTTPRequest struct {
	Method    string      `json:"method,omitempty"` // GET when empty
	URL       string      `json:"url"`
	Headers   [][2]string `json:"headers,omitempty"`
	Redirect  string      `json:"redirect,omitempty"`
	TimeoutMS int64       `json:"timeout_ms,omitempty"`
	MaxBytes  int64       `json:"max_bytes,omitempty"`
	Protocols []string    `json:"protocols,omitempty"` // of a WebSocket
	// Secrets are names of tokens that the host puts into the request, for their audience only; each needs a lease of secret.
	Secrets []string `json:"secrets,omitempty"`
}

// HTTPResponse is the head of an answer. Handle is where its body is read, or what a WebSocket is called; URL is the one that
// answered; Length is that of the body as the server announced it, -1 when it did not; Ledger is the row of the host's ledger.
type HTTPResponse struct {
	Handle   uint32      `json:"handle"`
	Status   int         `json:"status"`
	URL      string      `json:"url"`
	Headers  [][2]string `json:"headers"`
	Length   int64       `json:"length"`
	Protocol string      `json:"protocol,omitempty"` // of a WebSocket
	Ledger   string      `json:"ledger,omitempty"`
}

// MaxHandles is how many handles of fs, http and infer one call may have open at a time.
const MaxHandles = 16

// MaxMessage bounds a message of a WebSocket, in bytes.
const MaxMessage = 1 << 20

// Kinds of a WebSocket's messages.
const (
	MessageText  = 1
	MessageBytes = 2
)
