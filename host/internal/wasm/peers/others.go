package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	extism "github.com/extism/go-sdk"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// openExtism makes a plugin with a host function that looks up in the table.
func openExtism(ctx context.Context) (*extism.Plugin, error) {
	get := extism.NewHostFunctionWithStack("kv_get", func(ctx context.Context, p *extism.CurrentPlugin, stack []uint64) {
		key, err := p.ReadString(stack[0])
		if err == nil {
			stack[0], err = p.WriteString(table[key])
		}
		if err != nil {
			panic(err)
		}
	}, []extism.ValueType{extism.ValueTypePTR}, []extism.ValueType{extism.ValueTypePTR})
	return extism.NewPlugin(ctx, extism.Manifest{Wasm: []extism.Wasm{extism.WasmData{Data: extismGuest}}}, extism.PluginConfig{}, []extism.HostFunction{get})
}

func callExtism(p *extism.Plugin, name, in, want string) func() error {
	return func() error {
		code, out, err := p.Call(name, []byte(in))
		if err != nil || code != 0 || string(out) != want {
			return fmt.Errorf("%d bytes, code %d: %w", len(out), code, err)
		}
		return nil
	}
}

// task is what a child process does: it has the table itself, so it is spared the call back to its host.
func task(in string) string {
	_, rest, _ := strings.Cut(in, `"key":"`)
	key, _, _ := strings.Cut(rest, `"`)
	return `{"id":7,"value":"` + table[key] + `"}`
}

// service is the one method of the gRPC plugin.
type service struct{ plugin.Plugin }

var handshake = plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "ARW_PEERS", MagicCookieValue: "bench"}

func (service) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "peers", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Do",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := &wrapperspb.BytesValue{}
			if err := decode(in); err != nil {
				return nil, err
			}
			return wrapperspb.Bytes([]byte(task(string(in.Value)))), nil
		},
	}}}, nil)
	return nil
}

func (service) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return c, nil
}

func servePlugin() {
	plugin.Serve(&plugin.ServeConfig{HandshakeConfig: handshake, Plugins: plugin.PluginSet{"peers": service{}}, GRPCServer: plugin.DefaultGRPCServer})
}

// openPlugin starts this program again as a plugin.
func openPlugin() (call func() error, stop func(), err error) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"=plugin")
	client := plugin.NewClient(&plugin.ClientConfig{HandshakeConfig: handshake, Plugins: plugin.PluginSet{"peers": service{}}, Cmd: cmd,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, Logger: hclog.NewNullLogger()})
	rpc, err := client.Client()
	if err != nil {
		client.Kill()
		return nil, nil, err
	}
	conn, err := rpc.Dispense("peers")
	if err != nil {
		client.Kill()
		return nil, nil, err
	}
	return func() error {
		out := &wrapperspb.BytesValue{}
		if err := conn.(*grpc.ClientConn).Invoke(context.Background(), "/peers/Do", wrapperspb.Bytes([]byte(request)), out); err != nil {
			return err
		}
		if string(out.Value) != answer {
			return fmt.Errorf("answered %q", out.Value)
		}
		return nil
	}, client.Kill, nil
}

// A message over the pipe is its length and its bytes.
func writeMessage(w io.Writer, s string) error {
	_, err := w.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(s))), s...))
	return err
}

func readMessage(r *bufio.Reader) (string, error) {
	var n [4]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return "", err
	}
	b := make([]byte, binary.LittleEndian.Uint32(n[:]))
	_, err := io.ReadFull(r, b)
	return string(b), err
}

func servePipe() {
	in := bufio.NewReader(os.Stdin)
	for {
		s, err := readMessage(in)
		if err != nil || writeMessage(os.Stdout, task(s)) != nil {
			return
		}
	}
}

// openPipe starts this program again as a child that answers over pipes.
func openPipe() (call func() error, stop func(), err error) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"=pipe")
	to, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	from, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	r := bufio.NewReader(from)
	return func() error {
		if err := writeMessage(to, request); err != nil {
			return err
		}
		if s, err := readMessage(r); err != nil || s != answer {
			return fmt.Errorf("answered %q: %w", s, err)
		}
		return nil
	}, func() { to.Close(); cmd.Wait() }, nil
}
