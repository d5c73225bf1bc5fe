package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/journal"
)

func (a *app) journalCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "journal", Short: "Check, read, export and redact the record of everything"}
	cmd.AddCommand(a.journalVerifyCmd(), a.journalTailCmd(), a.journalExportCmd(), a.journalRedactCmd())
	return cmd
}

// journalFile is the database that a command is about: the one named, else the state directory's.
func (a *app) journalFile(args []string, doing string) (string, error) {
	path := ""
	if len(args) == 1 {
		path = args[0]
	} else {
		dir, err := a.stateDir()
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, "arw.db")
	}
	if _, err := os.Stat(path); err != nil {
		return "", abi.Errorf(abi.NotFound, "%s journal %q: %w", doing, path, err).WithHint("name the state directory with --state")
	}
	return path, nil
}

// believed are the public keys in the file named, else those beside path; none when there is no such file.
func believed(named, path string) (journal.Keys, error) {
	if named != "" {
		return journal.ReadKeys(named)
	}
	return journal.KeysIn(filepath.Dir(path))
}

func (a *app) journalVerifyCmd() *cobra.Command {
	var key string
	var export bool
	cmd := &cobra.Command{
		Use:   "verify [FILE]",
		Short: "Check the hash chain of the journal and its signed checkpoints, offline",
		Long: `Read every record of the journal and check that the chain of hashes holds and that the checkpoints in it are signed:
no record was changed, removed, added or moved. The host may be running or not; nothing is written. The first record or
checkpoint that is not as it was written is named.

The keys that are believed are in journal.pub beside the database. Who can write there could also change them: keep a copy
elsewhere and name it with --key.`,
		Example: `  arw journal verify
  arw journal verify --key safe/journal.pub
  arw journal verify --file export.ndjson --key safe/journal.pub`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			report, err := a.journalReport(cmd.Context(), args, key, export)
			if err != nil {
				return err
			}
			return a.print(report, func(u ui) error {
				u.say("%s %d records, the chain holds", u.green("ok:"), report.Count)
				u.facts("last id", strconv.FormatInt(report.Last, 10), "head", report.Head, "checkpoints", strconv.Itoa(report.Checkpoints),
					"signed up to", strconv.FormatInt(report.Signed, 10), "not signed yet", strconv.FormatInt(report.Unsigned, 10)+" records behind that")
				if report.Pruned > 0 {
					u.facts("removed by the host", "1 to "+strconv.FormatInt(report.Pruned, 10))
				}
				if report.Redacted > 0 {
					u.facts("redacted", strconv.Itoa(report.Redacted))
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "file of the public keys to believe (default journal.pub beside the file)")
	cmd.Flags().BoolVar(&export, "file", false, "FILE is an export, not a database")
	return cmd
}

func (a *app) journalReport(ctx context.Context, args []string, key string, export bool) (journal.Report, error) {
	path, err := a.journalFile(args, "verify")
	if err != nil {
		return journal.Report{}, err
	}
	if export && len(args) == 0 {
		return journal.Report{}, abi.Errorf(abi.Invalid, "verify an export: no file was named").WithHint("arw journal verify --file FILE")
	}
	keys, err := believed(key, path)
	if err != nil {
		return journal.Report{}, err
	}
	if !export {
		return journal.VerifyFile(ctx, path, keys)
	}
	f, err := os.Open(path)
	if err != nil {
		return journal.Report{}, readError("export", path, err)
	}
	defer f.Close()
	return journal.VerifyExport(ctx, path, f, keys)
}

type tailFlags struct {
	filter journal.Filter
	after  int64
	lines  int
	count  int
	follow bool
}

func (a *app) journalTailCmd() *cobra.Command {
	var fl tailFlags
	cmd := &cobra.Command{
		Use:   "tail [FILE]",
		Short: "Print the newest records of the journal from its file, offline",
		Long: `Print records from the journal's file, whether the host is running or not; nothing is written. With --json each line is
one record. To follow a host from elsewhere, or with a token only, see arw events tail.`,
		Example: `  arw journal tail -n 50 --prefix leases.,pack.
  arw journal tail -f --prefix actions.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.journalTail(cmd.Context(), args, fl) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&fl.filter.Prefixes, "prefix", nil, "only kinds that start so; may be a list")
	f.StringVar(&fl.filter.Corr, "corr", "", "only records of this correlation id")
	f.Int64Var(&fl.after, "after", -1, "begin behind the record with this id (default the newest -n)")
	f.IntVarP(&fl.lines, "lines", "n", 10, "how many of the newest; with --after, how many at most (0: all)")
	f.BoolVarP(&fl.follow, "follow", "f", false, "go on with what is added, until interrupted")
	f.IntVar(&fl.count, "count", 0, "with -f, end after this many (default never)")
	return cmd
}

func (a *app) journalTail(ctx context.Context, args []string, fl tailFlags) error {
	path, err := a.journalFile(args, "read")
	if err != nil {
		return err
	}
	f, err := journal.OpenFile(ctx, path)
	if err != nil {
		return err
	}
	defer f.Close()
	enc, u, seen := json.NewEncoder(a.std.out), a.ui(a.std.out), 0
	after, err := f.Tail(ctx, fl.after, fl.lines, fl.filter, func(r *journal.Record) error {
		seen++
		return a.tellRecord(enc, u, r)
	})
	if err != nil || !fl.follow {
		return err
	}
	beat := time.NewTicker(200 * time.Millisecond) // the file says nothing by itself
	defer beat.Stop()
	for fl.count == 0 || seen < fl.count {
		page, err := f.Read(ctx, after, 0, fl.filter)
		if err != nil {
			return err
		}
		for i := range page {
			after = page[i].ID
			if err := a.tellRecord(enc, u, &page[i]); err != nil {
				return err
			}
			if seen++; fl.count > 0 && seen >= fl.count {
				return nil
			}
		}
		if len(page) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
		}
	}
	return nil
}

func (a *app) tellRecord(enc *json.Encoder, u ui, r *journal.Record) error {
	if a.json {
		return enc.Encode(r)
	}
	return tellEvent(u, &api.Event{ID: r.ID, Time: r.Time, Kind: r.Kind, Pack: r.Pack, Body: r.Body})
}

func (a *app) journalExportCmd() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Write the whole journal as lines of JSON that can be verified elsewhere",
		Long: `Write every record that is kept, with its id and hashes, and every signed checkpoint, one JSON object a line. Another
machine verifies it with "arw journal verify --file" and the public key. The host may be running or not.`,
		Example: `  arw journal export --out journal.ndjson
  arw journal verify --file journal.ndjson --key journal.pub`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.journalExport(cmd.Context(), args, to) },
	}
	cmd.Flags().StringVar(&to, "out", "", "file to write, which must not exist (default standard output)")
	return cmd
}

func (a *app) journalExport(ctx context.Context, args []string, to string) (err error) {
	path, err := a.journalFile(args, "export")
	if err != nil {
		return err
	}
	f, err := journal.OpenFile(ctx, path)
	if err != nil {
		return err
	}
	defer f.Close()
	if to == "" {
		_, err := f.Export(ctx, a.std.out)
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return abi.Errorf(abi.Conflict, "export journal to %q: %w", to, err).WithHint("name a file that does not exist")
	}
	report, err := f.Export(ctx, out)
	if closing := out.Close(); err == nil && closing != nil {
		err = abi.Errorf(abi.StorageFull, "export journal to %q: %w", to, closing)
	}
	if err != nil {
		_ = os.Remove(to)
		return err
	}
	return a.print(report, func(u ui) error {
		u.say("%s %d records and %d checkpoints in %s", u.green("exported:"), report.Count, report.Checkpoints, to)
		return nil
	})
}

func (a *app) journalRedactCmd() *cobra.Command {
	var in api.RedactJournal
	var file string
	cmd := &cobra.Command{
		Use:   "redact [ID]",
		Short: "Take a secret out of the journal for good; the chain still verifies",
		Long: `Put "[redacted]" in the place of a part of one event, or of a value wherever it stands: in events, in the patches and
texts of read models. The chain of hashes still verifies, and an event says what was done. It cannot be undone.
The value is read from a file or, with -, from standard input, so that it stands in no list of processes.`,
		Example: `  arw journal redact 4711 --path /input/token
  arw journal redact --value-file - < leaked.txt`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if len(args) == 1 {
				if in.ID, err = strconv.ParseInt(args[0], 10, 64); err != nil || in.ID < 1 {
					return abi.Errorf(abi.Invalid, "redact event %q: that is no id", args[0]).WithHint("find it: arw journal tail")
				}
			}
			if file != "" {
				if in.Value, err = a.secretLine(file); err != nil {
					return err
				}
			}
			return a.journalRedact(cmd.Context(), in)
		},
	}
	cmd.Flags().StringVar(&in.Path, "path", "", "JSON Pointer to the part of the event's body")
	cmd.Flags().StringVar(&file, "value-file", "", "file whose first line is the value to take out everywhere; - is standard input")
	cmd.Flags().StringVar(&in.Reason, "reason", "", "why, for the journal")
	cmd.MarkFlagsMutuallyExclusive("path", "value-file")
	cmd.MarkFlagsOneRequired("path", "value-file")
	return cmd
}

// secretLine is the first line of a file.
func (a *app) secretLine(name string) (string, error) {
	from := a.std.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", readError("value", name, err)
		}
		defer f.Close()
		from = f
	}
	text, err := bufio.NewReader(io.LimitReader(from, 1<<20)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", readError("value", name, err)
	}
	if text = strings.TrimRight(text, "\r\n"); text == "" {
		return "", abi.Errorf(abi.Invalid, "read the value from %q: its first line is empty", name)
	}
	return text, nil
}

func (a *app) journalRedact(ctx context.Context, in api.RedactJournal) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	done, err := c.RedactJournal(ctx, in)
	if err != nil {
		return err
	}
	return a.print(done, func(u ui) error {
		n := 0
		for _, r := range done.Redactions {
			n += len(r.Records)
		}
		u.say("%s %d records, %d documents", u.green("redacted:"), n, len(done.Documents))
		if done.Left {
			u.say("%s the value still stands in the database outside the journal: in inputs or outputs of actions, keys of packs or older copies", u.red("left:"))
		}
		return nil
	})
}
