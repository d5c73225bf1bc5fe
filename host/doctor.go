package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/cas"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/infer/serve"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/starts"
)

// Checkup is what Doctor looks at beside the state directory.
type Checkup struct {
	Config   Config
	Listen   []string // addresses that the host is to listen at
	Running  bool     // a host answers: its ports are its own
	Registry string   // where a reference without a registry points
	Deep     bool     // also read every blob
}

// doctor collects findings.
type doctor struct {
	ctx context.Context
	Checkup
	found []api.Finding
}

// Doctor looks at everything a host needs and says what is wrong and what to do about it. It changes nothing, dials nobody, and
// works beside a running host and without one.
func Doctor(ctx context.Context, c Checkup) []api.Finding {
	d := &doctor{ctx: ctx, Checkup: c}
	for _, look := range []func(){d.state, d.space, d.secrets, d.database, d.blobs, d.starts, d.trust, d.policy, d.clock, d.ports, d.registry, d.models, d.toolchains} {
		if ctx.Err() == nil {
			look()
		}
	}
	return d.found
}

func (d *doctor) ok(check, format string, args ...any) {
	d.found = append(d.found, api.Finding{Check: check, State: api.FindingOK, Message: fmt.Sprintf(format, args...)})
}

func (d *doctor) say(check, state, next, format string, args ...any) {
	d.found = append(d.found, api.Finding{Check: check, State: state, Message: fmt.Sprintf(format, args...), Next: next})
}

// fail tells an error with its own next step.
func (d *doctor) fail(check string, err error) {
	d.say(check, api.FindingBad, abi.HintOf(err), "%s", err)
}

func (d *doctor) at(name string) string { return filepath.Join(d.Config.StateDir, name) }

// state looks at the directory and who may look into it.
func (d *doctor) state() {
	dir := d.Config.StateDir
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.say("state", api.FindingWarn, "arw serve makes it; --state names another", "%s is not there: no host was ever started on it", dir)
	case err != nil:
		d.say("state", api.FindingBad, "make it this user's own: chown", "%s cannot be read: %v", dir, err)
	case !info.IsDir():
		d.say("state", api.FindingBad, "name a directory with --state", "%s is no directory", dir)
	case info.Mode().Perm()&0o077 != 0:
		d.say("state", api.FindingBad, "chmod 700 "+dir, "others may look into %s (mode %04o)", dir, info.Mode().Perm())
	default:
		d.ok("state", "%s is this user's alone", dir)
	}
}

// Room that a host wants on the disk of its state.
const (
	littleRoom = 1 << 30
	noRoom     = 100 << 20
)

func (d *doctor) space() {
	dir := d.Config.StateDir
	for !exists(dir) && filepath.Dir(dir) != dir {
		dir = filepath.Dir(dir)
	}
	free, known := freeBytes(dir)
	const next = "make room: old backups, arw.db's disk, cache/ (which may be deleted)"
	switch {
	case !known:
		d.say("space", api.FindingInfo, "look yourself: df", "this system does not say how much room there is")
	case free < noRoom:
		d.say("space", api.FindingBad, next, "there are %d MiB left on the disk of %s: nothing can be journaled soon", free>>20, dir)
	case free < littleRoom:
		d.say("space", api.FindingWarn, next, "there are %d MiB left on the disk of %s", free>>20, dir)
	default:
		d.ok("space", "there are %d GiB left", free>>30)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// secrets looks at the files that nobody else may read.
func (d *doctor) secrets() {
	bad := false
	for _, name := range []string{"operator.token", "vault.key", "journal.key", "arw.db"} {
		info, err := os.Stat(d.at(name))
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			bad = true
			d.say("keys", api.FindingBad, "chmod 600 "+d.at(name)+"; if others had access, replace it", "others may read %s (mode %04o)", name, info.Mode().Perm())
		}
	}
	if exists(d.at("operator.token")) {
		if _, err := readToken(d.at("operator.token")); err != nil && !bad {
			bad = true
			d.fail("keys", err)
		}
	}
	names, _ := filepath.Glob(d.at("keys/*.key"))
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && info.Mode().Perm()&0o077 != 0 {
			bad = true
			d.say("keys", api.FindingBad, "chmod 600 "+name, "others may read the private key %s", name)
		}
	}
	if !bad {
		d.ok("keys", "credentials and keys are this user's alone")
	}
}

// database checks every page, and then the chain of the journal.
func (d *doctor) database() {
	file := d.at("arw.db")
	if !exists(file) {
		d.say("database", api.FindingInfo, "arw serve makes it", "there is no database yet")
		return
	}
	if err := db.CheckFile(d.ctx, file); err != nil {
		d.fail("database", err)
		return
	}
	d.ok("database", "every page of arw.db is sound")
	keys, err := journal.KeysIn(d.Config.StateDir)
	var rep journal.Report
	if err == nil {
		rep, err = journal.VerifyFile(d.ctx, file, keys)
	}
	if err != nil {
		d.fail("journal", err)
		return
	}
	d.ok("journal", "the chain of %d records holds", rep.Count)
}

// blobs looks at the names of all blobs, and with Deep at what is in them.
func (d *doctor) blobs() {
	names, err := filepath.Glob(d.at("cas/sha256/*/*"))
	if err != nil || len(names) == 0 {
		return
	}
	if !d.Deep {
		d.ok("blobs", "there are %d; arw doctor --deep reads them all", len(names))
		return
	}
	bad := 0
	for _, name := range names {
		if d.ctx.Err() != nil {
			return
		}
		if err := cas.CheckFile(name); err != nil {
			bad++
			d.fail("blobs", err)
		}
	}
	if bad == 0 {
		d.ok("blobs", "all %d are what their names say", len(names))
	}
}

func (d *doctor) starts() {
	_, ended, safe, err := starts.Peek(d.at(StartsName))
	switch {
	case err != nil:
		d.fail("starts", err)
	case safe != nil:
		d.say("starts", api.FindingBad, "arw events tail --replay 200; remove what does it; arw safe-mode exit", "the host runs no packs: %s", safe.Reason)
	case !ended && !d.Running:
		d.say("starts", api.FindingWarn, "look at its log, and start it again", "the host ended without being told to")
	default:
		d.ok("starts", "the host ends when it is told to")
	}
}

func (d *doctor) trust() {
	file := d.Config.TrustFile
	if !exists(file) {
		d.say("trust", api.FindingWarn, "arw trust add --help", "there is no %s: nobody's packs can be installed", file)
		return
	}
	p, err := loadTrust(file, d.Config.Log)
	if err != nil {
		d.fail("trust", err)
		return
	}
	for _, w := range p.Warnings() {
		d.say("trust", api.FindingWarn, "mend "+file, "%s", w)
	}
	d.ok("trust", "trust.toml can be read")
}

func (d *doctor) policy() {
	if !exists(d.Config.StateDir) {
		return
	}
	h := &Host{cfg: d.Config}
	posture, err := h.posture()
	if err == nil {
		_, err = h.readAuthority(posture)
	}
	if err != nil {
		d.fail("policy", err)
		return
	}
	d.ok("policy", "the policies can be read")
}

// clock compares this machine's time with the last thing that was written down.
func (d *doctor) clock() {
	now := time.Now()
	if now.Year() < 2025 {
		d.say("clock", api.FindingBad, "set the clock: timedatectl", "this machine believes it is %s: signatures and leases go by the time", now.UTC().Format(time.RFC3339))
		return
	}
	if info, err := os.Stat(d.at("arw.db")); err == nil && info.ModTime().Sub(now) > 2*time.Minute {
		d.say("clock", api.FindingWarn, "set the clock: timedatectl", "the database was written %s in the future", info.ModTime().Sub(now).Round(time.Second))
		return
	}
	d.ok("clock", "it is %s", now.UTC().Format(time.RFC3339))
}

func (d *doctor) ports() {
	if d.Running {
		d.ok("ports", "the host answers")
		return
	}
	for _, address := range d.Listen {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			d.say("ports", api.FindingBad, "end the program that has it, or set listen in arw.toml", "the host could not listen on %s: %v", address, err)
			continue
		}
		_ = ln.Close()
		d.ok("ports", "%s is free", address)
	}
}

func (d *doctor) registry() {
	dir, local := strings.CutPrefix(d.Registry, "dir:")
	if local && !exists(dir) {
		d.say("registry", api.FindingWarn, "arw pack push --to dir:"+dir+", or set registry in arw.toml", "there is no folder %s", dir)
	}
}

// models looks at what models.toml names, and at the programs that run them.
func (d *doctor) models() {
	if !exists(d.at("models.toml")) {
		d.say("runtimes", api.FindingInfo, "arw model add --help", "no model is configured")
		return
	}
	if _, err := serve.Open(d.Config.StateDir, nil, nil); err != nil {
		d.fail("runtimes", err)
		return
	}
	for _, program := range []string{"llama-server", "vllm"} {
		if at, err := exec.LookPath(program); err == nil {
			d.ok("runtimes", "%s is %s", program, at)
		} else {
			d.say("runtimes", api.FindingInfo, "install it, or name it in the profile of a model", "there is no %s in the path", program)
		}
	}
}

// toolchains looks for what builds packs; running them needs none.
func (d *doctor) toolchains() {
	var there, missing []string
	for _, name := range []string{"go", "tinygo", "cargo", "clang", "zig", "node", "npm"} {
		if _, err := exec.LookPath(name); err == nil {
			there = append(there, name)
		} else {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		d.ok("toolchains", "packs can be built with %s", strings.Join(there, ", "))
		return
	}
	d.say("toolchains", api.FindingInfo, "install those that you want to build packs with; running packs needs none",
		"there: %s; not there: %s", strings.Join(there, ", "), strings.Join(missing, ", "))
}
