package files

import (
	"context"
	"os"
	"path/filepath"
)

// Open opens a regular file of a leased folder for reading; the caller closes it. Errors are those of Read.
func (*Folders) Open(ctx context.Context, scope, path string) (*os.File, error) {
	p, err := enter(ctx, "open", scope, path)
	if err != nil {
		return nil, err
	}
	defer p.root.Close()
	return p.openFile()
}

// Lend opens a folder that is leased for writing, for making something new at path, and says where that is relative to
// it. Folders that are missing on the way are made. The caller closes the root. Errors are those of Write.
func (*Folders) Lend(ctx context.Context, scope, path string) (root *os.Root, rel string, err error) {
	p, err := enter(ctx, "make", scope, path)
	if err != nil {
		return nil, "", err
	}
	if err = p.mayChange("make"); err == nil {
		err = p.explain("make", p.makeFolders(filepath.Dir(p.rel)))
	}
	if err != nil {
		_ = p.root.Close()
		return nil, "", err
	}
	return p.root, p.rel, nil
}
