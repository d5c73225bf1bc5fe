//go:build !wasip1

package abi

import "embed"

// Source is this package's own source. "arw pack init" unpacks it beside the guest SDK's, so that a new pack builds with
// nothing but the Go toolchain and no network. Guests do not carry it.
//
//go:embed *.go
var Source embed.FS
