package api

import "time"

// Quota is one account of a quota in its present window, and the body of every event of one.
type Quota struct {
	ID        string    `json:"id"`
	Subject   string    `json:"subject"` // the pack, person, project or publisher, or "host"
	On        string    `json:"on"`      // "call", or a capability
	Per       string    `json:"per"`
	Reason    string    `json:"reason"`
	WindowMS  int64     `json:"window_ms"`
	Limit     Budget    `json:"limit"`
	Used      Budget    `json:"used"`
	Nearing   bool      `json:"nearing"`
	Exhausted bool      `json:"exhausted"`
	Refused   int64     `json:"refused"` // in this window, since the host started
	Resets    time.Time `json:"resets"`
}

// QuotaRefusal is the detail of what a quota refused.
type QuotaRefusal struct {
	Quota Quota  `json:"quota"`
	Side  string `json:"side"` // calls, bytes, tokens, gas or usd_micros
}

// ResetQuota is the body of POST /policy/quotas/reset. Without a subject every account of the quota begins anew.
type ResetQuota struct {
	ID      string `json:"id"`
	Subject string `json:"subject,omitempty"`
}
