//go:build unix

package host

import "golang.org/x/sys/unix"

// freeBytes is how much this user may still write beside a path; false where the system does not say.
func freeBytes(path string) (uint64, bool) {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return 0, false
	}
	return uint64(st.Bavail) * uint64(st.Bsize), true
}
