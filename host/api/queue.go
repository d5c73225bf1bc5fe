package api

import "time"

// QueueEvent is the body of queue.paused and queue.resumed.
type QueueEvent struct {
	Reason  string `json:"reason,omitempty"`
	Running int    `json:"running"`
	Waiting int    `json:"waiting"`
}

// LetterEvent is the body of actions.dead, actions.requeued and actions.dropped.
type LetterEvent struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Attempt int    `json:"attempt"`
	Reason  string `json:"reason,omitempty"`
	By      string `json:"by,omitempty"`
	As      string `json:"as,omitempty"`
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

	Recall RecallPolicy `json:"recall"`
}

// RecallPolicy is the part of cache_policy about questions that mean the same.
type RecallPolicy struct {
	Off     bool   `json:"off"`
	Entries int    `json:"entries"`
	Memory  int64  `json:"memory_bytes"`
	TTL     string `json:"ttl"`
	Audit   int    `json:"audit"`
	Rest    string `json:"rest"`
	Model   string `json:"model,omitempty"` // "": words are counted
}

// Queue is how the work of a host stands: the answer of GET /queue, POST /queue/pause, POST /queue/resume and POST /queue/drain.
type Queue struct {
	Paused  bool   `json:"paused"`  // nothing new begins
	Backend string `json:"backend"` // where what waits is kept: "sqlite" or "nats"
	Workers int    `json:"workers"` // actions that may run at once
	Running int    `json:"running"`
	Waiting int    `json:"waiting"` // delayed ones among them
	Delayed int    `json:"delayed"` // those whose next attempt is not due yet
	Dead    int    `json:"dead"`    // letters that need a person
	Limit   int    `json:"limit"`   // waiting actions beyond which a submit is answered busy
}

// QueueJob is an action as the queue has it. Its payloads are in the action.
type QueueJob struct {
	ID         string     `json:"id"` // of the action
	Kind       string     `json:"kind"`
	Pack       string     `json:"pack,omitempty"`
	Project    string     `json:"project,omitempty"`
	State      string     `json:"state"`   // "ready", "leased" or "dead"
	Attempt    int        `json:"attempt"` // how often it was given out
	Attempts   int        `json:"attempts"`
	Priority   string     `json:"priority"`
	Actor      string     `json:"actor,omitempty"`
	Corr       string     `json:"corr_id,omitempty"`
	Created    time.Time  `json:"created"`
	Moved      time.Time  `json:"moved"`
	LeaseUntil *time.Time `json:"lease_until,omitempty"` // of a leased one, unless it is renewed
	NextRun    *time.Time `json:"next_run,omitempty"`    // of one that waits for its next attempt
	Deadline   *time.Time `json:"deadline,omitempty"`
	LastError  string     `json:"last_error,omitempty"` // why it came back, or is dead
}

// DrainQueue is the body of POST /queue/drain; it may be left out.
type DrainQueue struct {
	Reason string `json:"reason,omitempty"`
	WaitMS int64  `json:"wait_ms,omitempty"` // how long to wait for what runs: 30 s when it is 0, at most 60 s
}

// PauseQueue is the body of POST /queue/pause; it may be left out.
type PauseQueue struct {
	Reason string `json:"reason,omitempty"`
}

// Schedule is a tool that is called at given times.
type Schedule struct {
	Name      string     `json:"name"`
	When      string     `json:"when"` // the cron expression, or "every 5m0s"
	Zone      string     `json:"zone,omitempty"`
	Tool      string     `json:"tool"`
	Project   string     `json:"project,omitempty"`
	Missed    string     `json:"missed"` // what becomes of ticks that passed while nobody looked
	Next      *time.Time `json:"next,omitempty"`
	Last      *time.Time `json:"last,omitempty"`       // the last tick that was dealt with
	Action    string     `json:"action,omitempty"`     // what it became
	LastError string     `json:"last_error,omitempty"` // or why it became none
}

// ScheduleEvent is the body of schedule.fired, schedule.missed and schedule.failed.
type ScheduleEvent struct {
	Name    string    `json:"name"`
	Tick    time.Time `json:"tick"`
	Action  string    `json:"action,omitempty"`
	LateMS  int64     `json:"late_ms,omitempty"`
	Count   int       `json:"count,omitempty"`
	From    string    `json:"from,omitempty"`
	Code    string    `json:"code,omitempty"`
	Message string    `json:"message,omitempty"`
}
