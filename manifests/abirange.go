package manifests

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/arw-project/arw/abi"
)

// Supports reports whether this host's ABI, abi.Version, lies in a manifest's range. The error is Incompatible and names
// both, or Invalid when the range cannot be read.
//
// A range is one or more bounds, separated by spaces or a comma, that must all hold: ^1.2 (from 1.2.0 up to the next
// change that may break: below 2.0.0, or below 0.3.0 for ^0.2), ~1.2 (below 1.3.0), =1.2.3, >=1.2, >1.2.3, <=1.2.3, <2.
// Missing numbers are zero. Pre-releases of a version lie below it, and below every bound with "<" made from it.
func Supports(abiRange string) error { return supports(abiRange, abi.Version) }

func supports(abiRange, version string) error {
	bounds, err := parseRange(abiRange)
	if err != nil {
		return abi.Errorf(abi.Invalid, "parse ABI range %q: %w", clip(abiRange), err)
	}
	for _, b := range bounds {
		if !b.holds(semver.Compare("v"+version, b.version)) {
			return abi.Errorf(abi.Incompatible, "match ABI range %q: this host speaks ABI %s", abiRange, version).
				WithHint("rebuild the pack for ABI %s, or use a host for %s", version, abiRange)
		}
	}
	return nil
}

// bound is one comparison with a version in the form of x/mod/semver.
type bound struct {
	op      string // one of = >= > <= <
	version string
}

func (b bound) holds(order int) bool {
	switch b.op {
	case "=":
		return order == 0
	case ">=":
		return order >= 0
	case ">":
		return order > 0
	case "<=":
		return order <= 0
	}
	return order < 0
}

var boundText = regexp.MustCompile(`^(\^|~|=|>=|>|<=|<)(0|[1-9][0-9]{0,8})(?:\.(0|[1-9][0-9]{0,8})(?:\.(0|[1-9][0-9]{0,8}))?)?$`)

// parseRange reads a range into bounds that must all hold; there is at least one.
func parseRange(text string) ([]bound, error) {
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' })
	if len(words) == 0 || len(text) > maxID {
		return nil, fmt.Errorf("expected a range of versions, found %q", clip(text))
	}
	var bounds []bound
	for _, word := range words {
		m := boundText.FindStringSubmatch(word)
		if m == nil {
			if boundText.MatchString("^" + word) {
				return nil, fmt.Errorf("expected a range of versions, found the bare version %q", word)
			}
			return nil, fmt.Errorf("expected a range of versions, found %q in it", clip(word))
		}
		var n [3]int
		given := 0
		for i, digits := range m[2:] {
			if digits != "" {
				n[i], _ = strconv.Atoi(digits)
				given = i + 1
			}
		}
		bounds = append(bounds, expand(m[1], n, given)...)
	}
	return bounds, nil
}

// expand spells out ^ and ~. An upper bound excludes the pre-releases of the version it is made from.
func expand(op string, n [3]int, given int) []bound {
	floor := fmt.Sprintf("v%d.%d.%d", n[0], n[1], n[2])
	below := func(major, minor, patch int) []bound {
		return []bound{{">=", floor}, {"<", fmt.Sprintf("v%d.%d.%d-0", major, minor, patch)}}
	}
	switch {
	case op == "<":
		return []bound{{"<", floor + "-0"}}
	case op != "^" && op != "~":
		return []bound{{op, floor}}
	case given == 1 || op == "^" && n[0] > 0:
		return below(n[0]+1, 0, 0)
	case op == "~" || given == 2 || n[1] > 0:
		return below(n[0], n[1]+1, 0)
	}
	return below(n[0], n[1], n[2]+1)
}

// CompareVersions orders two versions as semver 2.0.0 section 11 does: -1, 0 or 1. What is no version lies below every
// version.
func CompareVersions(a, b string) int { return semver.Compare("v"+a, "v"+b) }

// InRange reports whether a semantic version lies in a range as Supports reads them; false for what is neither.
func InRange(versions, version string) bool { return supports(versions, version) == nil }
