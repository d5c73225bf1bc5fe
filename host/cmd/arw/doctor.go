package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/api"
)

func (a *app) doctorCmd() *cobra.Command {
	var deep bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at everything a host needs, and say what to do about what is wrong",
		Long: `Look at the state directory and who may read it, room on the disk, the database and the chain of the journal, blobs, keys, the trust
policy and the policies, the clock, ports, models' runtimes and compilers. Nothing is changed; the host may be running or not.
The exit status is 1 when something is bad.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context(), deep) },
	}
	cmd.Flags().BoolVar(&deep, "deep", false, "also read every blob and compare it with its digest")
	return cmd
}

func (a *app) doctor(ctx context.Context, deep bool) error {
	dir, err := a.stateDir()
	if err != nil {
		return err
	}
	var found []api.Finding
	cfg, err := a.config()
	if err == nil {
		err = cfg.check()
	}
	if err != nil { // it says which line; the rest can be looked at with the defaults
		found = append(found, api.Finding{Check: "configuration", State: api.FindingBad, Message: err.Error(), Next: abi.HintOf(err)})
		cfg.Listen, cfg.MCP, cfg.Trust, cfg.Policy = defaultListen, "", "trust.toml", "policy"
	} else {
		found = append(found, api.Finding{Check: "configuration", State: api.FindingOK, Message: "arw.toml can be read, or is not there"})
	}
	doc := api.Checkup{OK: true, Running: a.answers(ctx)}
	listen := []string{cfg.Listen}
	if cfg.MCP != "" {
		listen = append(listen, cfg.MCP)
	}
	log, _ := (&telemetryConfig{}).logger(discard{}, 0)
	doc.Findings = append(found, host.Doctor(ctx, host.Checkup{
		Config: host.Config{StateDir: dir, TrustFile: within(dir, cfg.Trust), PolicyDir: within(dir, cfg.Policy), Log: log},
		Listen: listen, Running: doc.Running, Registry: cfg.Registry, Deep: deep,
	})...)
	for _, f := range doc.Findings {
		doc.OK = doc.OK && f.State != api.FindingBad
	}
	err = a.print(doc, func(u ui) error {
		for _, f := range doc.Findings {
			u.say("%-5s %-13s %s", f.State, f.Check, f.Message)
			if f.Next != "" {
				u.say("%-5s %-13s next: %s", "", "", f.Next)
			}
		}
		return nil
	})
	if err == nil && !doc.OK {
		return abi.Errorf(abi.Unavailable, "look at this host: something is bad").WithHint("do what stands behind next:, and look again")
	}
	return err
}

// discard writes nowhere.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// answers reports whether a host answers.
func (a *app) answers(ctx context.Context) bool {
	c, err := a.client()
	if err != nil {
		return false
	}
	ctx, stop := context.WithTimeout(ctx, 3*time.Second)
	defer stop()
	_, err = c.Health(ctx)
	return err == nil
}
