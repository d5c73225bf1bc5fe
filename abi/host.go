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

// ModTime is MTimeMS as a time.
func (e FSEntry) ModTime() time.Time { return time.UnixMilli(e.MTimeMS).UTC() }
