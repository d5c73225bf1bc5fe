package manifests

import "github.com/arw-project/arw/manifests/strict"

// The shapes of pack.toml as it is written. A key that is not here does not exist.

type rawPack struct {
	Schema       int                      `toml:"schema"`
	Name         string                   `toml:"name,required"`
	Version      string                   `toml:"version,required"`
	Description  string                   `toml:"description,required"`
	License      string                   `toml:"license"`
	Authors      []string                 `toml:"authors"`
	Homepage     string                   `toml:"homepage"`
	Repository   string                   `toml:"repository"`
	Module       rawModule                `toml:"module,required"`
	Tools        []rawTool                `toml:"tools,required"`
	Capabilities map[string]rawCapability `toml:"capabilities"`
	Units        []rawFile                `toml:"units"`
	Recipes      []rawFile                `toml:"recipes"`
	Panels       []rawFile                `toml:"panels"`
	State        []rawState               `toml:"state"`
}

type rawModule struct {
	File    string `toml:"file,required"`
	Runtime string `toml:"runtime"`
	ABI     string `toml:"abi,required"`
}

type rawTool struct {
	ID          string       `toml:"id,required"`
	Title       string       `toml:"title"`
	Description string       `toml:"description,required"`
	Input       any          `toml:"input"`
	Output      any          `toml:"output"`
	Effects     string       `toml:"effects"`
	Isolation   string       `toml:"isolation"`
	Streams     []string     `toml:"streams"`
	Uses        []string     `toml:"capabilities"`
	Limits      rawLimits    `toml:"limits"`
	Recall      *rawRecall   `toml:"recall"`
	Examples    []rawExample `toml:"examples"`
}

type rawRecall struct {
	Question string          `toml:"question,required"`
	Near     float64         `toml:"near"`
	Empty    string          `toml:"empty"`
	Same     string          `toml:"same"`
	TTL      strict.Duration `toml:"ttl,required"`
}

type rawLimits struct {
	Memory strict.Size     `toml:"memory"`
	Gas    uint64          `toml:"gas"`
	Time   strict.Duration `toml:"time"`
	Input  strict.Size     `toml:"input"`
	Output strict.Size     `toml:"output"`
	Stream strict.Size     `toml:"stream"`
}

type rawExample struct {
	Title  string `toml:"title"`
	Input  any    `toml:"input,required"`
	Output any    `toml:"output"`
}

type rawCapability struct {
	Scope    []string        `toml:"scope"`
	Reason   string          `toml:"reason,required"`
	Ask      bool            `toml:"ask"`
	Optional bool            `toml:"optional"`
	TTL      strict.Duration `toml:"ttl"`
	Budget   rawBudget       `toml:"budget"`
}

type rawBudget struct {
	Calls  int64       `toml:"calls"`
	Bytes  strict.Size `toml:"bytes"`
	Tokens int64       `toml:"tokens"`
	Money  int64       `toml:"usd_micros"`
}

type rawFile struct {
	ID    string `toml:"id,required"`
	Title string `toml:"title,required"`
	File  string `toml:"file,required"`
}

type rawState struct {
	ID          string `toml:"id,required"`
	Description string `toml:"description,required"`
	Schema      any    `toml:"schema"`
}
