//go:build unix

package files_test

import "syscall"

func special(path string) error { return syscall.Mkfifo(path, 0o644) }
