package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/internal/author"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/signing"
)

// devSigner is the name under which a developer host knows the key of its session.
const devSigner = "arw-dev-session"

// devTick is how often the folder is looked at; what changed must stand still for one tick before it is built.
const devTick = 40 * time.Millisecond

func (a *app) packDevCmd() *cobra.Command {
	var d dev
	cmd := &cobra.Command{
		Use:   "dev [DIR]",
		Short: "Build, test and serve a pack again whenever its sources change, in a developer host of its own",
		Long: `Start a developer host and keep a pack running in it: on every change of the sources the pack is built, its cases are
played, and the new build takes the old one's place. When something fails the old build goes on serving.

The developer host signs with a key that exists in this process only, and trusts it for this one pack only, until it
ends. Everything else is as on any host: the same checks, policies and leases; what a new build asks for beyond the old
one is said, and what needs a person's leave stays denied until you grant it. Without --state the host's state is
thrown away at the end; with it, the pack is removed from it at the end and its keys stay.`,
		Example: "  arw pack dev hello\n  arw pack dev hello --listen 127.0.0.1:8091\n  arw pack dev hello --state ./devstate",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d.app, d.dir, d.tick = a, ".", devTick
			if len(args) > 0 {
				d.dir = args[0]
			}
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&d.listen, "listen", "127.0.0.1:0", "address of the developer host's API, on loopback")
	cmd.Flags().BoolVar(&d.noTests, "no-tests", false, "serve a build without playing its cases first")
	return cmd
}

// dev is one session.
type dev struct {
	app         *app
	dir, listen string
	noTests     bool
	tick        time.Duration

	state   string // of the developer host
	temp    string // removed at the end
	name    string // of the pack: the one thing the session's key may sign
	key     *signing.Key
	reg     *registry.Registry
	host    *host.Host
	address string

	serving *manifests.Pack // what runs; nil before the first build that works
	digest  string          // of its artifact
	verdict *pack.Verdict
	tested  func() // lets go of the module as it was tested, once it is installed or not
}

// devEvent is one line of --json, and what the text is made of.
type devEvent struct {
	Event   string            `json:"event"` // ready, changed, served, same, failed, ended
	Time    time.Time         `json:"time"`
	Pack    string            `json:"pack"`
	Address string            `json:"address,omitempty"`
	State   string            `json:"state,omitempty"`
	KeyID   string            `json:"key_id,omitempty"`
	Files   []string          `json:"files,omitempty"`
	Version string            `json:"version,omitempty"`
	Digest  string            `json:"digest,omitempty"` // what is served from now on, or still
	Step    string            `json:"step,omitempty"`   // of a failure
	Code    string            `json:"code,omitempty"`
	Error   string            `json:"error,omitempty"`
	Next    string            `json:"next,omitempty"`
	Tests   *author.Tested    `json:"tests,omitempty"`
	Changes []devChange       `json:"changes,omitempty"`
	Pending []string          `json:"pending,omitempty"` // commands that would grant what nobody granted yet
	Took    map[string]string `json:"took,omitempty"`
	took    []string          // the keys of Took in order
}

func (d *dev) run(ctx context.Context) (err error) {
	f, err := author.Open(d.dir)
	if err != nil {
		return err
	}
	d.name = f.Manifest.Name
	if d.temp, err = os.MkdirTemp("", "arw-dev-"); err != nil {
		return abi.Errorf(abi.StorageFull, "make a folder for the session: %w", err)
	}
	defer os.RemoveAll(d.temp)
	trust, err := d.prepare()
	if err != nil {
		return err
	}
	g, hostCtx := errgroup.WithContext(context.WithoutCancel(ctx)) // the host outlives Ctrl-C until the session has tidied up
	hostCtx, stop := context.WithCancel(hostCtx)
	defer stop()
	if err := d.open(hostCtx, g, trust); err != nil {
		return err
	}
	err = d.session(ctx, hostCtx, f)
	err = errors.Join(err, d.end())
	stop()
	if ended := g.Wait(); err == nil {
		err = ended
	}
	return err
}

// prepare makes key, registry and trust policy of the session. With a state of the person's own, the trust policy is that
// state's and one rule more, in a file of its own that no other host reads.
func (d *dev) prepare() (trust string, err error) {
	if d.key, err = signing.GenerateKey(); err != nil {
		return "", err
	}
	if d.reg, err = registry.Open("dir:"+filepath.Join(d.temp, "registry"), registry.Options{Replace: true}); err != nil {
		return "", err
	}
	if d.app.state == "" {
		d.state = filepath.Join(d.temp, "state")
		return addTrust(d.state, d.trusted())
	}
	if d.state, err = filepath.Abs(d.app.state); err != nil {
		return "", err
	}
	session := filepath.Join(d.temp, "trust")
	if err := os.MkdirAll(d.state, 0o700); err != nil {
		return "", abi.Errorf(abi.Unavailable, "open state %q: %w", d.state, err)
	}
	// The rules of the state go on to hold, or its other packs would lose their leases for the session.
	if _, err := os.Stat(filepath.Join(d.state, "trust.toml")); err == nil {
		if err := copyTrust(d.state, session); err != nil {
			return "", err
		}
	}
	return addTrust(session, d.trusted())
}

// trusted is the session's key, good for its pack alone.
func (d *dev) trusted() trusted {
	return trusted{name: devSigner, packs: d.name, key: d.key.PublicPEM()}
}

// copyTrust copies a trust policy and the files that it names.
func copyTrust(from, to string) error {
	path := filepath.Join(from, "trust.toml")
	src, err := os.ReadFile(path)
	if err != nil {
		return abi.Errorf(abi.Unavailable, "copy the trust policy: %w", err)
	}
	root, err := os.OpenRoot(from)
	if err != nil {
		return abi.Errorf(abi.Unavailable, "copy the trust policy: %w", err)
	}
	defer root.Close()
	if _, err = signing.ParsePolicy(path, src, func(name string) ([]byte, error) {
		data, err := root.ReadFile(name)
		if err == nil {
			_, err = replaceFile(filepath.Join(to, filepath.FromSlash(name)), data)
		}
		return data, err
	}); err != nil {
		return err
	}
	_, err = replaceFile(filepath.Join(to, "trust.toml"), src)
	return err
}

// open starts the developer host.
func (d *dev) open(ctx context.Context, g *errgroup.Group, trust string) (err error) {
	ln, err := listen(d.listen)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(d.app.std.err, &slog.HandlerOptions{Level: slog.LevelError}))
	if d.host, err = host.Open(ctx, host.Config{
		StateDir: d.state, TrustFile: trust, CacheDir: d.app.compileCache(), Registries: []string{"dir:" + filepath.Join(d.temp, "registry")},
		Version: version, Log: log, Upgrade: host.Upgrade{Guard: pack.Guard{Failures: -1, Denials: -1}}, // a crash is there to be looked at
	}); err != nil {
		return errors.Join(err, ln.Close())
	}
	if err := d.mayReplace(); err != nil {
		return errors.Join(err, ln.Close(), d.host.Close())
	}
	d.address = "http://" + ln.Addr().String()
	file := filepath.Join(d.state, addressFile)
	if err := os.WriteFile(file, []byte(d.address+"\n"), 0o644); err != nil {
		return errors.Join(abi.Errorf(abi.StorageFull, "leave the host's address in %q: %w", file, err), ln.Close(), d.host.Close())
	}
	h := d.host
	g.Go(func() error {
		defer os.Remove(file)
		return errors.Join(h.Serve(ctx, ln), h.Close())
	})
	return d.note("service.dev.start")
}

// mayReplace refuses to put a build in the place of a pack that somebody installed for good.
func (d *dev) mayReplace() error {
	info, err := d.host.Services().Packs.Get(d.name)
	if err != nil {
		return nil // it is not installed
	}
	if v := info.Verdict; v != nil && v.Signature != nil {
		for _, s := range v.Signature.Signers {
			if s.Name == devSigner {
				return nil
			}
		}
	}
	return abi.Errorf(abi.Conflict, "develop %q in state %q: version %s is installed there for good", d.name, d.state, info.Version).
		WithHint("leave --state away for a state of its own, or name another folder")
}

// note journals the beginning and the end of the session's trust.
func (d *dev) note(kind string) error {
	_, err := d.host.Services().Journal.Append(context.Background(), journal.Event{
		Kind: kind, Actor: "operator", Pack: d.name, Body: map[string]any{"key_id": d.key.ID(), "trusted_for": d.name},
	})
	return err
}

// end takes the pack out of a state that stays, so that nothing is left that only the session's key vouched for.
func (d *dev) end() error {
	var err error
	if d.app.state != "" && d.serving != nil {
		err = d.host.Services().Packs.Remove(context.Background(), d.name, pack.Options{By: "operator"})
	}
	err = errors.Join(err, d.note("service.dev.end"))
	d.say(devEvent{Event: "ended"})
	return err
}

// session builds once and then again at every change, until ctx ends or the host does.
func (d *dev) session(ctx, hostCtx context.Context, f *author.Folder) error {
	d.say(devEvent{Event: "ready", Address: d.address, State: d.state, KeyID: d.key.ID()})
	w, err := author.NewWatcher(d.dir, f)
	if err != nil {
		return err
	}
	d.cycle(ctx)
	tick := time.NewTicker(d.tick)
	defer tick.Stop()
	var pending []string
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hostCtx.Done():
			return nil // its own error says why
		case <-tick.C:
		}
		if next, err := author.Open(d.dir); err == nil {
			f = next
		}
		changed, err := w.Changed(f)
		if err != nil {
			return abi.Errorf(abi.Unavailable, "watch %q: %w", d.dir, err)
		}
		pending = append(pending, changed...)
		if len(pending) == 0 || len(changed) > 0 {
			continue // nothing, or an editor is still at it
		}
		slices.Sort(pending)
		d.say(devEvent{Event: "changed", Files: slices.Compact(pending)})
		pending = nil
		d.cycle(ctx)
	}
}

// cycle is one way from sources to a served pack. What fails is said, and leaves everything as it was.
func (d *dev) cycle(ctx context.Context) {
	e := devEvent{Event: "served", Took: map[string]string{}}
	began := time.Now()
	d.tested = func() {}
	step, err := d.build(ctx, &e)
	d.tested()
	if ctx.Err() != nil {
		return
	}
	e.took, e.Took["all"] = append(e.took, "all"), short3(time.Since(began))
	if err != nil {
		e.Event, e.Step, e.Code, e.Error, e.Next, e.Digest = "failed", step, abi.CodeOf(err).String(), err.Error(), abi.HintOf(err), d.digest
	}
	d.say(e)
}

func (d *dev) build(ctx context.Context, e *devEvent) (step string, err error) {
	var f *author.Folder
	var digest string
	steps := []struct {
		name string
		do   func() error
	}{
		{"manifest", func() (err error) {
			if f, err = author.Open(d.dir); err == nil && f.Manifest.Name != d.name {
				err = abi.Errorf(abi.Denied, "serve %q: this session may sign %q only", f.Manifest.Name, d.name).WithHint("end it with Ctrl-C and start anew")
			}
			return err
		}},
		{"build", func() error { _, err := f.Build(ctx, author.BuildOptions{Tool: version}); return err }},
		{"test", func() error { return d.test(ctx, f, e) }},
		{"publish", func() (err error) { digest, err = d.publish(ctx, f); return err }},
		{"install", func() error { return d.install(ctx, f, digest, e) }},
	}
	for _, s := range steps {
		began := time.Now()
		err := s.do()
		if took := time.Since(began); took > 5*time.Millisecond {
			e.took, e.Took[s.name] = append(e.took, s.name), short3(took)
		}
		if err != nil {
			return s.name, err
		}
	}
	return "", nil
}

func (d *dev) test(ctx context.Context, f *author.Folder, e *devEvent) error {
	if d.noTests {
		return nil
	}
	t, done, err := f.TestSoon(ctx, d.host.Services().Engine)
	if err != nil {
		return err
	}
	d.tested, e.Tests = done, t
	if t.Failed > 0 {
		return testVerdict(f, t)
	}
	return nil
}

func (d *dev) publish(ctx context.Context, f *author.Folder) (string, error) {
	digest, err := f.Push(ctx, d.reg, nil)
	if err != nil || digest == d.digest {
		return digest, err
	}
	stated, err := f.Attestations()
	if err != nil {
		return "", err
	}
	by := &signer{Attester: d.key, keyID: d.key.ID()}
	return digest, by.publish(ctx, d.reg, f.Manifest.Name, digest, stated)
}

// install takes the ordinary way into the host: everything that is checked anywhere is checked here.
func (d *dev) install(ctx context.Context, f *author.Folder, digest string, e *devEvent) error {
	e.Version, e.Digest = f.Manifest.Version, digest
	if digest == d.digest {
		e.Event = "same"
		return nil
	}
	v, err := d.host.Services().Packs.Install(ctx, d.name+"@"+digest, pack.Options{
		By: "operator", Accept: true, Downgrade: true, AcceptSigner: true, Again: true, Soon: true, // who writes the pack has said yes to it
	})
	if err != nil {
		return err
	}
	e.Changes = d.changes(f.Manifest, v)
	d.serving, d.digest, d.verdict = f.Manifest, digest, v
	e.Pending = d.pending(v)
	return nil
}

// devChange is what a build asks for or offers and the one before did not, or the other way round.
type devChange struct {
	Wider bool   `json:"wider"`
	What  string `json:"what"`
}

// changes are those of the host's own comparison; of the first build, all that it asks for.
func (d *dev) changes(m *manifests.Pack, v *pack.Verdict) []devChange {
	var out []devChange
	if d.serving == nil {
		for _, c := range m.Capabilities {
			out = append(out, devChange{true, strings.Join(append([]string{"it asks for", string(c.Name)}, c.Scope...), " ") + ": " + c.Reason})
		}
		return out
	}
	if v.Diff != nil {
		for _, i := range v.Diff.Items {
			out = append(out, devChange{i.Class == pack.Wider, i.Words})
		}
	}
	return out
}

// pending are the commands that would give what the pack asks for and nobody gave.
func (d *dev) pending(v *pack.Verdict) []string {
	var commands []string
	for _, subject := range v.Held {
		commands = append(commands, fmt.Sprintf("arw --state %s pack accept %s %s", d.state, d.name, subject))
	}
	for _, l := range v.Links {
		carried := slices.ContainsFunc(v.Carried, func(c pack.Carry) bool { return c.Capability == l.Capability })
		if l.Outcome == pack.Granted || l.Outcome == pack.Held || carried {
			continue
		}
		cmd := fmt.Sprintf("arw --state %s lease grant %s %s", d.state, d.name, l.Capability)
		for _, s := range l.Scope {
			cmd += " --scope " + strings.Replace(s, ":*", ":/FOLDER", 1)
		}
		commands = append(commands, cmd)
	}
	return commands
}

// say prints an event.
func (d *dev) say(e devEvent) {
	e.Time, e.Pack = time.Now().UTC().Truncate(time.Millisecond), d.name
	if d.app.json {
		_ = json.NewEncoder(d.app.std.out).Encode(e) // who reads a session's lines and went away does not end it
		return
	}
	d.app.ui(d.app.std.out).dev(e)
}
