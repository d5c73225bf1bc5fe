package api

import "time"

// CreateToken is the body of POST /access/tokens. TTL is a duration such as "720h", empty for one without an end.
type CreateToken struct {
	Name string `json:"name"`
	Role string `json:"role"` // operator, user, guest or pack
	TTL  string `json:"ttl,omitempty"`
	// Project, when set, is the only one that the holder has to do with.
	Project string `json:"project,omitempty"`
}

// AccessToken is what may be known of a token; its secret is known to its holder alone.
type AccessToken struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Role    string    `json:"role"`
	Project string    `json:"project,omitempty"`
	By      string    `json:"by"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"`
	Revoked time.Time `json:"revoked,omitzero"`
}

// NewToken is the answer of POST /access/tokens, the only time that the secret is told.
type NewToken struct {
	AccessToken
	Secret string `json:"secret"`
}
