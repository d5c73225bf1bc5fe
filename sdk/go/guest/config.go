package guest

import (
	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest/codec"
)

// Config reads a document of the host's configuration into a value: what units and people made of it for the project and
// the agent that call. Fields the document lacks keep what they hold, so defaults may be put there before. Needs
// [capabilities.config] and a lease for the name.
func (c *Call) Config(name string, into any) error {
	raw, err := c.fetch(hostConfig(c, name, c.scratch[:]))
	if err != nil {
		return err
	}
	if err := codec.DecodeAny(raw, into); err != nil {
		return abi.Errorf(abi.Invalid, "read document %q: %w", name, err)
	}
	return nil
}
