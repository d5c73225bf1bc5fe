package client

import (
	"context"

	"github.com/arw-project/arw/host/api"
)

// RedactJournal takes a secret out of the journal, for good.
func (c *Client) RedactJournal(ctx context.Context, in api.RedactJournal) (out api.RedactedJournal, err error) {
	err = c.do(ctx, call{method: "POST", path: "/admin/journal/redact", body: in}, &out)
	return out, err
}
