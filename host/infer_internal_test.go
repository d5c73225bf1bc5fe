package host

import (
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/action"
)

// A pack's call of infer.* ends before a policy or a model is asked: the zero inference would panic at either.
func TestPacksDoNotReachModelsThroughActions(t *testing.T) {
	t.Parallel()
	_, err := inference{}.run(t.Context(), action.Job{Action: action.Action{Kind: "infer.generate", Pack: inferPack, Parent: "act_caller", Input: []byte(`{"prompt":"a"}`)}})
	if abi.CodeOf(err) != abi.Denied || !strings.Contains(err.Error(), "cannot reach models") {
		t.Errorf("got %v", err)
	}
}
