package main

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
	"unsafe"
)

// world is one run.
type world struct {
	bin, arw, dir, pack string
	ctKey               *ecdsa.PrivateKey
	ctID                [32]byte
	env                 map[string]string // what cases refer to as $NAME
}

func (w *world) path(name string) string { return filepath.Join(w.dir, filepath.FromSlash(name)) }

// loopbackUp is "ip link set lo up": a new network namespace has its loopback down. It does no harm where it is up.
func loopbackUp() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	var req struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(req.name[:], "lo")
	req.flags = syscall.IFF_UP | syscall.IFF_RUNNING
	if _, _, no := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&req))); no != 0 {
		return no
	}
	return nil
}

// service is a program of the deployment; it is up when its address answers.
type service struct {
	name, address string
	args          []string
}

func (w *world) services() []service {
	registries := []service{{"registry", "localhost:5000", []string{w.path("registry.yml")}}}
	for name, port := range arwRegistries {
		registries = append(registries, service{"arw", "127.0.0.1:" + port, []string{"registry", "serve", "--dir", w.path("reg-" + name), "--listen", "127.0.0.1:" + port}})
	}
	return append([]service{
		{"posix", "localhost:3003", []string{"serve", "--http-address=127.0.0.1", "--http-port=3003", "--grpc-address=127.0.0.1", "--grpc-port=3001",
			"--http-metrics-port=2113", "--hostname=" + rekorOrigin, "--storage-dir=" + w.path("rekor"), "--signer-filepath=" + w.path("rekor-key.pem"),
			"--checkpoint-interval=2s", "--persistent-antispam=false"}},
		{"timestamp-server", "localhost:5557", []string{"serve", "--host=127.0.0.1", "--port=5557", "--timestamp-signer=file",
			"--file-signer-key-path=" + w.path("tsa-key.pem"), "--file-signer-passwd=", "--certificate-chain-path=" + w.path("tsa-chain.pem"), "--disable-ntp-monitoring"}},
		{"fulcio", "localhost:5555", []string{"serve", "--host=127.0.0.1", "--port=5555", "--grpc-host=127.0.0.1", "--grpc-port=5554", "--metrics-port=2114",
			"--ca=fileca", "--fileca-cert=" + w.path("fulcio-chain.pem"), "--fileca-key=" + w.path("fulcio-key.pem"), "--fileca-key-passwd=",
			"--ct-log-url=" + ctURL, "--ct-log-public-key-path=" + w.path("ct-pub.pem"), "--config-path=" + w.path("fulcio.yaml"),
			"--legacy-unix-domain-socket=" + w.path("fulcio.sock")}},
	}, registries...)
}

// arwRegistries are the ports of our own registries, one for each signer, so that no signature helps another case.
var arwRegistries = map[string]string{"keyless": "8101", "logged": "8102", "bare": "8103", "cosign-keyless": "8104", "cosign-key": "8105", "pushed": "8106"}

// stack is what runs.
type stack struct {
	servers []*http.Server
	procs   []*exec.Cmd
}

func (w *world) start(ctx context.Context) (*stack, error) {
	s := &stack{}
	oidc, err := newProvider()
	if err != nil {
		return nil, err
	}
	for address, h := range map[string]http.Handler{"127.0.0.1:8888": oidc.handler(), "127.0.0.1:6962": w.certificateLog()} {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			return nil, err
		}
		srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
		s.servers = append(s.servers, srv)
		go func() { _ = srv.Serve(ln) }()
	}
	files := map[string]string{
		"fulcio.yaml":  fmt.Sprintf("oidc-issuers:\n  %s:\n    issuer-url: %s\n    client-id: sigstore\n    type: email\n", oidcURL, oidcURL),
		"registry.yml": fmt.Sprintf("version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: %s\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:5000\n", w.path("distribution")),
	}
	for name, text := range files {
		if err := os.WriteFile(w.path(name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	for _, sv := range w.services() {
		if err := s.launch(ctx, w, sv); err != nil {
			s.stop()
			return nil, err
		}
	}
	return s, nil
}

func (s *stack) launch(ctx context.Context, w *world, sv service) error {
	program := filepath.Join(w.bin, sv.name)
	switch sv.name {
	case "arw":
		program = w.arw
	case "registry":
		sv.args = append([]string{"serve"}, sv.args...)
	}
	log, err := os.Create(w.path("log-" + sv.name + "-" + sv.address[len(sv.address)-4:]))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(program, sv.args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", sv.name, err)
	}
	s.procs = append(s.procs, cmd)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 600 {
		if c, err := net.DialTimeout("tcp", sv.address, time.Second); err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return fmt.Errorf("%s does not answer at %s; see %s", sv.name, sv.address, log.Name())
}

func (s *stack) stop() {
	for _, p := range s.procs {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
	for _, srv := range s.servers {
		_ = srv.Close()
	}
}
