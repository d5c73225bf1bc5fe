package lease_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
)

const (
	victimDir   = "ARW_TEST_LEASE_VICTIM"
	victimCalls = 4000
)

// TestMain is also the victim of TestKill: a process that uses up a budget and says so after each use.
func TestMain(m *testing.M) {
	dir := os.Getenv(victimDir)
	if dir == "" {
		os.Exit(m.Run())
	}
	h, err := tryOpen(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() { _ = h.Run(context.Background()) }()
	for {
		if _, err := h.holder().Use(context.Background(), abi.KV, "", 10); err != nil {
			fmt.Println("end", abi.CodeOf(err))
			select {} // until killed
		}
		fmt.Println("used")
	}
}

// However often the host is killed in the middle of its work, no use is forgotten: all lives together never use more than
// the budget, and each kill costs at most what was reserved ahead.
func TestKill(t *testing.T) {
	// Not parallel: between fork and exec a child holds the lock files of other tests' databases.
	dir := t.TempDir()
	h := open(t, dir)
	l := h.grant(t, withBudget(grantOf(abi.KV), victimCalls, 0))
	if err := h.db.Close(); err != nil { // not orderly, but nothing was used yet
		t.Fatal(err)
	}
	told := int64(0)
	for life := range 3 {
		told += killAfter(t, dir, 150+400*life)
		h := open(t, dir)
		now, err := h.Get(l.ID)
		if err != nil {
			t.Fatal(err)
		}
		// Of the last use of each life nobody may have told.
		if most := told + int64(life+1)*(victimCalls/8+1); now.Used.Calls < told || now.Used.Calls > most {
			t.Fatalf("life %d: the book says %d, told were %d, at most %d", life, now.Used.Calls, told, most)
		}
		if err := h.db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	told += killAfter(t, dir, victimCalls)
	if told > victimCalls {
		t.Errorf("%d uses of a budget of %d", told, victimCalls)
	}
	h = open(t, dir)
	stop := h.run(t)
	until(t, "the end is journaled", func() bool { return h.kinds(t, l.ID) == "granted exhausted" })
	if err := stop(); err != nil {
		t.Error(err)
	}
	if now, _ := h.Get(l.ID); now.State != lease.Exhausted {
		t.Errorf("lease: %+v", now)
	}
}

// killAfter starts the victim, kills it once it told so many uses or its budget ended, and counts what it told.
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
		switch word := lines.Text(); {
		case word == "used":
			told++
		case word != "end "+abi.BudgetExhausted.String():
			t.Errorf("the victim says %q", word)
		}
		if told == int64(uses) || strings.HasPrefix(lines.Text(), "end") {
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
