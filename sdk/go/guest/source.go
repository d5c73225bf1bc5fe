//go:build !wasip1

package guest

import "embed"

// Source is the source of this package and of codec below it, which "arw pack init" unpacks into a new pack. Guests do
// not carry it.
//
//go:embed *.go codec/*.go
var Source embed.FS
