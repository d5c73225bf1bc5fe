package wasm

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"slices"

	extism "github.com/extism/go-sdk"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm/rewrite"
)

// Extism's runtime keeps input, output and every block that guest and host exchange in a second memory, its kernel's.
// It starts with 16 pages, and what a block needs beside its bytes must fit as well.
const kernelPages = 32

// pluginState is what an instance of a plugin has beside its module.
type pluginState struct {
	sdk    *extism.Plugin
	kernel *linear
}

// pluginSnapshot is the part of a snapshot that a plugin adds.
type pluginSnapshot struct {
	kernel *image
	vars   map[string][]byte
}

// pluginImports moves the imports that this host answers itself out of the SDK's reach.
func pluginImports(im rewrite.Import) (module, name string) {
	if im.Module == extismEnv && extismOurs()[im.Name] != nil {
		return extismUser, rewrite.Reserved + im.Name
	}
	return im.Module, im.Name
}

// compilePlugin hands the rewritten module to the Extism SDK. Its own ways out stay shut: no hosts, no paths, no WASI of
// its own, no timeout (ours stops the guest and keeps the instance's neighbours), and no second module.
func compilePlugin(ctx context.Context, a *artifact, m *machine, cfg wazero.RuntimeConfig, workers int) (*machine, error) {
	c := experimental.WithFunctionListenerFactory(experimental.WithCompilationWorkers(ctx, workers), marker{})
	var err error
	m.plugin, err = extism.NewCompiledPlugin(c, extism.Manifest{
		Wasm:   []extism.Wasm{extism.WasmData{Data: a.binary, Name: "main"}},
		Memory: &extism.ManifestMemory{MaxHttpResponseBytes: 0, MaxVarBytes: maxVars},
	}, extism.PluginConfig{
		RuntimeConfig: cfg.WithMemoryLimitPages(min(a.Cap+kernelPages+1, 1<<16)),
	}, pluginFuncs(a.Imports))
	return m.made(ctx, err)
}

// maxVars bounds the Extism variables of one call, names and a few bytes for each included.
const maxVars = 1 << 20

// marker learns which module of the engine belongs to an instance: the SDK does not tell.
type marker struct{}

type markKey struct{}

// NewFunctionListener implements experimental.FunctionListenerFactory: it listens to one function that runs once.
func (marker) NewFunctionListener(def api.FunctionDefinition) experimental.FunctionListener {
	if slices.Contains(def.ExportNames(), rewrite.ExportMark) {
		return marker{}
	}
	return nil
}

// Before implements experimental.FunctionListener.
func (marker) Before(ctx context.Context, mod api.Module, _ api.FunctionDefinition, _ []uint64, _ experimental.StackIterator) {
	if in, ok := ctx.Value(markKey{}).(*instance); ok {
		in.mod = mod
	}
}

// After implements experimental.FunctionListener.
func (marker) After(context.Context, api.Module, api.FunctionDefinition, []uint64) {}

// Abort implements experimental.FunctionListener.
func (marker) Abort(context.Context, api.Module, api.FunctionDefinition, error) {}

// twoMemories gives the kernel's memory first and then the guest's, in the order in which the SDK makes them.
type twoMemories struct {
	list []*linear
}

// Allocate implements experimental.MemoryAllocator.
func (t *twoMemories) Allocate(least, most uint64) experimental.LinearMemory {
	l := t.list[0]
	t.list = t.list[1:]
	return l.Allocate(least, most)
}

// instantiatePlugin makes an instance through the SDK, before any of the guest's code ran.
func (in *instance) instantiatePlugin(ctx context.Context) error {
	p := in.p
	kernel := newLinear(p.engine.portable, func(n int64) bool { return p.engine.share.grow(p.pool, n) }, func() {})
	in.plug = &pluginState{kernel: kernel}
	if p.snap != nil {
		kernel.image = p.snap.plugin.kernel
	}
	ctx = experimental.WithMemoryAllocator(ctx, &twoMemories{[]*linear{kernel, in.mem}})
	ctx = context.WithValue(ctx, markKey{}, in)
	sdk, err := in.machine.plugin.Instance(ctx, extism.PluginInstanceConfig{ModuleConfig: moduleConfig})
	if err != nil {
		return err
	}
	in.plug.sdk = sdk
	if in.mod == nil {
		_ = sdk.Close(ctx)
		return abi.Errorf(abi.Internal, "the Extism SDK made an instance without saying which")
	}
	if in.mem.err == nil {
		in.mem.err = kernel.err
	}
	return nil
}

// bootPlugin runs what prepares the module. The SDK does it for Haskell, when a tool is first called.
func (in *instance) bootPlugin(c *call) error {
	if in.mod.ExportedFunction(rewrite.ExportStart) != nil {
		if err := in.enter(c, rewrite.ExportStart); err != nil {
			return err
		}
	}
	if in.mod.ExportedFunction("hs_init") != nil {
		return nil
	}
	for _, name := range extismStarts[:2] {
		if fn := in.mod.ExportedFunction(name); fn != nil && len(fn.Definition().ParamTypes()) == 0 {
			return in.enter(c, name)
		}
	}
	return nil
}

func (in *instance) enter(c *call, name string) error {
	_, _, err := in.plug.sdk.CallWithContext(c, name, nil)
	return err
}

// capturePlugin adds the kernel's memory and the variables to a snapshot.
func (in *instance) capturePlugin(s *snapshot) error {
	kernel := in.plug.kernel
	s.plugin = &pluginSnapshot{kernel: newImage(kernel.buf, in.p.engine.portable).survey(), vars: maps.Clone(in.plug.sdk.Var)}
	size := len(kernel.buf)
	if err := kernel.adopt(s.plugin.kernel); err != nil {
		s.plugin.kernel.release()
		return err
	}
	if !kernel.resize(size, in.plug.sdk.Memory()) {
		return errNoMemory
	}
	return nil
}

// restorePlugin is the plugin's part of restore.
func (in *instance) restorePlugin(s *pluginSnapshot) bool {
	kernel := in.plug.kernel
	if len(kernel.buf) != len(s.kernel.bytes) && !kernel.resize(len(s.kernel.bytes), in.plug.sdk.Memory()) {
		return false
	}
	kernel.restore(false)
	in.plug.sdk.Var = maps.Clone(s.vars)
	return true
}

// exchangePlugin calls a tool through the SDK and makes a reply of what it says.
func (in *instance) exchangePlugin(c *call, req *Call) (Reply, error) {
	export, err := extismTool(in.p.code.Tools, req.Tool)
	if err != nil {
		return Reply{Kind: abi.FrameError}, err
	}
	if uint64(len(req.Input)) > uint64(in.p.code.Cap)*pageSize {
		return Reply{}, abi.Errorf(abi.MemoryExhausted, "no room for an input of %d bytes within the memory limit", len(req.Input))
	}
	rc, out, err := in.plug.sdk.CallWithContext(c, export, req.Input)
	if c.exited && c.exitCode == 0 && err == nil {
		in.spent = true // a program that ended well answers, but nobody may enter it again
	}
	if err != nil {
		return in.pluginError(c, err)
	}
	if rc != 0 {
		return Reply{Kind: abi.FrameError}, abi.Errorf(abi.ToolFailed, "the plugin's %s returned %d and no message", export, int32(rc))
	}
	if int64(len(out)) >= c.output { // the limit counts a frame's first byte, for every runtime alike
		return Reply{}, abi.Errorf(abi.TooLarge, "the reply has %d bytes, the limit is %d", len(out), c.output).
			WithHint("answer with less, or raise limits.output in pack.toml")
	}
	if json.Valid(out) {
		return Reply{Kind: abi.FrameJSON, Body: out}, nil
	}
	return Reply{Kind: abi.FrameBytes, Body: out}, nil
}

// pluginError tells the plugin's own error from a call that was ended: the SDK returns both as errors.
func (in *instance) pluginError(c *call, err error) (Reply, error) {
	if c.refused != nil {
		in.spent = true
		return Reply{Kind: abi.FrameError}, c.refused
	}
	said := in.plug.sdk.GetErrorWithContext(c)
	ended := c.stopped != nil || c.exited || c.inside != "" || api.DecodeI32(in.why.Get()) != rewrite.WhyNone
	if said != "" && !ended && err.Error() == said {
		if kind, _, frame := abi.ParseFrame([]byte(said)); kind == abi.FrameError {
			return Reply{Kind: kind}, frame // a guest that knows this host says the code itself
		}
		return Reply{Kind: abi.FrameError}, abi.Errorf(abi.ToolFailed, "%s", clean(said, maxMessage))
	}
	if said != "" {
		c.state().remember([]byte(said)) // what a PDK reports before it gives up
	}
	return Reply{}, err
}

// blockLen is the length of a block of the kernel; false for what is none.
func (in *instance) blockLen(ctx context.Context, p *extism.CurrentPlugin, offset uint64) (uint32, bool) {
	if offset == 0 {
		return 0, true
	}
	n, err := p.LengthWithContext(ctx, offset)
	if err != nil || n == 0 || offset > math.MaxUint32 || n > math.MaxUint32 {
		return 0, false
	}
	return uint32(n), true
}
