package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/arw-project/arw/abi"
)

// open opens a folder. A link in what somebody named is theirs; what only a star stands for is a folder, or it is not opened: who
// can make a link there must not choose what is lent.
func (p *place) open(folder string) (*os.Root, error) {
	if p.named == "" {
		return os.OpenRoot(folder)
	}
	root, err := os.OpenRoot(p.named)
	if err != nil {
		return nil, err
	}
	rest, err := filepath.Rel(p.named, folder)
	if err != nil || rest == "." {
		return root, err
	}
	for segment := range strings.SplitSeq(rest, string(filepath.Separator)) {
		next, err := openPlain(root, segment)
		if err = errors.Join(err, root.Close()); err != nil {
			return nil, err
		}
		root = next
	}
	return root, nil
}

// openPlain opens a folder that is none by way of a link, also when one takes its place meanwhile.
func openPlain(root *os.Root, name string) (*os.Root, error) {
	before, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if before.Mode()&fs.ModeSymlink != 0 {
		return nil, abi.Errorf(abi.Denied, "enter %q: it is a symbolic link, and only a star of the lease stands for it", name).
			WithHint("lease the folder by its name")
	}
	next, err := root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	after, err := next.Stat(".")
	if err == nil && !os.SameFile(before, after) {
		err = abi.Errorf(abi.Denied, "enter %q: it was replaced meanwhile", name)
	}
	if err != nil {
		return nil, errors.Join(err, next.Close())
	}
	return next, nil
}
