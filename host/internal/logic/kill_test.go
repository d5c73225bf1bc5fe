package logic

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/view"
)

const victimDir = "ARW_TEST_LOGIC_VICTIM"

// TestMain is also the victim of TestKilledWhileChanging: a process that applies and reverts without end, and tells each
// version once it is made.
func TestMain(m *testing.M) {
	dir := os.Getenv(victimDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := changeForEver(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func changeForEver(dir string) error {
	ctx := context.Background()
	d, err := db.Open(ctx, filepath.Join(dir, "arw.db"), []db.Migration{{Owner: "journal", Steps: journal.Schema}, {Owner: "view", Steps: view.Schema}, {Owner: "logic", Steps: Schema}})
	if err != nil {
		return err
	}
	j, err := journal.Open(ctx, d)
	if err != nil {
		return err
	}
	s, err := Open(ctx, d, j, view.Open(d, j), Parts{})
	if err != nil {
		return err
	}
	for i := range 4 {
		src := text(fmt.Sprintf("u%d", i), 50, "", merge("context/assembly", fmt.Sprintf(`{"slots":{"n%d":%d}}`, i, i))+merge("policies/budget", fmt.Sprintf(`{"%s":%d}`, []string{"tokens_soft", "tokens_hard", "ms_soft", "ms_hard"}[i], i)))
		if _, err := s.Install(ctx, []byte(src), Installed, "test", "victim", ""); err != nil {
			return err
		}
	}
	for i := 0; ; i++ {
		id := fmt.Sprintf("u%d", i%4)
		change := func() (Plan, error) { return s.Apply(ctx, Workspace, []Use{{Unit: id}}, how) }
		if s.active(id, Workspace) != nil {
			change = func() (Plan, error) { return s.Revert(ctx, id, Workspace, how) }
		}
		p, err := change()
		if err != nil {
			return err
		}
		fmt.Println(p.Version)
	}
}

// Killed at any moment, the configuration is what it was before a change or what it is after it: every version that was
// told is there, and what is there is whole.
func TestKilledWhileChanging(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for life := range 4 {
		told := killAfterVersions(t, dir, 5+7*life)
		s := open(t, dir, nil)
		if s.Version() < told || s.Version() > told+1 {
			t.Fatalf("version %d is there, %d was told", s.Version(), told)
		}
		list, err := s.Snapshots(t.Context(), 1)
		if err != nil || list[0].Version != s.Version() || list[0].Digest != digestOf(s.layers) {
			t.Fatalf("the newest version is %+v, %v; its layers have digest %s", list, err, digestOf(s.layers))
		}
		active := 0
		for _, l := range s.layers {
			if l.unit != "" {
				active++
			}
		}
		budget, slots := body(t, s, "policies/budget"), body(t, s, "context/assembly")
		if got := strings.Count(slots, `"n`); got != active || !strings.Contains(budget, "tokens_hard") {
			t.Fatalf("%d units are active, but %s", active, slots)
		}
		if err := s.db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func killAfterVersions(t *testing.T, dir string, n int) (told int64) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for i := 0; lines.Scan(); i++ {
		if i == n {
			_ = cmd.Process.Kill() // what it has written until then is still read
		}
		if told, err = strconv.ParseInt(lines.Text(), 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	_ = cmd.Wait()
	return told
}
