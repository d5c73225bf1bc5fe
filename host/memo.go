package host

import (
	"context"
	"encoding/json"
	"path/filepath"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/memo"
	"github.com/arw-project/arw/host/internal/view"
)

func (h *Host) cacheFile() string { return filepath.Join(h.cfg.StateDir, "cache.toml") }

// openMemo opens the cache of answers under the policy of cache.toml; a broken file stops the start, a later one does not.
func (h *Host) openMemo() (err error) {
	s := &h.parts
	if s.Memo, err = memo.Open(h.db, s.Journal, s.CAS, memo.Options{Log: h.cfg.Log}); err != nil {
		return err
	}
	if _, err = s.Memo.Reload(h.cacheFile()); err == nil {
		h.openRecall()
	}
	return err
}

// memory keeps answers until ctx ends, and the document cache_policy true to the policy in force.
func (h *Host) memory(ctx context.Context) error {
	s := &h.parts
	first := true
	return s.Memo.Run(ctx, h.cacheFile(), func(p memo.Policy) {
		s.Recall.Bound(recallLimits(p))
		doc, err := json.Marshal(cachePolicy(p))
		if err == nil {
			_, err = s.View.Put(context.WithoutCancel(ctx), view.Cause{Actor: "host"}, "cache_policy", doc)
		}
		if err == nil && !first {
			_, err = s.Journal.Append(context.WithoutCancel(ctx), journal.Event{Kind: "cache.policy.reloaded", Actor: "host", Body: json.RawMessage(doc)})
		}
		if err != nil {
			h.cfg.Log.Error("tell the cache policy", "code", abi.CodeOf(err).String(), "error", err)
		}
		first = false
	})
}

func cachePolicy(p memo.Policy) api.CachePolicy {
	r := p.Recall
	return api.CachePolicy{Off: p.Off, Memory: int64(p.Memory), Disk: int64(p.Disk), Entry: int64(p.Entry), TTL: p.TTL.String(), Allow: p.Allow, Deny: p.Deny,
		Recall: api.RecallPolicy{Off: r.Off, Entries: r.Entries, Memory: int64(r.Memory), TTL: r.TTL.String(), Audit: r.Audit, Rest: r.Rest.String(), Model: r.Model}}
}
