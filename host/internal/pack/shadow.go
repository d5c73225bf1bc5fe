package pack

import (
	"bytes"
	"context"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
)

// Shadowed is what became of a recorded call under other documents.
type Shadowed struct {
	Equal      bool // code and answer are the recorded ones
	Then, Now  []byte
	ThenCode   string
	NowCode    string
	Divergence string // "": it came to an end; else what it asked that the record does not hold
}

// Shadow runs a recorded call again with documents of the configuration in the place of those it read. It has no gate and
// no host: nothing it does reaches anything. Errors: NotFound and Corrupt for the record, Unavailable when its module is gone.
func (m *Manager) Shadow(ctx context.Context, record string, docs map[string][]byte) (*Shadowed, error) {
	raw, err := m.CAS.Get(record)
	if err != nil {
		return nil, wrap(err, "read the record")
	}
	rec, err := wasm.ParseRecord(raw)
	if err != nil {
		return nil, wrap(err, "read the record %s", record)
	}
	p, err := m.recorded(ctx, rec)
	if err != nil {
		return nil, err
	}
	defer p.Close(context.WithoutCancel(ctx))
	got, err := p.ReplayUnder(ctx, rec, func(name string) ([]byte, bool) { doc, ok := docs[name]; return doc, ok })
	if err != nil {
		return nil, err
	}
	out := &Shadowed{Then: rec.Reply, Now: got.Reply, ThenCode: rec.End.Code, NowCode: got.End.Code}
	if got.Divergence != nil {
		out.Divergence = got.Divergence.Got
		return out, nil
	}
	out.Equal = out.ThenCode == out.NowCode && bytes.Equal(out.Then, out.Now)
	return out, nil
}

// Worse reports whether a call that answered then fails now.
func (s *Shadowed) Worse() bool {
	return s.Divergence == "" && s.ThenCode == abi.OK.String() && s.NowCode != abi.OK.String()
}
