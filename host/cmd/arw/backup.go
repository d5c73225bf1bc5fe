package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/host/internal/backup"
)

func (a *app) backupCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Put a host's state into one file, check it, and make a host of it again",
		Long: `A backup holds everything that a host would need to go on: the journal and whatever else the database has, as they were at one
moment, all blobs, the settings, the policies and the keys. The host may be running. Keep the file as you keep the state directory:
the key of the vault and the operator's credential are in it.`,
	}
	cmd.AddCommand(a.backupCreateCmd(), a.backupVerifyCmd(), a.backupRestoreCmd())
	return cmd
}

func (a *app) backupCreateCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "create [FILE]",
		Short:   "Write a backup of the state directory; the host may be running",
		Example: "  arw backup create /var/backups/arw-monday.tar",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := a.stateDir()
			if err != nil {
				return err
			}
			out := "arw-backup-" + time.Now().UTC().Format("20060102T150405Z") + ".tar"
			if len(args) == 1 {
				out = args[0]
			}
			if out, err = filepath.Abs(out); err != nil {
				return err
			}
			man, err := backup.Create(cmd.Context(), dir, out, version)
			if err != nil {
				return err
			}
			return a.tellBackup(out, man)
		},
	}
}

func (a *app) backupVerifyCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "verify FILE",
		Short: "Check that a backup is whole; nothing is written",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			man, err := backup.Verify(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.tellBackup(args[0], man)
		},
	}
}

func (a *app) backupRestoreCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a state directory of a backup; it must not be there, or be empty",
		Long: `Make the directory that --state names out of a backup. It must not be there, or be empty: nothing that lives is ever overwritten.
Everything is checked before the directory is put in place. Leases, prompts and queued actions are those of the backup's moment:
look at them before you start the host, or start it with --safe.`,
		Example: "  arw --state /srv/arw backup restore arw-monday.tar",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := a.stateDir()
			if err != nil {
				return err
			}
			man, err := backup.Restore(cmd.Context(), args[0], dir)
			if err != nil {
				return err
			}
			return a.tellBackup(dir, man)
		},
	}
}

func (a *app) tellBackup(what string, man *backup.Manifest) error {
	return a.print(map[string]any{"file": what, "created": man.Created, "host": man.Host, "journal": man.Journal, "files": len(man.Files)}, func(u ui) error {
		var size int64
		for _, f := range man.Files {
			size += f.Size
		}
		u.say("%s %s", u.green("ok:"), what)
		u.facts("made", man.Created.Local().Format(time.RFC3339), "by arw", man.Host, "events", strconv.FormatInt(man.Journal.Last, 10),
			"files", strconv.Itoa(len(man.Files)), "bytes", fmt.Sprint(size))
		return nil
	})
}
