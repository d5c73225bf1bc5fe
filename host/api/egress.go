package api

// PreviewEgress is the body of POST /egress/preview: what would be sent, and by which tool of which pack. Without a pack the answer is
// what the host itself says about the destination, no lease asked. Body is text; BodyBase64 stands for bytes.
type PreviewEgress struct {
	Pack       string      `json:"pack,omitempty"`
	Tool       string      `json:"tool,omitempty"`
	Method     string      `json:"method,omitempty"`
	URL        string      `json:"url"`
	Headers    [][2]string `json:"headers,omitempty"`
	Body       string      `json:"body,omitempty"`
	BodyBase64 []byte      `json:"body_base64,omitempty"`
}

// SetPosture is the body of PUT /egress/posture.
type SetPosture struct {
	Posture string `json:"posture"` // off, allowlist or public
}

// SetScope is the body of PUT /egress/scopes/{id}. Expires is RFC 3339, empty for never.
type SetScope struct {
	Description string   `json:"description,omitempty"`
	Deny        bool     `json:"deny,omitempty"`
	Hosts       []string `json:"hosts"`
	Ports       []uint16 `json:"ports,omitempty"`
	Schemes     []string `json:"schemes,omitempty"`
	CIDRs       []string `json:"cidrs,omitempty"`
	Expires     string   `json:"expires,omitempty"`
	PerCall     int64    `json:"price_per_call_microusd,omitempty"`
	PerMiB      int64    `json:"price_per_mib_microusd,omitempty"`
}

// IssueToken is the body of POST /egress/tokens. TTL is a duration such as "1h".
type IssueToken struct {
	Actor   string   `json:"actor"`
	Project string   `json:"project,omitempty"`
	Scope   []string `json:"scope"`
	TTL     string   `json:"ttl,omitempty"`
	Calls   int64    `json:"calls,omitempty"`
	Bytes   int64    `json:"bytes,omitempty"`
	Reason  string   `json:"reason,omitempty"`
}
