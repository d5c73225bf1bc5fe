package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/sdk/go/guest"
)

func TestMain(m *testing.M) {
	main()
	m.Run()
}

func TestManifestAndCodeAgree(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile("pack.toml")
	if err != nil {
		t.Fatal(err)
	}
	pack, err := manifests.ParsePack("pack.toml", src)
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range guest.Describe() {
		tool, ok := pack.Tool(info.ID)
		if !ok {
			t.Errorf("the manifest has no tool %q", info.ID)
			continue
		}
		if err := info.Check(tool.Input.JSON(), tool.Output.JSON()); err != nil {
			t.Error(err)
		}
	}
}

func TestTheDescriptionIsMadeOnceAndStays(t *testing.T) {
	t.Parallel()
	m := &guest.Memory{}
	first, err := m.Run("federation.node.describe", []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	m.Clock = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	second, err := m.Run("federation.node.describe", []byte("{}"))
	if err != nil || string(first) != string(second) {
		t.Errorf("first %s\nthen  %s, %v", first, second, err)
	}
	if len(m.Events) != 1 || m.Events[0].Kind != "federation.node.created" || len(m.Keys) != 1 {
		t.Errorf("events %s, keys %v", m.Events, m.Keys)
	}
	var d Manifest
	if err := json.Unmarshal(first, &d); err != nil {
		t.Fatal(err)
	}
	digest := d.Digest
	d.Digest = ""
	raw, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	if want := "sha256:" + hex.EncodeToString(sum[:]); digest != want {
		t.Errorf("digest %s is not of the rest (%s)", digest, want)
	}
	other, err := describe((&guest.Memory{}).Call(), struct{}{})
	if err != nil || other.NodeID == d.NodeID {
		t.Errorf("another node has id %s too (%v)", other.NodeID, err)
	}
}

// TestCallsBesideEachOtherAgree lets a second first call happen between any two host functions of the first one. Either
// may be told to come again; what is answered is the same from then on.
func TestCallsBesideEachOtherAgree(t *testing.T) {
	t.Parallel()
	for cut := range 12 {
		m, step := &guest.Memory{}, 0
		answers := map[string]bool{}
		call := func() {
			d, err := describe(m.Call(), struct{}{})
			switch {
			case err == nil:
				answers[d.NodeID] = true
			case abi.CodeOf(err) != abi.Busy:
				t.Errorf("cut at %d: %v", cut, err)
			}
		}
		m.Deny = func(string) error {
			if step++; step == cut+1 {
				m.Deny = nil
				call()
			}
			return nil
		}
		call()
		call()
		if len(answers) != 1 {
			t.Errorf("cut at %d: the node called itself %v", cut, answers)
		}
	}
}

func TestAClaimOfACallThatWasCutOffRunsOut(t *testing.T) {
	t.Parallel()
	m := &guest.Memory{Clock: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)}
	m.Deny = func(function string) error {
		if function == "event.emit" || function == "kv.delete" {
			return abi.Errorf(abi.LeaseRevoked, "taken back")
		}
		return nil
	}
	if _, err := describe(m.Call(), struct{}{}); abi.CodeOf(err) != abi.LeaseRevoked {
		t.Fatal(err)
	}
	m.Deny = nil
	if _, err := describe(m.Call(), struct{}{}); abi.CodeOf(err) != abi.Busy {
		t.Errorf("while the claim stands: %v", err)
	}
	m.Clock = m.Clock.Add(claimAge)
	if _, err := describe(m.Call(), struct{}{}); err != nil || len(m.Keys) != 1 {
		t.Errorf("after it ran out: %v, keys %v", err, m.Keys)
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
