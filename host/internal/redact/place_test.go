package redact_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/redact"
)

const valued = "pa/ss wörd\"+&0123"

func withValue(t testing.TB, value string) *redact.Redactor {
	t.Helper()
	r := shipped(t)
	r.SetValues([]redact.Value{{Name: "db", Bytes: []byte(value)}})
	return r
}

func TestJSON(t *testing.T) {
	r := withValue(t, valued)
	r.SetValues([]redact.Value{{Name: "db", Bytes: []byte(valued)}, {Name: "pin", Bytes: []byte("8361920475")}})
	const token = "ghp_VvQe1sKhBN88hXJsi6BwhTp3Fs2QhX6KWxOi"
	for name, c := range map[string]struct{ in, want string }{
		"nothing":             {`{"b": [1, 2.5e3, null, true], "a" : "x"}`, `{"b": [1, 2.5e3, null, true], "a" : "x"}`},
		"a shape":             {`{"a":"at ` + token + `!","b":1}`, `{"a":"at ***!","b":1}`},
		"behind escapes":      {`{"a":"\u0067hp_VvQe1sKhBN88hXJsi6BwhTp3Fs2QhX6KWxOi"}`, `{"a":"***"}`},
		"escaped another way": {`["pa\/ss w\u00f6rd\u0022+\u0026012\u0033"]`, `["***"]`},
		"a name":              {`{"` + token + `":1,"x":{"` + token + `":2}}`, `{"***":1,"x":{"***2":2}}`},
		"by its name":         {`{"db_password":"7f3Kq9ZrT2mXw8Lc"}`, `{"db_password":"***"}`},
		"by its list's name":  {`{"token":["7f3Kq9ZrT2mXw8Lc",["a8c1f0e97b24d65382ffa01c3b"]],"n":"7f3Kq9ZrT2mXw8Lc"}`, `{"token":["***",["***"]],"n":"7f3Kq9ZrT2mXw8Lc"}`},
		"JSON in a text":      {`{"a":"{\"password\":\"7f3Kq9ZrT2mXw8Lc\"}"}`, `{"a":"{\"password\":\"***\"}"}`},
		"a name that is kept": {`{"key":"5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"}`, `{"key":"5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"}`},
		"a number":            {`{"a":8361920475,"b":836192047}`, `{"a":"***","b":836192047}`},
		"no JSON":             {`{"a":"` + token, `{"a":"***`},
		"a mask":              {`{"password":"***"}`, `{"password":"***"}`},
	} {
		clean, found := r.JSON([]byte(c.in), "key")
		if string(clean) != c.want || (len(found) > 0) != (c.in != c.want) {
			t.Errorf("%s: %s, %v", name, clean, found)
		}
		if again, more := r.JSON(clean, "key"); string(again) != string(clean) || more != nil {
			t.Errorf("%s: once more %s, %v", name, again, more)
		}
	}
}

// TestPlace: each door takes out, refuses or counts, and what was found is told by place, rule and outcome.
func TestPlace(t *testing.T) {
	r := withValue(t, valued)
	p := r.At("door")
	quoted, _ := json.Marshal(valued)
	if got := p.ExactJSON([]byte(`{"a":` + string(quoted) + `,"b":"ghp_VvQe1sKhBN88hXJsi6BwhTp3Fs2QhX6KWxOi"}`)); string(got) != `{"a":"`+strings.Repeat("*", len(valued))+`","b":"ghp_VvQe1sKhBN88hXJsi6BwhTp3Fs2QhX6KWxOi"}` {
		t.Errorf("data: %s", got)
	}
	text := []byte("a " + valued)
	if got := p.Exact(text); string(got) == string(text) || len(got) != len(text) || string(text) != "a "+valued {
		t.Errorf("bytes: %q of %q", got, text)
	}
	err := p.RefuseJSON("do it", []byte(`{"x":[{"a~/b":"`+hex.EncodeToString([]byte(valued))+`"}]}`))
	e, _ := err.(*abi.Error)
	if e == nil || e.Code != abi.Denied || !strings.Contains(e.Msg, `"/x/0/a~0~1b" holds the value of the secret "db"`) || !strings.Contains(e.Hint, `named secret "db"`) || strings.Contains(e.Msg, "0123") {
		t.Errorf("refused: %v", err)
	}
	if err := p.RefuseJSON("do it", []byte(`{"password":"7f3Kq9ZrT2mXw8Lc"}`)); err != nil {
		t.Errorf("what only looks like one: %v", err)
	}
	if err := p.Refuse("do it", []byte("nothing")); err != nil {
		t.Error(err)
	}
	want := []redact.Count{{"door", "entropy", redact.Kept, 1}, {"door", "vault:db", redact.Redacted, 2}, {"door", "vault:db", redact.Refused, 1}}
	got := r.Counts()
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("counted %v", got)
	}
	select {
	case <-r.Found():
	default:
		t.Error("nothing rang")
	}
	var none *redact.Redactor
	if n := none.At("x"); string(n.Exact(text)) != string(text) || n.Text("a") != "a" || n.Refuse("", text) != nil || n.RefuseJSON("", text) != nil || none.Counts() != nil {
		t.Error("a place without a redactor does something")
	}
}

// TestACutKeyIsTaken: of a key whose end is missing, what is there goes; text full of beginnings is read once.
func TestACutKeyIsTaken(t *testing.T) {
	r := shipped(t)
	const head = "-----BEGIN RSA PRIVATE KEY-----\n"
	if got := r.Clean("x " + head + "U8JZpDE0iGXlD6gNCFbaEPFjbD0kH8Oool8DklZDOCj2\nISaJiHkTj0rL then words"); got != "x *** then words" {
		t.Errorf("cut: %q", got)
	}
	if got := r.Clean(head + "words only"); got != head+"words only" {
		t.Errorf("no key: %q", got)
	}
	if got := r.Clean(strings.Repeat(head, 20_000)); len(got) != 20_000*len(head) {
		t.Errorf("beginnings alone: %d bytes are left", len(got))
	}
}

// FuzzStream: whatever the text, the value and the cuts, no spelling of the value comes out, lengths stay, and what comes in one
// piece comes out the same as what comes in many.
func FuzzStream(f *testing.F) {
	f.Add("see secret-value-1 and secret-secret-value-1", "secret-value-1", []byte{3, 1, 7})
	f.Add("aaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaa", []byte{1})
	f.Add(hex.EncodeToString([]byte("secret-value-1"))+base64.StdEncoding.EncodeToString([]byte("xsecret-value-1")), "secret-value-1", []byte{9, 2})
	f.Add("12345678123456789", "12345678", []byte{4})
	r := shipped(f) // once: compiling the rules costs more than all the rest
	f.Fuzz(func(t *testing.T, text, value string, cuts []byte) {
		r.SetValues([]redact.Value{{Name: "db", Bytes: []byte(value)}})
		s := r.At("x").Stream()
		var out []byte
		for rest, i := []byte(text), 0; len(rest) > 0; i++ {
			n := len(rest)
			if len(cuts) > 0 {
				n = min(n, 1+int(cuts[i%len(cuts)]))
			}
			out = append(out, s.Push(rest[:n])...)
			rest = rest[n:]
		}
		out = append(out, s.Rest()...)
		if len(out) != len(text) {
			t.Fatalf("%d bytes became %d", len(text), len(out))
		}
		if len(value) < redact.MinValue || strings.Trim(value, "*1") == "" {
			return
		}
		for _, form := range []string{value, hex.EncodeToString([]byte(value)), url.QueryEscape(value)} {
			if strings.ContainsAny(form, "*") || strings.Count(form, "1") > 0 && strings.Trim(form, "0123456789.eE+-") == "" {
				continue // what it is blacked out by could make it anew
			}
			if bytes.Contains(out, []byte(form)) {
				t.Fatalf("%q holds %q", out, form)
			}
		}
	})
}

// FuzzJSON: what was JSON stays JSON, holds no spelling of the value in any text, and is not changed again.
func FuzzJSON(f *testing.F) {
	f.Add(`{"password":"7f3Kq9ZrT2mXw8Lc","a":["secret-value-1",{"secret-value-1":12345678}]}`, "secret-value-1")
	f.Add(`{"a":"\u0073ecret-value-1","a":1}`, "secret-value-1")
	f.Add(`[12345678]`, "12345678")
	r := shipped(f)
	f.Fuzz(func(t *testing.T, body, value string) {
		r.SetValues([]redact.Value{{Name: "db", Bytes: []byte(value)}})
		clean, _ := r.JSON([]byte(body))
		if !json.Valid([]byte(body)) {
			return
		}
		if !json.Valid(clean) {
			t.Fatalf("%s became %s", body, clean)
		}
		if exact := r.At("x").ExactJSON([]byte(body)); !json.Valid(exact) {
			t.Fatalf("%s became %s", body, exact)
		}
		if len(value) >= redact.MinValue && !strings.Contains(value, "*") {
			var doc any
			_ = json.Unmarshal(clean, &doc)
			if i := holds(doc, value); i {
				t.Fatalf("%q is in %s, made of %s", value, clean, body)
			}
		}
		if again, _ := r.JSON(clean); !bytes.Equal(again, clean) {
			t.Fatalf("%s became %s, and then %s", body, clean, again)
		}
	})
}

func holds(v any, value string) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, value)
	case []any:
		for _, one := range v {
			if holds(one, value) {
				return true
			}
		}
	case map[string]any:
		for k, one := range v {
			if strings.Contains(k, value) || holds(one, value) {
				return true
			}
		}
	}
	return false
}

func BenchmarkPlace(b *testing.B) {
	r := withValue(b, valued)
	body := []byte(`{"id":"leases","version":7,"patch":[{"op":"replace","path":"/items/lea_01a219b5/state","value":"revoked"},{"op":"add","path":"/items/lea_01a219b6","value":{"pack":"arw/research","scope":["GET https://api.example.com/v1"],"ttl_ms":60000,"created":"2026-11-26T21:14:20.925Z"}}]}`)
	values := make([]redact.Value, 100)
	for i := range values {
		values[i] = redact.Value{Name: "v", Bytes: []byte(strings.Repeat(string(rune('a'+i%26)), 4) + strings.Repeat("x7", 14+i%3))}
	}
	for name, n := range map[string]int{"event_no_values": 0, "event_100_values": 100} {
		b.Run(name, func(b *testing.B) {
			r.SetValues(values[:n])
			b.SetBytes(int64(len(body)))
			p := r.At("event")
			for b.Loop() {
				p.JSON(body, "key")
			}
		})
	}
	b.Run("answer_100_values", func(b *testing.B) {
		r.SetValues(values)
		b.SetBytes(int64(len(body)))
		p := r.At("answer")
		for b.Loop() {
			p.Exact(body)
		}
	})
}
