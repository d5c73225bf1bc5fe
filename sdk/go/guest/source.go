//go:build !wasip1

package guest

import "embed"

// Source is this package's own source, which "arw pack init" unpacks into a new pack. Guests do not carry it.
//
//go:embed *.go *.s
var Source embed.FS
