package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/infer/shelf"
	"github.com/arw-project/arw/sdk/go/client"
)

func (a *app) modelPullCmd() *cobra.Command {
	var in api.PullModel
	cmd := &cobra.Command{
		Use:   "pull NAME URL",
		Short: "Have the running host fetch a model file through its guard, and name it",
		Long: `The host fetches the file under a lease that reaches the named places alone, writes it into the ledger, compares it with
the digest and keeps it on its shelf. A download that broke off goes on where it was when the same command is given again.`,
		Example: "  arw model pull small https://models.example.com/small.gguf --digest sha256:… --profile small --also 'GET https://cdn.example.com'",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Name, in.URL = args[0], args[1]
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := json.Marshal(in)
			if err != nil {
				return err
			}
			act, err := c.Submit(cmd.Context(), api.SubmitAction{Kind: "models.pull", Input: raw}, false)
			if err != nil {
				return err
			}
			act, err = a.watchPull(cmd.Context(), c, act)
			if err != nil {
				return err
			}
			return a.showAction(act)
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.Digest, "digest", "", "the sha256:… that the file must have, from a source you trust")
	f.StringVar(&in.Profile, "profile", "", "how it runs: a profile of runtimes.toml")
	f.StringVar(&in.License, "license", "", "its licence")
	f.StringVar(&in.Source, "source", "", "where it comes from, for the record (default the URL)")
	f.BoolVar(&in.Default, "default", false, "make it the one that is asked when a request names none")
	f.StringArrayVar(&in.Also, "also", nil, "another place that the URL may lead on to, as an http scope; may be repeated")
	_ = cmd.MarkFlagRequired("digest")
	_ = cmd.MarkFlagRequired("profile")
	return cmd
}

// watchPull says how far it is until the action has ended.
func (a *app) watchPull(ctx context.Context, c *client.Client, act api.Action) (api.Action, error) {
	follow, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		u := a.ui(a.std.err)
		for e, err := range c.Events(follow, client.Follow{Prefixes: []string{"models.pull"}, Corr: act.Corr}) {
			var told api.ModelFile
			if err != nil || json.Unmarshal(e.Body, &told) != nil {
				return
			}
			if !a.json && told.Total > 0 {
				u.say("%s: %d of %d bytes (%d %%)", told.Name, told.Done, told.Total, told.Done*100/told.Total)
			}
		}
	}()
	end, err := c.Await(ctx, act.ID)
	stop()
	<-done
	return end, err
}

func (a *app) modelGCCmd() *cobra.Command {
	return &cobra.Command{Use: "gc", Short: "Remove model files that models.toml does not name and no runtime uses", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		var got struct {
			Removed []shelf.Manifest `json:"removed"`
			Bytes   int64            `json:"bytes"`
		}
		if err := a.asked(cmd, "models.sweep", struct{}{}, &got); err != nil {
			return err
		}
		return a.print(got, func(u ui) error {
			for _, m := range got.Removed {
				u.facts("removed", m.Digest)
			}
			u.say("%d bytes are left on the shelf", got.Bytes)
			return nil
		})
	}}
}

// shelve copies a file onto the shelf of a state directory, for use without a network.
func shelve(ctx context.Context, dir, file string, about shelf.Manifest) (shelf.Manifest, string, error) {
	f, err := os.Open(file)
	if err != nil {
		return about, "", abi.Errorf(abi.Unavailable, "keep a model file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return about, "", abi.Errorf(abi.Unavailable, "keep a model file: %w", err)
	}
	s, err := shelf.Open(dir, 0)
	if err != nil {
		return about, "", err
	}
	m, err := s.Import(ctx, f, info.Size(), about)
	return m, s.Path(m.Digest), err
}
