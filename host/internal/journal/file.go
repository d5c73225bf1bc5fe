package journal

import (
	"context"

	"github.com/arw-project/arw/host/internal/db"
)

// File is a look at the journal in a database file, whether or not a host is running on it. It changes nothing. Safe for
// concurrent use; the caller must Close it.
type File struct{ db *db.ReadOnly }

// OpenFile opens the journal in the database at path. Errors: NotFound, Incompatible when the file holds no journal.
func OpenFile(ctx context.Context, path string) (*File, error) {
	r, err := openFile(ctx, "read journal", path)
	if err != nil {
		return nil, err
	}
	return &File{r}, nil
}

// Close closes the file.
func (f *File) Close() error { return f.db.Close() }

// Ends gives the last record that was removed and the last one there is.
func (f *File) Ends(ctx context.Context) (floor, last int64, err error) {
	s, err := readEnds(ctx, f.db)
	if err != nil {
		return 0, 0, f.db.Explain("read journal", err)
	}
	return s.anchorID(), s.head.id, nil
}

// Read is Journal.Read.
func (f *File) Read(ctx context.Context, after int64, limit int, fl Filter) ([]Record, error) {
	floor, last, err := f.Ends(ctx)
	if err != nil {
		return nil, err
	}
	return readPages(ctx, f.db, max(after, floor), last, limit, &fl)
}

// Tail gives the newest n chosen records, or with after ≥ 0 at most n behind it (0: all), in order, and the id behind
// which to go on. Its error is tell's or one of reading.
func (f *File) Tail(ctx context.Context, after int64, n int, fl Filter, tell func(*Record) error) (next int64, err error) {
	floor, last, err := f.Ends(ctx)
	if err != nil {
		return 0, f.db.Explain("read journal", err)
	}
	var held []Record
	if after < 0 {
		if held, err = f.newest(ctx, floor, last, n, fl); err != nil {
			return 0, err
		}
	}
	for cursor, given := max(after, floor), 0; after >= 0 && cursor < last && (n == 0 || given < n); {
		page, err := readPages(ctx, f.db, cursor, last, 0, &fl)
		if err != nil {
			return 0, err
		}
		if len(page) == 0 {
			break
		}
		if n > 0 {
			page = page[:min(len(page), n-given)]
		}
		for i := range page {
			if err := tell(&page[i]); err != nil {
				return 0, err
			}
		}
		given += len(page)
		if cursor = page[len(page)-1].ID; given == n && n > 0 {
			return cursor, nil
		}
	}
	for i := range held {
		if err := tell(&held[i]); err != nil {
			return 0, err
		}
	}
	return last, nil
}

// newest looks backwards in growing steps until n records are found or there are no more.
func (f *File) newest(ctx context.Context, floor, last int64, n int, fl Filter) (found []Record, err error) {
	for until, step := last, int64(max(n, 100)); until > floor && len(found) < n; step *= 2 {
		from := max(floor, until-step)
		var part []Record
		for cursor := from; cursor < until; {
			page, err := readPages(ctx, f.db, cursor, until, 0, &fl)
			if err != nil {
				return nil, err
			}
			if len(page) == 0 {
				break
			}
			part = append(part, page...)
			part = part[max(0, len(part)-n):]
			cursor = page[len(page)-1].ID
		}
		found = append(part, found...)
		until = from
	}
	return found[max(0, len(found)-n):], nil
}
