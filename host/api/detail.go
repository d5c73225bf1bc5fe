package api

import (
	"errors"

	"github.com/arw-project/arw/abi"
)

// DetailOf is the machine-readable part of an error, nil when it has none.
func DetailOf(err error) any {
	if e, ok := errors.AsType[*abi.Error](err); ok {
		return e.Detail
	}
	return nil
}
