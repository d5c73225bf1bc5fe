package api

import "time"

// RecallEvent is the body of recall.hit, recall.miss, recall.audited and recall.rested. Times are nanoseconds. It holds no question.
type RecallEvent struct {
	Tool       string     `json:"tool"`
	Outcome    string     `json:"outcome,omitempty"` // exact, near, empty, miss or audit
	Cosine     float64    `json:"cosine,omitempty"`
	Near       float64    `json:"near,omitempty"` // the cosine from which on questions count as near
	Engine     string     `json:"engine,omitempty"`
	EngineKind string     `json:"engine_kind,omitempty"`
	Age        int64      `json:"age_ns,omitempty"`
	Saved      int64      `json:"saved_ns,omitempty"`
	Elapsed    int64      `json:"elapsed_ns,omitempty"`
	Agreed     *bool      `json:"agreed,omitempty"` // the answer that was kept and the one that was made
	Until      *time.Time `json:"until,omitempty"`
}

// RecallForgotten is the body of recall.forgotten and the answer of DELETE /recall. Empty names fit all.
type RecallForgotten struct {
	Answers int    `json:"answers"`
	Pack    string `json:"pack,omitempty"`
	Project string `json:"project,omitempty"`
	Person  string `json:"person,omitempty"`
	Why     string `json:"why"`
}

// RecallCounts count since the host started.
type RecallCounts struct {
	Exact      int64 `json:"exact"`
	Near       int64 `json:"near"`
	Empty      int64 `json:"empty"`
	Misses     int64 `json:"miss"`
	Refused    int64 `json:"refused"` // by the verifier, although the vectors were near
	Stale      int64 `json:"stale"`   // ended by a change of what they were made from
	Unkept     int64 `json:"unkept"`
	Evicted    int64 `json:"evicted"`
	Audits     int64 `json:"audits"`
	False      int64 `json:"false"` // audits in which the two answers differed
	SavedNS    int64 `json:"saved_ns"`
	SavedBytes int64 `json:"saved_bytes"`
}

// RecallSpace is what is kept for one tool, project and person.
type RecallSpace struct {
	Pack    string `json:"pack"`
	Digest  string `json:"digest"`
	Tool    string `json:"tool"`
	Project string `json:"project,omitempty"`
	Person  string `json:"person"`
	RecallCounts
	Answers int        `json:"answers"`
	Near    float64    `json:"threshold,omitempty"` // raised by wrong answers; left out: the manifest's
	Rests   *time.Time `json:"rests_until,omitempty"`
}

// Recall is the document recall.
type Recall struct {
	Answers int           `json:"answers"`
	Bytes   int64         `json:"bytes"`
	All     RecallCounts  `json:"all"`
	Spaces  []RecallSpace `json:"spaces"`
}
