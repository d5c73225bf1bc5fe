package api

// The states of a Finding. Bad is what keeps a host from its work.
const (
	FindingOK   = "ok"
	FindingInfo = "info"
	FindingWarn = "warn"
	FindingBad  = "bad"
)

// Finding is one thing that arw doctor looked at. Next is the step that mends it; only ok has none.
type Finding struct {
	Check   string `json:"check"`
	State   string `json:"state"`
	Message string `json:"message"`
	Next    string `json:"next,omitempty"`
}

// Checkup is the answer of arw doctor --json.
type Checkup struct {
	OK       bool      `json:"ok"` // nothing is bad
	Running  bool      `json:"running"`
	Findings []Finding `json:"findings"`
}
