package manifests

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
	Patches     []rawPatch              `toml:"patches,required"`
	Tests       []rawUnitTest           `toml:"tests"`
}

type rawCompat struct {
	Conflicts []string `toml:"conflicts"`
	Requires  []string `toml:"requires"`
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
