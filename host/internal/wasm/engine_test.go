package wasm_test

import (
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
)

func TestGoGuest(t *testing.T) {
	e := open(t, wasm.Options{})
	start := time.Now()
	p := load(t, e, wasm.Spec{Name: "test/guest", Module: goGuest(t)})
	t.Logf("load: %v", time.Since(start))
	kv := &mapKV{m: map[string][]byte{"a": []byte("1"), "long": make([]byte, 1000)}}
	tests := []struct {
		tool, in, want string
		code           abi.Code
	}{
		{"echo", "hello", "hello", 0},
		{"count", "", "101", 0},
		{"count", "", "101", 0},
		{"get", "a", "1", 0},
		{"get", "b", "", abi.NotFound},
		{"get", "long", string(make([]byte, 1000)), 0},
		{"put", "x=y", "", 0},
		{"get", "x", "y", 0},
		{"goroutines", "", "4950", 0},
		{"env", "", `{"env":0,"args":0}`, 0},
		{"loop", "", "", abi.GasExhausted},
		{"recurse", "", "", abi.DepthExceeded},
		{"grow", "", "", abi.MemoryExhausted},
		{"count", "", "101", 0}, // well in between: five failures in a row would bring the quarantine
		{"panic", "", "", abi.Trap},
		{"exit", "", "", abi.Exited},
		{"count", "", "101", 0},
	}
	for _, tc := range tests {
		start := time.Now()
		r, err := p.Call(t.Context(), wasm.Call{Tool: tc.tool, Input: []byte(tc.in), Effects: abi.Writes, Gate: openGate{}, Host: wasm.Host{KV: kv},
			Limits: wasm.Limits{Gas: 5e8, Time: 5 * time.Minute}}) // no matter how slow the machine is
		t.Logf("%s: %q %v %+v in %v", tc.tool, r.Body[:min(10, len(r.Body))], err, r.Usage, time.Since(start))
		if abi.CodeOf(err) != tc.code || string(r.Body) != tc.want {
			t.Errorf("%s(%q) = %q, %v", tc.tool, tc.in, r.Body, err)
		}
	}
}
