package api

import "time"

// PutSecret is the body of PUT /secrets/{name}. Value is the secret itself; of a key it may be left out, and one is drawn
// by the host. It is never given back.
type PutSecret struct {
	Kind     string   `json:"kind"` // token, hmac, ed25519 or p256
	Value    []byte   `json:"value_base64,omitempty"`
	Audience []string `json:"audience,omitempty"` // of a token: where it may be sent, such as "https://api.example.com"
	Place    string   `json:"place,omitempty"`    // of a token: where in a request; empty is "header:Authorization: Bearer {}"
	Note     string   `json:"note,omitempty"`
}

// Secret is what may be known of a secret.
type Secret struct {
	Name     string    `json:"name"`
	Kind     string    `json:"kind"`
	Audience []string  `json:"audience,omitempty"`
	Place    string    `json:"place,omitempty"`
	Note     string    `json:"note,omitempty"`
	Public   string    `json:"public,omitempty"` // PKIX in base64
	Version  int64     `json:"version"`
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
}
