package manifests

import (
	"errors"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
)

func TestSupports(t *testing.T) {
	t.Parallel()
	tests := []struct {
		abiRange  string
		in, notIn []string
	}{
		{"^1.0", []string{"1.0.0", "1.0.9", "1.99.0"}, []string{"0.9.0", "2.0.0", "1.0.0-rc.1", "2.0.0-rc.1"}},
		{"^1", []string{"1.0.0", "1.5.0"}, []string{"2.0.0"}},
		{"^1.2.3", []string{"1.2.3", "1.3.0"}, []string{"1.2.2", "2.0.0"}},
		{"^0", []string{"0.0.0", "0.9.0"}, []string{"1.0.0"}},
		{"^0.0", []string{"0.0.0", "0.0.9"}, []string{"0.1.0"}},
		{"^0.2", []string{"0.2.0", "0.2.9"}, []string{"0.3.0", "0.1.9"}},
		{"^0.0.3", []string{"0.0.3"}, []string{"0.0.2", "0.0.4"}},
		{"~1", []string{"1.9.0"}, []string{"2.0.0"}},
		{"~1.2", []string{"1.2.9"}, []string{"1.3.0"}},
		{"~1.2.3", []string{"1.2.3", "1.2.9"}, []string{"1.2.2", "1.3.0", "1.3.0-a"}},
		{"~0.2", []string{"0.2.9"}, []string{"0.3.0"}},
		{"=1.2", []string{"1.2.0"}, []string{"1.2.1"}},
		{">1.2", []string{"1.2.1"}, []string{"1.2.0"}},
		{"<=1.2", []string{"1.2.0", "0.1.0", "1.2.0-rc.1"}, []string{"1.2.1"}},
		{"<2", []string{"1.9.9"}, []string{"2.0.0", "2.0.0-rc.1"}},
		{">=1.0 <3", []string{"1.0.0", "2.9.0"}, []string{"0.9.0", "3.0.0"}},
		{">=1.0,<3", []string{"2.0.0"}, []string{"3.0.0"}},
		{" >=1.0, <3 ", []string{"2.0.0"}, []string{"3.0.0"}},
		{"^1 ^2", nil, []string{"1.0.0", "2.0.0"}},
	}
	for _, test := range tests {
		t.Run(test.abiRange, func(t *testing.T) {
			t.Parallel()
			for _, version := range test.in {
				if err := supports(test.abiRange, version); err != nil {
					t.Errorf("%s: %v", version, err)
				}
			}
			for _, version := range test.notIn {
				err := supports(test.abiRange, version)
				if abi.CodeOf(err) != abi.Incompatible || !strings.Contains(err.Error(), test.abiRange) || !strings.Contains(err.Error(), version) {
					t.Errorf("%s: got %v, want incompatible with both names", version, err)
				}
			}
		})
	}
}

func TestSupportsRefusesWhatIsNoRange(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", " ", "1.0", "1", "^", "^v1", "^1.0.0.0", "^01", "^1.x", "*", "^1.0-rc.1", ">= 1", "^1 || ^2", "^1;^2", "!1", "^9999999999", "^1\n",
		strings.Repeat("^1 ", 30),
	} {
		if err := Supports(text); abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%q: got %v, want invalid", text, err)
		}
	}
}

func TestSupportsSpeaksOfThisHost(t *testing.T) {
	t.Parallel()
	if err := Supports("=" + abi.Version); err != nil {
		t.Error(err)
	}
	err := Supports(">" + abi.Version)
	if e, ok := errors.AsType[*abi.Error](err); !ok || e.Code != abi.Incompatible || !strings.Contains(e.Msg, abi.Version) || e.Hint == "" {
		t.Errorf("got %v", err)
	}
}
