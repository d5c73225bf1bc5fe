package signing

import (
	"maps"
	"slices"
	"time"

	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
)

// policyFile is trust.toml as it is written; docs/spec/trust.md gives every key its meaning.
type policyFile struct {
	Schema int                    `toml:"schema,required"`
	Root   map[string]rootEntry   `toml:"root"`
	Signer map[string]signerEntry `toml:"signer"`
	Rule   []ruleEntry            `toml:"rule"`
}

type rootEntry struct {
	TrustedRoot         string `toml:"trusted_root,required"`
	SCT                 *int   `toml:"sct"`
	TLog                *int   `toml:"tlog"`
	Timestamps          *int   `toml:"timestamps"`
	AllowIntegratedTime bool   `toml:"allow_integrated_time"`
}

type signerEntry struct {
	Key        string            `toml:"key"`
	Root       string            `toml:"root"`
	Issuer     string            `toml:"issuer"`
	Identity   string            `toml:"identity"`
	Claims     map[string]string `toml:"claims"`
	TLog       *int              `toml:"tlog"`
	Timestamps *int              `toml:"timestamps"`
	From       time.Time         `toml:"from"`
	Until      time.Time         `toml:"until"`
}

type ruleEntry struct {
	Publisher  string         `toml:"publisher"`
	Packs      any            `toml:"packs,required"` // a pattern or a list of them
	Role       string         `toml:"role"`
	Signers    []string       `toml:"signers,required"`
	Threshold  any            `toml:"threshold"`
	Predicate  string         `toml:"predicate"`
	MinVersion string         `toml:"min_version"`
	Expires    time.Time      `toml:"expires"`
	Require    []requireEntry `toml:"require"`
}

type requireEntry struct {
	Role      string   `toml:"role"`
	Predicate string   `toml:"predicate,required"`
	Signers   []string `toml:"signers,required"`
	Threshold any      `toml:"threshold"`
	BuilderID string   `toml:"builder_id"`
}

// claimFields are the certificate claims a signer may pin, by the words of trust.toml. Fulcio's deprecated ones are left
// out: these say the same.
var claimFields = map[string]func(*certificate.Extensions) *string{
	"build_signer_uri":             func(e *certificate.Extensions) *string { return &e.BuildSignerURI },
	"build_signer_digest":          func(e *certificate.Extensions) *string { return &e.BuildSignerDigest },
	"runner_environment":           func(e *certificate.Extensions) *string { return &e.RunnerEnvironment },
	"source_repository_uri":        func(e *certificate.Extensions) *string { return &e.SourceRepositoryURI },
	"source_repository_digest":     func(e *certificate.Extensions) *string { return &e.SourceRepositoryDigest },
	"source_repository_ref":        func(e *certificate.Extensions) *string { return &e.SourceRepositoryRef },
	"source_repository_id":         func(e *certificate.Extensions) *string { return &e.SourceRepositoryIdentifier },
	"source_repository_owner_uri":  func(e *certificate.Extensions) *string { return &e.SourceRepositoryOwnerURI },
	"source_repository_owner_id":   func(e *certificate.Extensions) *string { return &e.SourceRepositoryOwnerIdentifier },
	"source_repository_visibility": func(e *certificate.Extensions) *string { return &e.SourceRepositoryVisibilityAtSigning },
	"build_config_uri":             func(e *certificate.Extensions) *string { return &e.BuildConfigURI },
	"build_config_digest":          func(e *certificate.Extensions) *string { return &e.BuildConfigDigest },
	"build_trigger":                func(e *certificate.Extensions) *string { return &e.BuildTrigger },
	"run_invocation_uri":           func(e *certificate.Extensions) *string { return &e.RunInvocationURI },
}

func claimNames() []string { return slices.Sorted(maps.Keys(claimFields)) }
