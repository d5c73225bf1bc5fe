package redact_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/redact"
)

func shipped(t testing.TB) *redact.Redactor {
	t.Helper()
	r, err := redact.New(redact.Shipped(), true)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func lines(t testing.TB, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSuffix(line, "\n"); line != "" && line[0] != '#' {
			out = append(out, line)
		}
	}
	return out
}

// TestFound holds every shipped rule to an example: the secret is gone, what stood around it remains, and the rule is named.
func TestFound(t *testing.T) {
	r, covered := shipped(t), map[string]bool{"entropy": false}
	for _, rule := range redact.Shipped() {
		covered[rule.ID] = false
	}
	for _, line := range lines(t, "testdata/found.txt") {
		part := strings.Split(strings.ReplaceAll(line, `\n`, "\n"), "\t")
		rule, text, secret := part[0], part[1], part[2]
		clean, found := r.String(text)
		if want := strings.ReplaceAll(text, secret, redact.Mask); clean != want {
			t.Errorf("%s: %q became %q, want %q", rule, text, clean, want)
		}
		if n := redact.Summary(found); n[rule] == 0 {
			t.Errorf("%s: %q was found as %v", rule, text, n)
		}
		if again, more := r.String(clean); more != nil || again != clean {
			t.Errorf("%s: redacting %q again made %q", rule, clean, again)
		}
		covered[rule] = true
	}
	for rule, ok := range covered {
		if !ok {
			t.Errorf("rule %q has no example in testdata/found.txt", rule)
		}
	}
}

func TestKept(t *testing.T) {
	r := shipped(t)
	for _, line := range lines(t, "testdata/kept.txt") {
		if clean, found := r.String(line); clean != line {
			t.Errorf("%q became %q by %s", line, clean, redact.Describe(found))
		}
	}
}

// TestValues finds what the vault holds in the forms in which a reply, a log or a URL carries it.
func TestValues(t *testing.T) {
	secret := []byte("pa/ss wörd\"+&0123")
	r, err := redact.New(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	r.SetValues([]redact.Value{{Name: "db", Bytes: secret}, {Name: "short", Bytes: []byte("abc")}, {Name: "longer", Bytes: append([]byte("x"), secret...)}})
	forms := map[string]string{
		"plain": string(secret), "json": `pa/ss wörd\"+\u00260123`, "query": "pa%2Fss+w%C3%B6rd%22%2B%260123", "path": "pa%2Fss%20w%C3%B6rd%22+&0123",
		"hex": hex.EncodeToString(secret), "HEX": strings.ToUpper(hex.EncodeToString(secret)),
	}
	for name, form := range forms {
		if got := r.Clean("a " + form + " b"); got != "a *** b" {
			t.Errorf("%s: %q", name, got)
		}
	}
	for shift := range 4 {
		for name, enc := range map[string]*base64.Encoding{"std": base64.StdEncoding, "url": base64.URLEncoding} {
			whole := strings.Repeat("y", shift) + string(secret) + strings.Repeat("z", 5)
			got := r.Clean(enc.EncodeToString([]byte(whole)))
			if back, err := enc.DecodeString(got); err == nil && bytes.Contains(back, secret) || !strings.Contains(got, redact.Mask) {
				t.Errorf("base64 %s at %d: %q", name, shift, got)
			}
		}
	}
	if got, found := r.String("ax" + string(secret)); got != "a***" || found[0].Rule != "vault:longer" {
		t.Errorf("the longer value: %q by %v", got, found)
	}
	if got := r.Clean("abc"); got != "abc" {
		t.Errorf("a value of three letters was taken: %q", got)
	}
	r.SetValues(nil)
	if got := r.Clean(string(secret)); got != string(secret) {
		t.Errorf("a value that was taken back is still found: %q", got)
	}
}

func TestRules(t *testing.T) {
	for name, c := range map[string]struct {
		rules []redact.Rule
		want  string
	}{
		"no id":      {[]redact.Rule{{Kind: "token", Pattern: "a"}}, "an id has"},
		"kind":       {[]redact.Rule{{ID: "a", Kind: "word", Pattern: "a"}}, "not token, key, pattern or pem"},
		"expression": {[]redact.Rule{{ID: "a", Kind: "token", Pattern: "("}}, "missing closing )"},
		"nothing":    {[]redact.Rule{{ID: "a", Kind: "token", Pattern: "x*"}}, "match everywhere"},
		"itself":     {[]redact.Rule{{ID: "a", Kind: "token", Pattern: "[*]+"}}, "its own replacement"},
		"twice":      {[]redact.Rule{{ID: "a", Kind: "token", Pattern: "x"}, {ID: "a", Kind: "token", Pattern: "y"}}, "two of that id"},
		"long":       {[]redact.Rule{{ID: "a", Kind: "token", Pattern: strings.Repeat("x", 4000)}}, "bytes"},
		"word":       {[]redact.Rule{{ID: "a", Kind: "token", Pattern: "x", Words: []string{""}}}, "a word is empty"},
	} {
		_, err := redact.New(c.rules, false)
		var e *abi.Error
		if !errors.As(err, &e) || e.Code != abi.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r, err := redact.New([]redact.Rule{
		{ID: "ticket", Kind: "pattern", Pattern: `ticket-(?P<secret>\d+)`, Replacement: "<ticket>"},
		{ID: "off", Kind: "pattern", Pattern: "stay", Disabled: true},
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Clean("stay ticket-12 and ticket-7"); got != "stay ticket-<ticket> and ticket-<ticket>" {
		t.Errorf("got %q", got)
	}
}

// TestHandler passes secrets through every door of slog.
func TestHandler(t *testing.T) {
	var out bytes.Buffer
	r := shipped(t)
	r.SetValues([]redact.Value{{Name: "v", Bytes: []byte("0123456789abcdef")}})
	log := slog.New(redact.Handler(r, slog.NewJSONHandler(&out, nil)))
	const token = "ghp_abcdefghijklmnopqrstuvwxyzABCDEFGHIJ"
	log.With("a", token).WithGroup("g").Info("sent "+token, "err", errors.New("no "+token), "n", 7,
		slog.Group("in", "v", "0123456789abcdef"), "password", "7f3Kq9ZrT2mXw8Lc", "any", map[string]string{"k": token}, "list", []int{1, 2})
	got := out.String()
	for _, secret := range []string{token, "0123456789abcdef", "7f3Kq9ZrT2mXw8Lc"} {
		if strings.Contains(got, secret) {
			t.Errorf("the log holds %q: %s", secret, got)
		}
	}
	for _, kept := range []string{`"msg":"sent ***"`, `"n":7`, `"err":"no ***"`, `"list":[1,2]`, `"password":"***"`} {
		if !strings.Contains(got, kept) {
			t.Errorf("the log lacks %s: %s", kept, got)
		}
	}
}

func TestDescribe(t *testing.T) {
	r := shipped(t)
	_, found := r.String("Bearer abcdefghijklmnop1234 and bearer abcdefghijklmnop1235, https://a:b1@c/")
	if got := redact.Describe(found); got != "2 bearer, 1 url_password" {
		t.Errorf("got %q", got)
	}
}

// FuzzRedact: whatever the text, redacting is idempotent, findings lie in order within it, and exact values are gone.
func FuzzRedact(f *testing.F) {
	for _, file := range []string{"testdata/found.txt", "testdata/kept.txt"} {
		for _, line := range lines(f, file) {
			f.Add(line, "secret-value-1")
		}
	}
	f.Add("secret=secret-value-1secret-value-1 Bearer secret-value-1", "secret-value-1")
	r := shipped(f)
	f.Fuzz(func(t *testing.T, text, value string) {
		r.SetValues([]redact.Value{{Name: "v", Bytes: []byte(value)}})
		clean, found := r.String(text)
		at := 0
		for _, one := range found {
			if one.At < at || one.Len <= 0 || one.At+one.Len > len(text) {
				t.Fatalf("finding %+v in %q", one, text)
			}
			at = one.At + one.Len
		}
		if len(value) >= redact.MinValue && !strings.Contains(value, "*") && strings.Contains(clean, value) {
			t.Fatalf("%q is left of %q", value, text)
		}
	})
}

func BenchmarkRedact(b *testing.B) {
	r := shipped(b)
	r.SetValues([]redact.Value{{Name: "v", Bytes: []byte("0123456789abcdef")}})
	const line = `pack loaded pack=arw/research digest=sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef`
	b.Run("line_of_log", func(b *testing.B) {
		for b.Loop() {
			r.Clean(line)
		}
	})
	for name, text := range map[string]string{"1MB_of_log": line, "1MB_of_traps": strings.Join(lines(b, "testdata/kept.txt"), "\n")} {
		whole := []byte(strings.Repeat(text+"\n", 1+(1<<20)/len(text)))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(whole)))
			for b.Loop() {
				r.Bytes(whole)
			}
		})
	}
}

// TestReader: a value is blacked out wherever the pieces of a stream are cut, lengths stay, and nothing else waits.
func TestReader(t *testing.T) {
	r, err := redact.New(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	const secret = "abcabcabd-0123456789"
	if got, _ := io.ReadAll(r.Reader(strings.NewReader(secret))); string(got) != secret {
		t.Errorf("without values: %q", got)
	}
	r.SetValues([]redact.Value{{Name: "v", Bytes: []byte(secret)}})
	text := "abcabc" + secret + " and " + hex.EncodeToString([]byte(secret)) + " abcabcab"
	want := "abcabc" + strings.Repeat("*", 20) + " and " + strings.Repeat("*", 40) + " abcabcab"
	for size := 1; size <= len(text); size++ {
		got, err := io.ReadAll(r.Reader(&pieces{text: text, size: size}))
		if err != nil || string(got) != want {
			t.Errorf("in pieces of %d: %q, %v", size, got, err)
		}
	}
	if got := string(r.Exact([]byte(text))); got != want {
		t.Errorf("at once: %q", got)
	}
	// What cannot become a value does not wait for more.
	live := r.Reader(&pieces{text: "data: hello\n", size: 12, stay: true})
	buf := make([]byte, 64)
	if n, err := live.Read(buf); string(buf[:n]) != "data: hello\n" || err != nil {
		t.Errorf("a live stream gave %q, %v", buf[:n], err)
	}
	broken := errors.New("broken")
	got, err := io.ReadAll(r.Reader(io.MultiReader(strings.NewReader("x"+secret[:5]), iotest.ErrReader(broken))))
	if string(got) != "x"+secret[:5] || !errors.Is(err, broken) {
		t.Errorf("a broken stream gave %q, %v", got, err)
	}
}

// pieces is a stream that comes in pieces of a size; with stay it never ends.
type pieces struct {
	text string
	size int
	stay bool
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.text == "" {
		if p.stay {
			panic("it asked for more than it needs")
		}
		return 0, io.EOF
	}
	n := copy(b, p.text[:min(p.size, len(p.text))])
	p.text = p.text[n:]
	return n, nil
}
