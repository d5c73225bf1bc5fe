package api

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
