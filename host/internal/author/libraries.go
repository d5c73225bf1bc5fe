package author

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/strict"
)

// libraries are those that a module holds, as far as it or the lock files beside it tell: Go modules from the build
// information inside the module, others from Cargo.lock and package-lock.json. By purl, each once.
func (f *Folder) libraries(module []byte) ([]library, error) {
	all := goModules(module)
	for name, read := range map[string]func([]byte) ([]library, error){"Cargo.lock": cargoLock, "package-lock.json": npmLock} {
		src, err := os.ReadFile(filepath.Join(f.Dir, name))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, abi.Errorf(abi.Unavailable, "read lock file: %w", err)
		}
		found, err := read(src)
		if err != nil {
			return nil, abi.Errorf(abi.Invalid, "read lock file %q: %w", name, err).WithHint("let its own tool write it again")
		}
		all = append(all, found...)
	}
	slices.SortFunc(all, func(a, b library) int {
		return cmp.Or(strings.Compare(a.purl, b.purl), strings.Compare(a.name, b.name))
	})
	return slices.CompactFunc(all, func(a, b library) bool { return a.purl == b.purl && a.name == b.name && a.version == b.version }), nil
}

// The Go linker puts the list of modules between two marks of 16 bytes; they are the same since Go 1.12.
const (
	goInfoStart = "3077af0c9274080241e1c107e6d618e6"
	goInfoEnd   = "f932433186182072008242104116d8f2"
)

// goModules reads the list from a module's data; nothing when it was not made by Go.
func goModules(module []byte) []library {
	start, _ := hex.DecodeString(goInfoStart)
	end, _ := hex.DecodeString(goInfoEnd)
	from := bytes.Index(module, start)
	if from < 0 {
		return nil
	}
	text := module[from+len(start):]
	to := bytes.Index(text, end)
	if to < 0 {
		return nil
	}
	info, err := debug.ParseBuildInfo(string(text[:to]))
	if err != nil {
		return nil
	}
	var all []library
	for _, m := range info.Deps {
		l := library{name: m.Path, version: m.Version, purl: "pkg:golang/" + m.Path + "@" + m.Version, properties: map[string]string{}}
		sum := m.Sum
		if r := m.Replace; r != nil {
			l.properties["arw:go:replaced-by"] = strings.TrimSuffix(r.Path+"@"+r.Version, "@")
			sum = r.Sum
		}
		if raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sum, "h1:")); err == nil && len(raw) == 32 {
			l.digest = map[string]string{"dirHash": hex.EncodeToString(raw)}
			l.properties["arw:go:sum"] = sum
		}
		all = append(all, l)
	}
	if info.Main.Path != "" {
		v := cmp.Or(info.Main.Version, "(devel)")
		all = append(all, library{name: info.Main.Path, version: v, purl: "pkg:golang/" + info.Main.Path + "@" + strings.Trim(v, "()")})
	}
	return all
}

// cargoLock reads the crates of a Rust pack; those without a source are its own.
func cargoLock(src []byte) ([]library, error) {
	var lock struct {
		Version  int64 `toml:"version"`
		Metadata any   `toml:"metadata"`
		Patch    any   `toml:"patch"`
		Root     any   `toml:"root"`
		Package  []struct {
			Name         string   `toml:"name,required"`
			Version      string   `toml:"version,required"`
			Source       string   `toml:"source"`
			Checksum     string   `toml:"checksum"`
			Dependencies []string `toml:"dependencies"`
			Replace      string   `toml:"replace"`
		} `toml:"package"`
	}
	if _, err := strict.Decode("Cargo.lock", src, &lock); err != nil {
		return nil, err
	}
	var all []library
	for _, p := range lock.Package {
		l := library{name: p.Name, version: p.Version, purl: "pkg:cargo/" + p.Name + "@" + p.Version}
		if len(p.Checksum) == 64 {
			l.digest = map[string]string{"sha256": p.Checksum}
		}
		if p.Source != "" {
			l.properties = map[string]string{"arw:cargo:source": p.Source}
		}
		all = append(all, l)
	}
	return all, nil
}

// npmLock reads the packages of a package-lock.json of version 2 or 3.
func npmLock(src []byte) ([]library, error) {
	var lock struct {
		Packages map[string]struct {
			Name      string `json:"name"`
			Version   string `json:"version"`
			Integrity string `json:"integrity"`
			License   any    `json:"license"`
			Dev       bool   `json:"dev"`
			Link      bool   `json:"link"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(src, &lock); err != nil {
		return nil, err
	}
	var all []library
	for where, p := range lock.Packages {
		i := strings.LastIndex(where, "node_modules/")
		if i < 0 || p.Link {
			continue
		}
		l := library{name: cmp.Or(p.Name, where[i+len("node_modules/"):]), version: p.Version}
		l.purl = "pkg:npm/" + strings.ReplaceAll(l.name, "@", "%40") + "@" + l.version
		if raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(p.Integrity, "sha512-")); err == nil && len(raw) == 64 {
			l.digest = map[string]string{"sha512": hex.EncodeToString(raw)}
		}
		if p.Dev {
			l.properties = map[string]string{"arw:npm:dev": "true"}
		}
		all = append(all, l)
	}
	return all, nil
}
