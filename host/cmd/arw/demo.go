package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/author"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/sdk/go/client"
	"github.com/arw-project/arw/signing"
)

// demoPack is what the demonstration installs.
const demoPack = "arw/research"

func (a *app) demoCmd() *cobra.Command {
	var from, folder string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See the whole path in seconds: sign, install, call, explain, tamper, revoke",
		Long: `Run the whole path in a throw-away folder: make a key, sign a pack into a registry, start a host that trusts that key
alone, install, ingest a folder, search it, tell why all that was allowed; then try a tampered copy and a revoked lease.
Nothing of it remains.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			src, err := demoSource(from)
			if err != nil {
				return err
			}
			if folder == "" {
				folder = filepath.Join(filepath.Dir(src), "..", "docs")
				if _, err := os.Stat(folder); err != nil {
					folder = src
				}
			}
			dir, err := os.MkdirTemp("", "arw-demo-")
			if err != nil {
				return abi.Errorf(abi.StorageFull, "make a throw-away folder: %w", err)
			}
			defer os.RemoveAll(dir)
			d := &demo{app: a, ui: a.ui(a.std.out), dir: dir, source: src, folder: folder}
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&from, "pack", "", "folder of the research pack (default beside the program, else ./packs/research)")
	cmd.Flags().StringVar(&folder, "folder", "", "folder to ingest (default this project's docs)")
	return cmd
}

// demoSource finds the research pack: built beside the program, or its sources here.
func demoSource(from string) (string, error) {
	candidates := []string{from}
	if from == "" {
		candidates = []string{filepath.Join("packs", "research")}
		if exe, err := os.Executable(); err == nil {
			candidates = append(candidates, filepath.Join(filepath.Dir(exe), "packs", "research"), filepath.Join(filepath.Dir(exe), "..", "packs", "research"))
		}
	}
	for _, dir := range candidates {
		if _, err := os.Stat(filepath.Join(dir, author.ManifestName)); err == nil {
			return filepath.Abs(dir)
		}
	}
	return "", abi.Errorf(abi.NotFound, "find the research pack: it is neither beside the program nor in packs/research").
		WithHint("run it from the clone, or name the folder with --pack")
}

// demo is one demonstration; steps share what they make.
type demo struct {
	app                 *app
	ui                  ui
	dir, source, folder string

	key    *signing.Key
	digest string
	client *client.Client
}

func (d *demo) step(n int, format string, args ...any) {
	d.ui.say("\n%s %s", d.ui.bold(fmt.Sprintf("%d.", n)), d.ui.bold(fmt.Sprintf(format, args...)))
}

func (d *demo) run(ctx context.Context) error {
	began := time.Now()
	d.step(1, "A publisher makes a key, signs a pack and pushes it to a registry")
	if err := d.publish(ctx); err != nil {
		return err
	}
	d.step(2, "A host that trusts that key alone starts and installs the pack")
	ctx, stop := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	if err := d.start(ctx, g); err != nil {
		stop()
		return err
	}
	err := d.tour(ctx)
	stop()
	if ended := g.Wait(); err == nil {
		err = ended
	}
	if err == nil {
		d.ui.say("\n%s in %s; nothing of it remains. Next: make run, then arw --help", d.ui.green("Done"), time.Since(began).Round(10*time.Millisecond))
	}
	return err
}

func (d *demo) tour(ctx context.Context) error {
	for _, step := range []func(context.Context) error{d.install, d.use, d.why, d.tamper, d.revoke} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) registry() (*registry.Registry, error) {
	return registry.Open("dir:"+filepath.Join(d.dir, "registry"), registry.Options{})
}

func (d *demo) publish(ctx context.Context) error {
	var err error
	if d.key, err = signing.GenerateKey(); err != nil {
		return err
	}
	f, err := author.Open(d.source)
	if err != nil {
		return err
	}
	if _, err := f.Module(); abi.CodeOf(err) == abi.NotFound {
		d.ui.say("  building %s once with the Go toolchain …", f.Manifest.Name)
		if _, err := f.Build(ctx, author.BuildOptions{}); err != nil {
			return err
		}
	}
	reg, err := d.registry()
	if err != nil {
		return err
	}
	if d.digest, err = f.Push(ctx, reg, nil); err != nil {
		return err
	}
	bundle, err := signing.Sign(ctx, d.key, d.digest)
	if err != nil {
		return err
	}
	if _, err := reg.Attach(ctx, f.Manifest.Name, d.digest, bundle, signing.PredicateSign); err != nil {
		return err
	}
	d.ui.facts("pack", f.Manifest.Name+" "+f.Manifest.Version, "digest", d.digest, "key", d.key.ID())
	return nil
}

func (d *demo) start(ctx context.Context, g *errgroup.Group) error {
	state := filepath.Join(d.dir, "state")
	if _, err := addTrust(state, trusted{name: "demo-publisher", packs: "arw/*", key: d.key.PublicPEM()}); err != nil {
		return err
	}
	began := time.Now()
	h, err := host.Open(ctx, host.Config{
		StateDir: state, TrustFile: filepath.Join(state, "trust.toml"), PolicyDir: filepath.Join(state, "policy"),
		Registries: []string{"dir:" + filepath.Join(d.dir, "registry")}, Version: version,
	})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.Close()
		return abi.Errorf(abi.Unavailable, "listen for the demonstration: %w", err)
	}
	token, err := h.Token()
	if err != nil {
		return errors.Join(err, ln.Close(), h.Close())
	}
	g.Go(func() error {
		defer h.Close()
		return h.Serve(ctx, ln)
	})
	d.client = client.New("http://"+ln.Addr().String(), token)
	d.ui.facts("host", "http://"+ln.Addr().String(), "up after", time.Since(began).Round(time.Millisecond).String())
	return nil
}

func (d *demo) install(ctx context.Context) error {
	began := time.Now()
	raw, err := d.client.Install(ctx, api.InstallPack{Ref: demoPack + "@" + d.digest}, nil)
	if err != nil {
		return err
	}
	var v pack.Verdict
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	d.ui.facts("installed", v.Pack+" "+v.Version, "took", time.Since(began).Round(time.Millisecond).String())
	return nil
}

// call runs a tool and returns its answer, or why there is none.
func (d *demo) call(ctx context.Context, tool string, in any, into any) error {
	raw, err := json.Marshal(in)
	if err != nil {
		return err
	}
	act, err := d.client.Submit(ctx, api.SubmitAction{Kind: tool, Input: raw}, true)
	if err != nil {
		return err
	}
	if act.Error != nil {
		code, _ := abi.CodeByName(act.Error.Code)
		return &abi.Error{Code: code, Msg: act.Error.Message, Hint: act.Error.Next}
	}
	return json.Unmarshal(act.Output, into)
}

func (d *demo) use(ctx context.Context) error {
	d.step(3, "It may read no folder yet: the first call is denied, a person grants a lease, the second works")
	in := map[string]any{"dir": d.folder}
	var sum map[string]any
	denied := d.call(ctx, "research.ingest", in, &sum)
	if err := d.expect(denied, abi.Denied); err != nil {
		return err
	}
	l, err := d.client.Grant(ctx, api.GrantLease{Pack: demoPack, Capability: "fs", Scope: []string{"read:" + d.folder}, TTL: "10m", Reason: "the demonstration"})
	if err != nil {
		return err
	}
	d.ui.say("  %s lease %s: fs %s for 10m", d.ui.green("granted"), l.ID, strings.Join(l.Scope, " "))
	for done := false; !done; {
		if err := d.call(ctx, "research.ingest", in, &sum); err != nil {
			return err
		}
		done = sum["done"] != false
	}
	d.ui.say("  %s %v files, %v passages", d.ui.green("ingested"), sum["files"], sum["passages"])
	d.step(4, "Search: ranked passages with pointers into the files")
	var found struct {
		Results []struct {
			Pointer string `json:"pointer"`
			Snippet string `json:"snippet"`
		} `json:"results"`
	}
	query := map[string]any{"query": "what happens when a lease expires in mid-call", "k": 3}
	if err := d.call(ctx, "research.search", query, &found); err != nil {
		return err
	}
	d.ui.say("  %q", query["query"])
	for _, r := range found.Results {
		d.ui.say("  %s\n    %s", d.ui.bold(r.Pointer), clipWide(strings.Join(strings.Fields(r.Snippet), " ")))
	}
	return nil
}

// expect prints a refusal that had to come; anything else is a failure of the demonstration.
func (d *demo) expect(err error, want abi.Code) error {
	if got := abi.CodeOf(err); got != want {
		return abi.Errorf(abi.Internal, "the demonstration expected a refusal with code %s and got %s: %w", want, got, err)
	}
	d.ui.say("  %s (%s) %s", d.ui.red("refused"), want, err)
	if hint := abi.HintOf(err); hint != "" {
		d.ui.say("    next: %s", strings.ReplaceAll(hint, "\n", "\n          "))
	}
	return nil
}

func (d *demo) why(ctx context.Context) error {
	d.step(5, "arw why %s", demoPack)
	raw, err := d.client.Verdict(ctx, demoPack)
	if err != nil {
		return err
	}
	var v pack.Verdict
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	return tellVerdict(d.ui, &v)
}

func (d *demo) tamper(ctx context.Context) error {
	d.step(6, "Somebody flips one byte of the module in the registry")
	blob, err := d.largestBlob()
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(blob)
	if err != nil {
		return err
	}
	raw[len(raw)/2] ^= 1
	if err := os.Chmod(blob, 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(blob, raw, 0o644); err != nil {
		return err
	}
	_, err = d.client.Install(ctx, api.InstallPack{Ref: demoPack + "@" + d.digest}, nil)
	return d.expect(err, abi.Corrupt)
}

// largestBlob is the module's file in the registry folder.
func (d *demo) largestBlob() (string, error) {
	var largest string
	var size int64
	err := filepath.WalkDir(filepath.Join(d.dir, "registry"), func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Size() > size {
			largest, size = path, info.Size()
		}
		return err
	})
	return largest, err
}

func (d *demo) revoke(ctx context.Context) error {
	d.step(7, "The person takes the lease back: the very next call stops")
	var doc api.List[api.Lease]
	if err := d.client.List(ctx, "leases", map[string][]string{"pack": {demoPack}, "state": {"live"}}, &doc); err != nil {
		return err
	}
	for _, l := range doc.Items {
		if l.Capability != "fs" {
			continue
		}
		if _, err := d.client.Revoke(ctx, l.ID, "the demonstration is over"); err != nil {
			return err
		}
		d.ui.say("  %s lease %s", d.ui.yellow("revoked"), l.ID)
	}
	var sum map[string]any
	return d.expect(d.call(ctx, "research.ingest", map[string]any{"dir": d.folder}, &sum), abi.LeaseRevoked)
}
