package author

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/sdk/go/guest"
)

// describeTool is what every SDK's modules answer besides their own tools: the tools there are, and schemas of their types
// where the language lets them be derived. No manifest can name it.
const describeTool = "_describe"

// described asks the built module, whatever language it was made with, what its code takes and answers, and holds that against
// pack.toml. A module that does not know the question was made without an SDK, or with one that derives nothing.
func (l *linter) described(ctx context.Context, module []byte) error {
	if l.Manifest.Module.Runtime == wasm.RuntimeExtism {
		return nil // Extism has no such question
	}
	infos, err := describe(ctx, module, l.Manifest.Module.Runtime)
	if infos == nil || err != nil {
		return err
	}
	for i, t := range l.Manifest.Tools {
		at := slices.IndexFunc(infos, func(info guest.ToolInfo) bool { return info.ID == t.ID })
		if at < 0 {
			l.add(SeverityError, "code-tool", []any{"tools", i, "id"}, "the module has no tool %q; it has %s", t.ID, idsOf(infos))
			continue
		}
		l.compare(i, infos[at], t.Input.JSON(), t.Output.JSON())
	}
	for _, info := range infos {
		if _, ok := l.Manifest.Tool(info.ID); !ok {
			l.add(SeverityWarning, "code-tool", []any{"tools"}, "the module has a tool %q, and pack.toml does not name it: nobody can call it", info.ID).
				Add = "[[tools]]\nid = \"" + info.ID + "\"\ndescription = \"…\""
		}
	}
	return nil
}

// compare tells each way in which schemas of one tool disagree, at the schema it is about.
func (l *linter) compare(i int, info guest.ToolInfo, input, output []byte) {
	info.Input, info.Output = object(info.Input), object(info.Output)
	for _, part := range []struct {
		name            string
		input, declared []byte
	}{{"input", object(input), nil}, {"output", nil, object(output)}} {
		err := info.Check(part.input, part.declared)
		e, ok := errors.AsType[*abi.Error](err)
		if !ok {
			continue
		}
		faults, ok := e.Detail.([]string)
		if !ok {
			faults = []string{e.Error()}
		}
		for _, fault := range faults {
			l.add(SeverityError, "schema-code", []any{"tools", i, part.name}, "%s", strings.TrimPrefix(fault, part.name+": "))
		}
	}
}

// describe calls the question on the interpreter, with nothing granted; nil when the module does not answer it.
func describe(ctx context.Context, module []byte, runtime string) ([]guest.ToolInfo, error) {
	engine, err := wasm.Open(wasm.Options{Interpret: true})
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	sum := sha256.Sum256(module)
	p, err := engine.Load(ctx, wasm.Spec{Name: "lint", Digest: "sha256:" + hex.EncodeToString(sum[:]), Module: module, Runtime: runtime})
	if err != nil {
		return nil, nil // what is wrong with the module, other rules and the install tell
	}
	defer p.Close(context.WithoutCancel(ctx))
	reply, err := p.Call(ctx, wasm.Call{Tool: describeTool})
	var said struct {
		SDK   string           `json:"sdk"`
		Tools []guest.ToolInfo `json:"tools"`
	}
	if err != nil || reply.Kind != abi.FrameJSON || json.Unmarshal(reply.Body, &said) != nil || said.SDK == "" {
		return nil, nil
	}
	return said.Tools, nil
}

// object is a schema that says something; nil for one that is no object: true takes anything, and null is a tool of bytes.
func object(schema []byte) []byte {
	if schema = bytes.TrimSpace(schema); len(schema) == 0 || schema[0] != '{' {
		return nil
	}
	return schema
}

func idsOf(infos []guest.ToolInfo) string {
	var ids []string
	for _, info := range infos {
		ids = append(ids, info.ID)
	}
	return strings.Join(ids, ", ")
}
