package api

import (
	"encoding/json"
	"time"
)

// The streams a call may have, for SubmitAction.Streams.
const (
	StreamInput  = "input"
	StreamOutput = "output"
)

// MediaParts is the form of an output stream that programs read: frames of a kind (one byte), a length (four bytes, little
// endian) and a body. The last one has kind PartEnd and the final action as its body: a stream without it was cut off.
const MediaParts = "application/vnd.arw.parts"

// Kinds of frames in MediaParts beside those of reply frames (0 JSON, 1 bytes).
const (
	PartPulse = 0xfe // nothing; says that the stream is alive
	PartEnd   = 0xff // the final action, JSON
)

// MaxPiece is the most input that one request gives.
const MaxPiece = 8 << 20

// StreamIn answers a piece of input.
type StreamIn struct {
	Next int64 `json:"next"` // the offset that is expected next
}

// Recording says where the record of a call is, or why there is none.
type Recording struct {
	Digest string `json:"digest,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"`
	Calls  int    `json:"calls,omitempty"` // host calls in it
	Code   string `json:"code,omitempty"`
	Error  string `json:"error,omitempty"`
}

// ReplayAction is the body of POST /actions/ID/replay.
type ReplayAction struct {
	// With names another version: a reference, or "installed". Empty replays the version that was recorded.
	With string `json:"with,omitempty"`
}

// Replay is what came of a replay.
type Replay struct {
	Action     string            `json:"action,omitempty"`
	Record     Recording         `json:"record"`
	Time       time.Time         `json:"recorded_at"`
	Pack       string            `json:"pack"`
	Tool       string            `json:"tool"`
	Other      bool              `json:"other"` // another version than the recorded one
	Equal      bool              `json:"equal"` // reply, gas, memory and every host call
	Recorded   ReplaySide        `json:"recorded"`
	Replayed   ReplaySide        `json:"replayed"`
	Divergence *ReplayDivergence `json:"divergence,omitempty"`
	Changes    []ReplayChange    `json:"changes"`
}

// ReplaySide is one of the two calls that are compared.
type ReplaySide struct {
	Version   string          `json:"version"`
	Digest    string          `json:"digest"`
	Module    string          `json:"module"`
	Code      string          `json:"code"`
	Message   string          `json:"message,omitempty"`
	Output    json.RawMessage `json:"output,omitempty"` // a reply of JSON
	Bytes     []byte          `json:"bytes,omitempty"`  // a reply of bytes
	Gas       uint64          `json:"gas"`
	HostCalls int             `json:"host_calls"`
	Memory    int64           `json:"memory_bytes"`
}

// ReplayDivergence is where a replay left its record: the host call's index, what the record has, what the guest asked.
type ReplayDivergence struct {
	Call     int    `json:"call"`
	Expected string `json:"expected"`
	Got      string `json:"got"`
}

// ReplayChange is a host call that only one of two versions makes.
type ReplayChange struct {
	Added bool   `json:"added"` // by the version that was replayed; else it is the recorded one's alone
	Call  int    `json:"call"`  // index in the record, or how many of its calls came before
	Text  string `json:"text"`
}
