package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

func TestTheDescriptionIsMadeOnceAndStays(t *testing.T) {
	t.Parallel()
	m := &guest.Memory{}
	first, err := describe(m.Call(), struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	second, err := describe(m.Call(), struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(first)
	b, _ := json.Marshal(second)
	if string(a) != string(b) {
		t.Errorf("first %s\nthen  %s", a, b)
	}
	if len(m.Events) != 1 || m.Events[0].Kind != "federation.node.created" {
		t.Errorf("events = %v, want one federation.node.created", m.Events)
	}
	digest := first.Digest
	first.Digest = ""
	raw, _ := json.Marshal(first)
	sum := sha256.Sum256(raw)
	if want := "sha256:" + hex.EncodeToString(sum[:]); digest != want {
		t.Errorf("digest %s is not of the rest (%s)", digest, want)
	}
	other, err := describe((&guest.Memory{}).Call(), struct{}{})
	if err != nil || other.NodeID == first.NodeID {
		t.Errorf("another node has id %s too (%v)", other.NodeID, err)
	}
}

func TestADamagedIdentityIsSaidNotReplaced(t *testing.T) {
	t.Parallel()
	m := &guest.Memory{Keys: map[string][]byte{"node": []byte("{")}}
	if _, err := describe(m.Call(), struct{}{}); abi.CodeOf(err) != abi.Corrupt {
		t.Errorf("describe answers %v, want corrupt", err)
	}
	if string(m.Keys["node"]) != "{" {
		t.Error("the damaged identity was overwritten")
	}
}
