package guest

import (
	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest/codec"
)

// ToolInfo describes a registered tool. Input and Output are JSON Schemas of its types, null for a tool of bytes.
type ToolInfo struct {
	ID     string    `json:"id"`
	Input  codec.Raw `json:"input"`
	Output codec.Raw `json:"output"`
}

// Describe describes the tools that were registered so far, by id. A test calls main first.
func Describe() []ToolInfo {
	infos := make([]ToolInfo, 0, len(tools))
	for _, id := range toolIDs() {
		info := ToolInfo{ID: id}
		if t := find(id); t.input != nil {
			info.Input, info.Output = t.input(), t.output()
		}
		infos = append(infos, info)
	}
	return infos
}

// Schema is the JSON Schema of a type, as Describe gives it for a tool's input and output.
func Schema[T any]() []byte { return codec.For[T]().Schema() }

// describeTool is the one tool every module of this kit has besides its own: it answers Describe, so that a build can hold
// the manifest against the code. No manifest can name it, since ids begin with a letter.
const describeTool = "_describe"

type description struct {
	SDK   string     `json:"sdk"`
	ABI   string     `json:"abi"`
	Tools []ToolInfo `json:"tools"`
}

func appendDescription(dst []byte) []byte {
	frame, err := codec.AppendAny(append(dst, byte(abi.FrameJSON)), description{"go", abi.Version, Describe()})
	if err != nil {
		return appendError(dst, err)
	}
	return frame
}
