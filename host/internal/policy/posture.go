package policy

import (
	"embed"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
)

//go:embed postures/*.cedar
var postures embed.FS

// Postures are the sets of policies that ship beside the default ones and are chosen by name; "base" is none of them.
func Postures() []string { return []string{Base, "relaxed", "standard", "strict", "trial"} }

// Base is the posture of a host that was never told: the default policies alone.
const Base = "base"

const postureFiles = "posture/"

// Posture is the source of a posture; Base has none. Invalid for a name that is none.
func Posture(name string) ([]Source, error) {
	switch {
	case name == Base:
		return nil, nil
	case !slices.Contains(Postures(), name):
		return nil, abi.Errorf(abi.Invalid, "choose the posture %.80q: there is none of that name", name).WithHint("%s", nearest(name, Postures()))
	}
	text, err := postures.ReadFile("postures/" + name + ".cedar")
	if err != nil {
		return nil, abi.Errorf(abi.Internal, "choose the posture %q: %w", name, err)
	}
	return []Source{{Name: postureFiles + name + ".cedar", Text: text}}, nil
}

// shipped reports whether a source is one of ours; a file of the operator's has no slash in its name.
func shipped(file string) bool { return file == DefaultName || strings.HasPrefix(file, postureFiles) }
