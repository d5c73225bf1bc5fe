package main

import (
	"context"
	"net/url"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/arw-project/arw/host/api"
)

// lastAction VAR puts the id of the newest action into VAR.
func lastAction(ts *testscript.TestScript, _ bool, args []string) {
	c, ok := storyClient(ts, nil)()
	if !ok || len(args) != 1 {
		ts.Fatalf("usage: lastaction VAR, beside a running host")
	}
	var doc api.List[api.Action]
	ts.Check(c.List(context.Background(), "actions", url.Values{"limit": {"1"}}, &doc))
	if len(doc.Items) != 1 {
		ts.Fatalf("there is no action")
	}
	ts.Setenv(args[0], doc.Items[0].ID)
}
