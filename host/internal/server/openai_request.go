package server

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"github.com/arw-project/arw/abi"
)

// fields of a request in OpenAI's dialect. What is taken is removed, so that what is left is what the host does not know.
type fields map[string]json.RawMessage

func readFields(body []byte) (fields, error) {
	var f fields
	if err := strictJSON(body, &f); err != nil {
		return nil, err
	}
	maps.DeleteFunc(f, func(_ string, v json.RawMessage) bool { return string(v) == "null" })
	return f, nil
}

// take reads a field into a pointer; an absent one changes nothing.
func (f fields) take(name string, into any) error {
	raw, ok := f[name]
	if !ok {
		return nil
	}
	delete(f, name)
	if err := json.Unmarshal(raw, into); err != nil {
		return badParam(name, "is not what this field holds: %v", err)
	}
	return nil
}

// neutral are values of fields that ask for what happens anyway.
var neutral = map[string][]string{
	"n": {"1"}, "best_of": {"1"}, "logprobs": {"false"}, "echo": {"false"}, "store": {"false"}, "tools": {"[]"}, "logit_bias": {"{}"},
	"modalities": {`["text"]`}, "service_tier": {`"auto"`, `"default"`}, "suffix": {`""`},
}

// rest refuses the fields that nothing took, by name: a client that asks for what does not happen is told so.
func (f fields) rest() error {
	for _, name := range slices.Sorted(maps.Keys(f)) {
		var text bytes.Buffer
		if json.Compact(&text, f[name]) == nil && slices.Contains(neutral[name], text.String()) {
			continue
		}
		return unsupportedParam(name, "is not supported here")
	}
	return nil
}

// param is the detail of an error that one field is at fault for.
type param struct {
	Name string `json:"param"`
}

func badParam(name, format string, args ...any) error {
	return abi.Errorf(abi.Invalid, "%q "+format, append([]any{name}, args...)...).WithDetail(param{name})
}

func unsupportedParam(name, format string, args ...any) error {
	return abi.Errorf(abi.Unsupported, "%q "+format, append([]any{name}, args...)...).WithDetail(param{name})
}

// asked is a request in the host's own words.
type asked struct {
	kind   string
	input  map[string]any
	model  string
	stream bool
	usage  bool // as the last chunk of a stream
	base64 bool // vectors
}

// same are the fields that both dialects have, with one meaning.
var same = []string{"temperature", "top_p", "top_k", "min_p", "seed", "frequency_penalty", "presence_penalty"}

// readGenerate reads what chats and completions have in common.
func (f fields) readGenerate() (*asked, error) {
	a := &asked{kind: "infer.generate", input: map[string]any{}}
	var options struct {
		Usage bool `json:"include_usage"`
	}
	var user string // says who asks; here the credential does
	var most, mostNew *int
	for name, into := range map[string]any{
		"model": &a.model, "stream": &a.stream, "stream_options": &options, "user": &user, "max_tokens": &most, "max_completion_tokens": &mostNew,
	} {
		if err := f.take(name, into); err != nil {
			return nil, err
		}
	}
	if a.usage = options.Usage; mostNew != nil {
		most = mostNew
	}
	if most != nil {
		if *most < 1 {
			return nil, badParam("max_tokens", "%d is less than 1", *most)
		}
		a.input["max_tokens"] = *most
	}
	a.input["model"] = a.model
	for _, name := range same {
		if raw, ok := f[name]; ok {
			a.input[name] = raw
			delete(f, name)
		}
	}
	stops, err := f.texts("stop")
	if err != nil {
		return nil, err
	}
	if stops != nil {
		a.input["stop"] = stops
	}
	return a, nil
}

// texts reads a field that is a text or a list of texts.
func (f fields) texts(name string) ([]string, error) {
	raw, ok := f[name]
	if !ok {
		return nil, nil
	}
	delete(f, name)
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}, nil
	}
	var many []string
	if err := json.Unmarshal(raw, &many); err != nil {
		return nil, unsupportedParam(name, "is neither a text nor a list of texts")
	}
	return many, nil
}

func readChat(body []byte) (*asked, error) {
	f, err := readFields(body)
	if err != nil {
		return nil, err
	}
	a, err := f.readGenerate()
	if err != nil {
		return nil, err
	}
	var messages []fields
	if err := f.take("messages", &messages); err != nil {
		return nil, err
	}
	turns := make([]map[string]string, len(messages))
	for i, m := range messages {
		if turns[i], err = m.turn(); err != nil {
			return nil, err
		}
	}
	if len(turns) == 0 {
		return nil, badParam("messages", "holds none")
	}
	a.input["messages"] = turns
	if err := f.form(a.input); err != nil {
		return nil, err
	}
	return a, f.rest()
}

// turn reads one message. Its text may come in parts.
func (f fields) turn() (map[string]string, error) {
	maps.DeleteFunc(f, func(_ string, v json.RawMessage) bool { return string(v) == "null" })
	var role string
	if err := f.take("role", &role); err != nil {
		return nil, err
	}
	if role == "developer" {
		role = "system"
	}
	raw := f["content"]
	delete(f, "content")
	for name := range f {
		return nil, unsupportedParam("messages."+name, "is not supported here")
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return map[string]string{"role": role, "content": text}, nil
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if err := json.Unmarshal(raw, &parts); err != nil {
		return nil, badParam("messages.content", "is neither a text nor a list of parts")
	}
	for _, p := range parts {
		if p.Type != "text" {
			return nil, unsupportedParam("messages.content", "has a part of type %.40q; only text is supported here", p.Type)
		}
		text += p.Text
	}
	return map[string]string{"role": role, "content": text}, nil
}

// form reads response_format.
func (f fields) form(input map[string]any) error {
	var format struct {
		Type   string `json:"type"`
		Schema struct {
			Schema json.RawMessage `json:"schema"`
		} `json:"json_schema"`
	}
	if err := f.take("response_format", &format); err != nil {
		return err
	}
	switch format.Type {
	case "", "text":
	case "json_object":
		input["schema"] = json.RawMessage(`{"type":"object"}`)
	case "json_schema":
		if len(format.Schema.Schema) == 0 {
			return badParam("response_format.json_schema.schema", "is missing")
		}
		input["schema"] = format.Schema.Schema
	default:
		return unsupportedParam("response_format.type", "%.40q is not supported here", format.Type)
	}
	return nil
}

func readCompletion(body []byte) (*asked, error) {
	f, err := readFields(body)
	if err != nil {
		return nil, err
	}
	a, err := f.readGenerate()
	if err != nil {
		return nil, err
	}
	prompts, err := f.texts("prompt")
	if err != nil {
		return nil, err
	}
	if len(prompts) != 1 {
		return nil, unsupportedParam("prompt", "holds %d texts; one is answered at a time here", len(prompts))
	}
	a.input["prompt"] = prompts[0]
	return a, f.rest()
}

func readEmbeddings(body []byte) (*asked, error) {
	f, err := readFields(body)
	if err != nil {
		return nil, err
	}
	a := &asked{kind: "infer.embed"}
	var user, encoding string
	for name, into := range map[string]any{"model": &a.model, "user": &user, "encoding_format": &encoding} {
		if err := f.take(name, into); err != nil {
			return nil, err
		}
	}
	if encoding != "" && encoding != "float" && encoding != "base64" {
		return nil, unsupportedParam("encoding_format", "%.40q is neither float nor base64", encoding)
	}
	texts, err := f.texts("input")
	if err != nil {
		return nil, err
	}
	a.base64 = encoding == "base64"
	a.input = map[string]any{"model": a.model, "texts": texts}
	return a, f.rest()
}
