package kv_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/kv"
)

func open(t testing.TB, dir string) (*db.DB, *kv.Store) {
	t.Helper()
	d, err := db.Open(context.Background(), filepath.Join(dir, "arw.db"), []db.Migration{{Owner: "kv", Steps: kv.Schema}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d, kv.Open(d)
}

func wantCode(t *testing.T, err error, code abi.Code, parts ...string) {
	t.Helper()
	if abi.CodeOf(err) != code {
		t.Fatalf("error %v has code %v, want %v", err, abi.CodeOf(err), code)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not mention %q", err, p)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestValuesSurviveAndAreReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, s := open(t, dir)
	p := s.Space("a/b", "")
	for _, val := range [][]byte{[]byte("one"), {}, nil, {0, 255, 0}, bytes.Repeat([]byte("x"), 100_000)} {
		must(t, p.Put(t.Context(), []byte("k"), val))
		got, err := p.Get(t.Context(), []byte("k"))
		if err != nil || !bytes.Equal(got, val) || got == nil {
			t.Errorf("put %d bytes, got %d (nil: %v), %v", len(val), len(got), got == nil, err)
		}
	}
	must(t, d.Close())
	_, s = open(t, dir)
	if got, err := s.Space("a/b", "").Get(t.Context(), []byte("k")); err != nil || len(got) != 100_000 {
		t.Errorf("after reopening: %d bytes, %v", len(got), err)
	}
}

func TestSpacesAreApart(t *testing.T) {
	t.Parallel()
	_, s := open(t, t.TempDir())
	must(t, s.Space("a/b", "").Put(t.Context(), []byte("k"), []byte("secret")))
	for _, other := range []string{"a/c", "a", "", "a/b ", "A/b"} {
		_, err := s.Space(other, "").Get(t.Context(), []byte("k"))
		wantCode(t, err, abi.NotFound, `"k"`)
		if keys, _, _ := s.Space(other, "").List(t.Context(), nil, nil, 0); len(keys) != 0 {
			t.Errorf("pack %q lists %v", other, keys)
		}
	}
	must(t, s.Space("a/c", "").Delete(t.Context(), []byte("k")))
	must(t, s.Drop(t.Context(), "a/c"))
	if _, err := s.Space("a/b", "").Get(t.Context(), []byte("k")); err != nil {
		t.Error(err)
	}
	must(t, s.Drop(t.Context(), "a/b"))
	_, err := s.Space("a/b", "").Get(t.Context(), []byte("k"))
	wantCode(t, err, abi.NotFound)
	if keys, size, err := s.Usage(t.Context(), "a/b"); keys != 0 || size != 0 || err != nil {
		t.Errorf("after Drop: %d keys, %d bytes, %v", keys, size, err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	_, s := open(t, t.TempDir())
	p := s.Space("a/b", "")
	huge := make([]byte, kv.MaxValue+1)
	cases := []struct {
		name string
		ops  []abi.KVOp
		code abi.Code
		says string
	}{
		{"empty key", []abi.KVOp{{Key: nil}}, abi.Invalid, "at least one byte"},
		{"key not text", []abi.KVOp{{Key: []byte{0xff}}}, abi.Invalid, "UTF-8"},
		{"long key", []abi.KVOp{{Key: bytes.Repeat([]byte("k"), kv.MaxKey+1)}}, abi.TooLarge, "1025"},
		{"large value", []abi.KVOp{{Key: []byte("k"), Val: huge}}, abi.TooLarge, "8388609"},
		{"large batch", slices.Repeat([]abi.KVOp{{Key: []byte("k"), Val: huge[1:]}}, 4), abi.TooLarge, "several smaller"},
		{"delete of a bad key", []abi.KVOp{{Delete: true, Key: nil}}, abi.Invalid, "delete"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := p.Batch(t.Context(), append([]abi.KVOp{{Key: []byte("good")}}, c.ops...))
			wantCode(t, err, c.code)
			if !strings.Contains(err.Error()+abi.HintOf(err), c.says) {
				t.Errorf("%v does not say %q", err, c.says)
			}
		})
	}
	if keys, _, _ := p.List(t.Context(), nil, nil, 0); len(keys) != 0 {
		t.Errorf("refused batches stored %v", keys)
	}
}

func TestTheSpaceIsBounded(t *testing.T) {
	t.Parallel()
	_, s := open(t, t.TempDir())
	s.Limit(1000)
	p := s.Space("a/b", "")
	must(t, p.Put(t.Context(), []byte("k"), make([]byte, 900)))
	err := p.Put(t.Context(), []byte("l"), make([]byte, 100))
	wantCode(t, err, abi.TooLarge, "1000", "965")
	must(t, p.Put(t.Context(), []byte("k"), make([]byte, 800)))
	must(t, p.Batch(t.Context(), []abi.KVOp{{Key: []byte("l"), Val: make([]byte, 500)}, {Delete: true, Key: []byte("k")}}))
	if keys, size, err := s.Usage(t.Context(), "a/b"); keys != 1 || size != 565 || err != nil {
		t.Errorf("usage %d keys, %d bytes, %v", keys, size, err)
	}
	s.Limit(10) // a smaller limit than what is there must not stop a pack from making room
	must(t, p.Put(t.Context(), []byte("l"), make([]byte, 5)))
	must(t, p.Delete(t.Context(), []byte("l")))
	must(t, s.Space("a/other", "").Delete(t.Context(), []byte("x")))
}

func TestListPages(t *testing.T) {
	t.Parallel()
	_, s := open(t, t.TempDir())
	p := s.Space("a/b", "")
	for _, k := range []string{"b", "a", "a/2", "a/1", "a0", "é", "z", "\U0010ffff"} {
		must(t, p.Put(t.Context(), []byte(k), []byte(k+k)))
	}
	cases := []struct {
		name, prefix, after string
		limit               int
		want                string
		more                bool
	}{
		{"all", "", "", 0, "a a/1 a/2 a0 b z é \U0010ffff", false},
		{"prefix", "a/", "", 0, "a/1 a/2", false},
		{"prefix of several bytes", "é", "", 0, "é", false},
		{"last prefix", "\U0010ffff", "", 0, "\U0010ffff", false},
		{"after", "", "a/1", 2, "a/2 a0", true},
		{"after within prefix", "a", "a/2", 0, "a0", false},
		{"after before prefix", "b", "a", 0, "b", false},
		{"exactly the limit", "a/", "", 2, "a/1 a/2", false},
		{"none", "q", "", 0, "", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			keys, more, err := p.List(t.Context(), []byte(c.prefix), []byte(c.after), c.limit)
			must(t, err)
			var got []string
			for _, k := range keys {
				got = append(got, string(k.Key))
				if k.Size != 2*len(k.Key) {
					t.Errorf("key %q has size %d", k.Key, k.Size)
				}
			}
			if strings.Join(got, " ") != c.want || more != c.more {
				t.Errorf("got %q, %v; want %q, %v", got, more, c.want, c.more)
			}
		})
	}
}

// TestAgainstAMap applies random batches to a space and to a map and compares contents and accounting.
func TestAgainstAMap(t *testing.T) {
	t.Parallel()
	_, s := open(t, t.TempDir())
	p := s.Space("a/b", "")
	model := map[string]string{}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var ops []abi.KVOp
		for range rnd.IntN(5) + 1 {
			op := abi.KVOp{Key: fmt.Append(nil, "k", rnd.IntN(20)), Delete: rnd.IntN(3) == 0}
			if !op.Delete {
				op.Val = bytes.Repeat([]byte{byte(rnd.Uint32())}, rnd.IntN(50))
			}
			ops = append(ops, op)
		}
		must(t, p.Batch(t.Context(), ops))
		for _, op := range ops {
			if delete(model, string(op.Key)); !op.Delete {
				model[string(op.Key)] = string(op.Val)
			}
		}
	}
	var want int64
	for k, v := range model {
		want += int64(len(k) + len(v) + kv.Overhead)
		if got, err := p.Get(t.Context(), []byte(k)); err != nil || string(got) != v {
			t.Errorf("key %q: %q, %v; want %q", k, got, err, v)
		}
	}
	if keys, size, err := s.Usage(t.Context(), "a/b"); keys != int64(len(model)) || size != want || err != nil {
		t.Errorf("usage %d keys, %d bytes, %v; want %d, %d", keys, size, err, len(model), want)
	}
}

func BenchmarkGet(b *testing.B) {
	_, s := open(b, b.TempDir())
	p := s.Space("a/b", "")
	if err := p.Put(b.Context(), []byte("k"), make([]byte, 100)); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := p.Get(b.Context(), []byte("k")); err != nil {
			b.Fatal(err)
		}
	}
}
