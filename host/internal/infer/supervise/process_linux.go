package supervise

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup puts a runtime at the head of a process group, and lets it end with the host.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// bound limits the open files of a process and keeps it from dumping its memory, which holds prompts.
func bound(pid int, files uint64) error {
	set := func(what int, limit uint64) error {
		return unix.Prlimit(pid, what, &unix.Rlimit{Cur: limit, Max: limit}, nil)
	}
	return errors.Join(set(unix.RLIMIT_NOFILE, files), set(unix.RLIMIT_CORE, 0))
}
