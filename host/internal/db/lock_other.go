//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package db

import (
	"errors"
	"os"
)

// Without a lock two daemons could write one journal, so a system without flock is refused rather than trusted.
func lockExclusive(*os.File) error { return errors.ErrUnsupported }

func unlock(*os.File) error { return errors.ErrUnsupported }
