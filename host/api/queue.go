package api

// QueueEvent is the body of queue.paused and queue.resumed.
type QueueEvent struct {
	Reason  string `json:"reason,omitempty"`
	Running int    `json:"running"`
	Waiting int    `json:"waiting"`
}

// CacheEvent is the body of tool.cache; docs/spec/events.md has what each field means.
type CacheEvent struct {
	Tool    string `json:"tool"`
	Outcome string `json:"outcome"`
	Elapsed int64  `json:"elapsed_ns"`
	Key     string `json:"key"`
	Digest  string `json:"digest,omitempty"`
	Bytes   int    `json:"payload_bytes,omitempty"`
	Age     int64  `json:"age_ns,omitempty"`
	Saved   int64  `json:"saved_ns,omitempty"`
	Code    string `json:"code,omitempty"`
}

// CachePolicy is the document cache_policy and the body of cache.policy.reloaded: docs/spec/cache.md.
type CachePolicy struct {
	Off    bool     `json:"off"`
	Memory int64    `json:"memory_bytes"`
	Disk   int64    `json:"disk_bytes"`
	Entry  int64    `json:"entry_bytes"`
	TTL    string   `json:"ttl"`
	Allow  []string `json:"allow"`
	Deny   []string `json:"deny"`
}

// Queue is how the work of a host stands: the answer of GET /queue, POST /queue/pause and POST /queue/resume.
type Queue struct {
	Paused  bool `json:"paused"`  // nothing new begins
	Workers int  `json:"workers"` // actions that may run at once
	Running int  `json:"running"`
	Waiting int  `json:"waiting"`
	Limit   int  `json:"limit"` // waiting actions beyond which a submit is answered busy
}

// PauseQueue is the body of POST /queue/pause; it may be left out.
type PauseQueue struct {
	Reason string `json:"reason,omitempty"`
}
