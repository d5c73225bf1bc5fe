package api

// SnappyNotice is the body of snappy.notice.
type SnappyNotice struct {
	State    string  `json:"state"`  // breach or clear
	Route    string  `json:"route"`  // "METHOD /path", or "actions:KIND"
	Budget   string  `json:"budget"` // i2f, first_partial, cadence or full_result
	BudgetMS float64 `json:"budget_ms"`
	P95      float64 `json:"p95_ms"`
	Samples  int64   `json:"samples"` // in the window
	WindowMS float64 `json:"window_ms"`
	Since    string  `json:"since"` // when the breach began
}
