package openai

import (
	"context"
	"net/http"
	"strconv"
)

// SaveSlot, RestoreSlot and EraseSlot are llama-server's, started with --slot-save-path; file is a name in that folder. What a file
// holds the server does not check: package slots does.

// SaveSlot writes what a slot remembers into a file.
func (c *Client) SaveSlot(ctx context.Context, slot int, file string) error {
	return c.slot(ctx, slot, "save", file)
}

// RestoreSlot makes a slot remember what a file holds.
func (c *Client) RestoreSlot(ctx context.Context, slot int, file string) error {
	return c.slot(ctx, slot, "restore", file)
}

// EraseSlot makes a slot forget.
func (c *Client) EraseSlot(ctx context.Context, slot int) error {
	return c.slot(ctx, slot, "erase", "")
}

func (c *Client) slot(ctx context.Context, slot int, action, file string) error {
	body := map[string]string{}
	if file != "" {
		body["filename"] = file
	}
	var got struct {
		Slot *int `json:"id_slot"`
	}
	if err := c.call(ctx, http.MethodPost, "/slots/"+strconv.Itoa(slot)+"?action="+action, body, &got); err != nil {
		return err
	}
	if got.Slot == nil || *got.Slot != slot {
		return c.nonsense("another slot than %d", slot)
	}
	return nil
}
