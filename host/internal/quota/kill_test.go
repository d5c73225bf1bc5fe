package quota_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/quota"
)

const (
	victimDir   = "ARW_TEST_QUOTA_VICTIM"
	victimCalls = 1600
)

func victimRules() *quota.Rules {
	r, err := quota.Parse("quotas.toml", fmt.Appendf(nil, "schema = 1\n[[quota]]\nid = \"k\"\non = \"call\"\nper = \"host\"\nwindow = \"24h\"\ncalls = %d\nreason = \"r\"\n", victimCalls))
	if err != nil {
		panic(err)
	}
	return r
}

// openReal is a book with the clock of this machine.
func openReal(dir string) (*quota.Book, *db.DB, error) {
	ctx := context.Background()
	d, err := db.Open(ctx, filepath.Join(dir, "arw.db"), []db.Migration{{Owner: "journal", Steps: journal.Schema}, {Owner: "quota", Steps: quota.Schema}})
	if err != nil {
		return nil, nil, err
	}
	j, err := journal.Open(ctx, d)
	if err != nil {
		return nil, nil, err
	}
	b, err := quota.Open(ctx, quota.Parts{DB: d, Journal: j, Rules: victimRules()})
	return b, d, err
}

// TestMain is also the victim of TestKill: a process that uses up a quota and says so after each use.
func TestMain(m *testing.M) {
	dir := os.Getenv(victimDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	b, _, err := openReal(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		if err := b.Take(context.Background(), quota.Call, &ann, calls(1)); err != nil {
			fmt.Println("end", abi.CodeOf(err))
			select {} // until killed
		}
		fmt.Println("used")
	}
}

// However often the host is killed in the middle of its work, no use is forgotten: all lives together never use more than the
// quota allows, and each kill costs at most what was reserved ahead.
func TestKill(t *testing.T) {
	// Not parallel: between fork and exec a child holds the lock files of other tests' databases.
	dir := t.TempDir()
	told := int64(0)
	for life := range 3 {
		told += killAfter(t, dir, 90+150*life)
		b, d, err := openReal(dir)
		if err != nil {
			t.Fatal(err)
		}
		used := b.List()[0].Used.Calls
		if most := told + int64(life+1)*(victimCalls/16+1); used < told || used > most {
			t.Fatalf("life %d: the book says %d, told were %d, at most %d", life, used, told, most)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if told += killAfter(t, dir, victimCalls); told > victimCalls {
		t.Errorf("%d uses of a quota of %d", told, victimCalls)
	}
}

// killAfter starts the victim, kills it once it told so many uses or its quota ended, and counts what it told.
func killAfter(t *testing.T, dir string, uses int) (told int64) {
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
	for lines.Scan() {
		word := lines.Text()
		if word == "used" {
			told++
		} else if word != "end "+abi.BudgetExhausted.String() {
			t.Errorf("the victim says %q", word)
		}
		if told == int64(uses) || strings.HasPrefix(word, "end") {
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	for lines.Scan() { // what was on its way when it died
		if lines.Text() == "used" {
			told++
		}
	}
	_ = cmd.Wait() // it was killed
	return told
}
