package manifests

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
)

// Kinds of a unit. Only the first holds nothing but data.
const (
	KindConfig    = "config"    // its patches are written in it
	KindTransform = "transform" // a pure tool of a pack makes its patches
	KindPlugin    = "plugin"    // it needs tools of a pack
)

// UnitMore is what a unit may say beyond its patches.
type UnitMore struct {
	Kind        string // one of the kinds
	ABI         string // range of contracts, see Supports; "" goes with every one
	Models      []string
	MinContext  int64 // tokens that the model must take; 0 asks for nothing
	Transform   *Transform
	Plugin      *Plugin
	Permissions []Permission
	Guards      []Guard
	Promotion   Promotion
	UI          UnitUI
	Provenance  Provenance
}

// Transform names the pure tool that computes the patches, and the documents that it is shown and may change.
type Transform struct {
	Pack      string
	Tool      string
	Documents []string
	Gas       uint64 // 0: DefaultTransformGas
}

// Bounds of a transform.
const (
	DefaultTransformGas = 50_000_000
	MaxTransformGas     = 2_000_000_000
)

// Plugin names the tools that the unit needs and the pack that brings them.
type Plugin struct {
	Pack    string
	Version string // range as in Supports; "" is any
	Tools   []string
}

// Permission is a lease that the unit asks for on behalf of a pack, for as long as the unit is active.
type Permission struct {
	Pack       string
	Capability string
	Scope      []string // empty: what the pack's manifest asks for
	Reason     string
	TTL        time.Duration // 0: as the pack's manifest and the policy say
	Budget     Budget
}

// Guard is a bound that must hold while the unit is on trial: the host takes the unit back when a value of at least Least
// observations lies outside.
type Guard struct {
	Metric   string // a name in the host's registry of metrics
	Of       string // what it is measured of: a tool, a model or a pack; "" is everything
	Least    int    // observations, at least 1
	Min, Max json.Number
	Window   time.Duration // from the moment the unit was applied
}

// Promotion is what must be there before the unit may become a default, beside its tests and the policies.
type Promotion struct {
	Approvals  int           // of different people
	After      time.Duration // how long it was on trial
	Experiment string        // metric by which a finished experiment found the unit better; "" asks for none
}

// UnitUI is for the person who looks at the unit.
type UnitUI struct {
	Explainer string
	Controls  []string // names of parameters, in the order in which to show them
}

// Provenance is where the unit comes from, in its author's words.
type Provenance struct{ Source, Derived string }

// Documents are the names of what the unit may change, each once.
func (u *LogicUnit) Documents() []string {
	var out []string
	add := func(name string) {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	for _, p := range u.Patches {
		add(p.Target)
	}
	if u.Transform != nil {
		for _, d := range u.Transform.Documents {
			add(d)
		}
	}
	return out
}

// unitABI refuses a unit for another contract before anything else is said about it: its other keys may be unknown here.
func unitABI(file, text string) error {
	if text == "" {
		return nil
	}
	err := Supports(text)
	if abi.CodeOf(err) == abi.Incompatible {
		return abi.Errorf(abi.Incompatible, "read unit %q: it is for another ABI: %w", file, err).
			WithHint("use a revision of the unit for ABI %s, or a host for %s", abi.Version, clip(text))
	}
	return nil
}

// Bounds of what a unit says more.
const (
	maxPermissions = 16
	maxGuards      = 16
	maxApprovals   = 16
)

func (c *checker) unitMore(u *LogicUnit, raw *rawUnit) {
	u.UnitMore = UnitMore{
		Kind: raw.Kind, ABI: raw.ABI, Models: slices.Clone(raw.Compat.Models), MinContext: raw.Compat.MinContext,
		Promotion:  Promotion{raw.Promotion.Approvals, time.Duration(raw.Promotion.After), raw.Promotion.Experiment},
		UI:         UnitUI{raw.UI.Explainer, slices.Clone(raw.UI.Controls)},
		Provenance: Provenance{raw.Provenance.Source, raw.Provenance.Derived},
	}
	if !c.lines.Has("kind") {
		u.Kind = KindConfig
	}
	c.oneOf(at{"kind"}, u.Kind, KindConfig, KindTransform, KindPlugin)
	if raw.ABI != "" {
		if _, err := parseRange(raw.ABI); err != nil {
			c.bad(at{"abi"}, `such as "^1.0"`, "%s", err)
		}
	}
	c.unitKind(u, raw)
	for i, m := range raw.Compat.Models {
		c.text(at{"compat", "models", i}, m, 1, maxID, false)
	}
	if raw.Compat.MinContext < 0 || raw.Compat.MinContext > maxExact {
		c.bad(at{"compat", "min_context"}, "", "expected tokens from 0, found %d", raw.Compat.MinContext)
	}
	if len(raw.Permissions) > maxPermissions {
		c.bad(at{"permissions"}, "", "at most %d, found %d", maxPermissions, len(raw.Permissions))
	}
	for i, r := range raw.Permissions {
		u.Permissions = append(u.Permissions, c.permission(at{"permissions", i}, r))
	}
	if len(raw.Guards) > maxGuards {
		c.bad(at{"guards"}, "", "at most %d, found %d", maxGuards, len(raw.Guards))
	}
	for i, r := range raw.Guards {
		u.Guards = append(u.Guards, c.guard(at{"guards", i}, r))
	}
	c.promotion(u, raw)
}

// unitKind holds a unit to its kind: each has its own table, and none has another's.
func (c *checker) unitKind(u *LogicUnit, raw *rawUnit) {
	for _, kind := range []string{KindTransform, KindPlugin} {
		switch has := c.lines.Has(kind); {
		case has && u.Kind != kind:
			c.bad(at{kind}, "write kind = \""+kind+"\", or remove the table", "a unit of kind %q has no such table", u.Kind)
		case !has && u.Kind == kind:
			c.bad(at{"kind"}, "add the table ["+kind+"]", "a unit of this kind says which pack it needs")
		}
	}
	switch u.Kind {
	case KindTransform:
		u.Transform = c.transform(u, raw)
	case KindPlugin:
		u.Plugin = &Plugin{raw.Plugin.Pack, raw.Plugin.Version, slices.Clone(raw.Plugin.Tools)}
		c.packRef(at{"plugin", "pack"}, raw.Plugin.Pack)
		if raw.Plugin.Version != "" {
			if _, err := parseRange(raw.Plugin.Version); err != nil {
				c.bad(at{"plugin", "version"}, `such as "^1.0"`, "%s", err)
			}
		}
		if len(raw.Plugin.Tools) == 0 {
			c.bad(at{"plugin", "tools"}, "", "name the tools that the unit brings")
		}
		c.names(at{"plugin", "tools"}, raw.Plugin.Tools, maxFiles)
	case KindConfig:
		if len(raw.Patches) == 0 {
			c.bad(at{"patches"}, "", "a unit has 1 to %d patches, found none", maxPatches)
		}
	}
}

func (c *checker) transform(u *LogicUnit, raw *rawUnit) *Transform {
	t := &Transform{raw.Transform.Pack, raw.Transform.Tool, slices.Clone(raw.Transform.Documents), raw.Transform.Gas}
	if t.Gas == 0 {
		t.Gas = DefaultTransformGas
	}
	if t.Gas > MaxTransformGas {
		c.bad(at{"transform", "gas"}, "", "at most %d, found %d", uint64(MaxTransformGas), t.Gas)
	}
	c.packRef(at{"transform", "pack"}, t.Pack)
	c.id(at{"transform", "tool"}, t.Tool)
	if len(raw.Patches) > 0 {
		c.bad(at{"patches"}, "remove them", "the patches of a transform are made by its tool")
	}
	if len(t.Documents) == 0 || len(t.Documents) > maxPatches {
		c.bad(at{"transform", "documents"}, "", "a transform changes 1 to %d documents, found %d", maxPatches, len(t.Documents))
	}
	for i, name := range t.Documents {
		c.target(at{"transform", "documents", i}, name)
	}
	return t
}

func (c *checker) packRef(where at, name string) {
	if !isPackName(name) {
		c.bad(where, `such as "acme/tuner"`, "expected the name of a pack, found %q", clip(name))
	}
}

func (c *checker) permission(where at, r rawPermission) Permission {
	c.packRef(where.key("pack"), r.Pack)
	if !slices.Contains(askable, r.Capability) {
		c.bad(where.key("capability"), "", "there is no capability %q", clip(r.Capability))
	}
	c.text(where.key("reason"), r.Reason, 1, maxSummary, false)
	p := Permission{r.Pack, r.Capability, slices.Clone(r.Scope), r.Reason, time.Duration(r.TTL), c.budget(where.key("budget"), r.Budget)}
	if p.TTL > maxTTL {
		c.bad(where.key("ttl"), "", "at most 366d, found %s", r.TTL)
	}
	return p
}

func (c *checker) guard(where at, r rawGuard) Guard {
	g := Guard{Metric: r.Metric, Of: r.Of, Least: r.Least, Window: time.Duration(r.Window)}
	c.id(where.key("metric"), r.Metric)
	if !c.lines.Has(where.key("least")...) {
		g.Least = 1
	}
	if g.Least < 1 || g.Least > 1_000_000 {
		c.bad(where.key("least"), "", "expected 1 to 1000000 observations, found %d", g.Least)
	}
	if g.Window < time.Second || g.Window > maxTTL {
		c.bad(where.key("window"), "", "expected 1s to 366d, found %s", r.Window)
	}
	for key, bound := range map[string]struct {
		raw any
		set *json.Number
	}{"min": {r.Min, &g.Min}, "max": {r.Max, &g.Max}} {
		if bound.raw == nil {
			continue
		}
		n, ok := c.plain(where.key(key), bound.raw).(json.Number)
		if !ok {
			c.bad(where.key(key), "", "expected a number")
		}
		*bound.set = n
	}
	if g.Min == "" && g.Max == "" {
		c.bad(where, "add min or max", "a guard has a bound")
	}
	return g
}

func (c *checker) promotion(u *LogicUnit, raw *rawUnit) {
	if p := raw.Promotion; p.Approvals < 0 || p.Approvals > maxApprovals {
		c.bad(at{"promotion", "approvals"}, "", "expected 0 to %d, found %d", maxApprovals, p.Approvals)
	}
	if u.Promotion.After > maxTTL {
		c.bad(at{"promotion", "after"}, "", "at most 366d, found %s", raw.Promotion.After)
	}
	for i, name := range raw.UI.Controls {
		if !slices.ContainsFunc(u.Parameters, func(p Parameter) bool { return p.Name == name }) {
			c.bad(at{"ui", "controls", i}, "", "there is no parameter %q", clip(name))
		}
	}
	if raw.UI.Explainer != "" {
		c.text(at{"ui", "explainer"}, raw.UI.Explainer, 1, maxDescription, true)
	}
}

// more adds what the unit says beyond its patches to the canonical tree. A member is there only where something is said, so
// that the digest of a unit that says nothing is what it was before the format knew these words.
func (u *LogicUnit) more(tree map[string]any) {
	text := func(s string) any { return s }
	set := func(name string, said bool, v any) {
		if said {
			tree[name] = v
		}
	}
	set("kind", u.Kind != "" && u.Kind != KindConfig, u.Kind)
	set("abi", u.ABI != "", u.ABI)
	compat := maps.Clone(tree["compat"].(map[string]any))
	if len(u.Models) > 0 {
		compat["models"] = listOf(u.Models, text)
	}
	if u.MinContext > 0 {
		compat["min_context"] = integer(u.MinContext)
	}
	tree["compat"] = compat
	if t := u.Transform; t != nil {
		tree["transform"] = map[string]any{"pack": t.Pack, "tool": t.Tool, "documents": listOf(t.Documents, text), "gas": integer(int64(t.Gas))}
	}
	if p := u.Plugin; p != nil {
		tree["plugin"] = map[string]any{"pack": p.Pack, "version": p.Version, "tools": listOf(p.Tools, text)}
	}
	set("permissions", len(u.Permissions) > 0, listOf(u.Permissions, func(p Permission) any {
		return map[string]any{"pack": p.Pack, "capability": p.Capability, "scope": listOf(p.Scope, text), "reason": p.Reason, "ttl_ms": integer(p.TTL.Milliseconds()),
			"budget": p.Budget.tree()}
	}))
	set("guards", len(u.Guards) > 0, listOf(u.Guards, func(g Guard) any {
		doc := map[string]any{"metric": g.Metric, "of": g.Of, "least": integer(int64(g.Least)), "window_ms": integer(g.Window.Milliseconds())}
		if g.Min != "" {
			doc["min"] = g.Min
		}
		if g.Max != "" {
			doc["max"] = g.Max
		}
		return doc
	}))
	set("promotion", u.Promotion != Promotion{}, map[string]any{
		"approvals": integer(int64(u.Promotion.Approvals)), "after_ms": integer(u.Promotion.After.Milliseconds()), "experiment": u.Promotion.Experiment})
	set("ui", u.UI.Explainer != "" || len(u.UI.Controls) > 0, map[string]any{"explainer": u.UI.Explainer, "controls": listOf(u.UI.Controls, text)})
	set("provenance", u.Provenance != Provenance{}, map[string]any{"source": u.Provenance.Source, "derived_from": u.Provenance.Derived})
}

func isPackName(name string) bool {
	namespace, short, ok := strings.Cut(name, "/")
	return ok && namePart.MatchString(namespace) && namePart.MatchString(short)
}

// UnitRepository is the name, below a namespace, of the repository that a unit lies in: its id with dashes for what such
// names do not have.
func UnitRepository(id string) string { return strings.NewReplacer("_", "-", ".", "-").Replace(id) }
