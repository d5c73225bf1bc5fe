package manifests

import "github.com/arw-project/arw/manifests/strict"

// The shapes of unit.toml as it is written. A key that is not here does not exist.

type rawUnit struct {
	Schema      int                     `toml:"schema"`
	ID          string                  `toml:"id,required"`
	Title       string                  `toml:"title,required"`
	Version     string                  `toml:"version,required"`
	Category    string                  `toml:"category,required"`
	Description string                  `toml:"description,required"`
	License     string                  `toml:"license"`
	Authors     []string                `toml:"authors"`
	Slots       []string                `toml:"slots"`
	Priority    int                     `toml:"priority"`
	Compat      rawCompat               `toml:"compat"`
	Parameters  map[string]rawParameter `toml:"parameters"`
	Patches     []rawPatch              `toml:"patches"`
	Tests       []rawUnitTest           `toml:"tests"`
	Kind        string                  `toml:"kind"`
	ABI         string                  `toml:"abi"`
	Transform   rawTransform            `toml:"transform"`
	Plugin      rawPlugin               `toml:"plugin"`
	Permissions []rawPermission         `toml:"permissions"`
	Guards      []rawGuard              `toml:"guards"`
	Promotion   rawPromotion            `toml:"promotion"`
	UI          rawUnitUI               `toml:"ui"`
	Provenance  rawProvenance           `toml:"provenance"`
}

type rawTransform struct {
	Pack      string   `toml:"pack,required"`
	Tool      string   `toml:"tool,required"`
	Documents []string `toml:"documents,required"`
	Gas       uint64   `toml:"gas"`
}

type rawPlugin struct {
	Pack    string   `toml:"pack,required"`
	Version string   `toml:"version"`
	Tools   []string `toml:"tools,required"`
}

type rawPermission struct {
	Pack       string          `toml:"pack,required"`
	Capability string          `toml:"capability,required"`
	Scope      []string        `toml:"scope"`
	Reason     string          `toml:"reason,required"`
	TTL        strict.Duration `toml:"ttl"`
	Budget     rawBudget       `toml:"budget"`
}

type rawGuard struct {
	Metric string          `toml:"metric,required"`
	Of     string          `toml:"of"`
	Least  int             `toml:"least"`
	Min    any             `toml:"min"`
	Max    any             `toml:"max"`
	Window strict.Duration `toml:"window,required"`
}

type rawPromotion struct {
	Approvals  int             `toml:"approvals"`
	After      strict.Duration `toml:"after"`
	Experiment string          `toml:"experiment"`
}

type rawUnitUI struct {
	Explainer string   `toml:"explainer"`
	Controls  []string `toml:"controls"`
}

type rawProvenance struct {
	Source  string `toml:"source"`
	Derived string `toml:"derived_from"`
}

type rawCompat struct {
	Conflicts  []string `toml:"conflicts"`
	Requires   []string `toml:"requires"`
	Models     []string `toml:"models"`
	MinContext int64    `toml:"min_context"`
}

type rawParameter struct {
	Type        string `toml:"type,required"`
	Description string `toml:"description,required"`
	Default     any    `toml:"default,required"`
	Minimum     any    `toml:"minimum"`
	Maximum     any    `toml:"maximum"`
	Enum        []any  `toml:"enum"`
}

type rawPatch struct {
	Target string `toml:"target,required"`
	Op     string `toml:"op"`
	Value  any    `toml:"value,required"`
}

type rawUnitTest struct {
	Title      string         `toml:"title,required"`
	Parameters map[string]any `toml:"parameters"`
	Target     string         `toml:"target,required"`
	Before     any            `toml:"before"`
	After      any            `toml:"after,required"`
}
