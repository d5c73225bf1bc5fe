//go:build !linux

package supervise

import "syscall"

// ownGroup puts a runtime at the head of a process group. What a crash of the host leaves is found at its next start.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// bound does nothing: only Linux can limit a process that runs.
func bound(int, uint64) error { return nil }
