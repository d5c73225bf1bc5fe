package rehearse

import (
	"context"

	"github.com/arw-project/arw/abi"
)

// configs are the documents of the configuration that the file lists.
type configs struct{ *world }

func (c configs) Get(_ context.Context, name string) (doc []byte, err error) {
	err = c.did("config.get", name, name, func() (string, error) {
		var ok bool
		if doc, ok = c.config[name]; !ok {
			return "", abi.Errorf(abi.NotFound, "find document %q: there is none of that name", name)
		}
		return show(doc), nil
	})
	return doc, err
}
