// Package gguf keeps one promise: what the header of a GGUF file says is known before anything loads the file, and a file
// whose header does not add up is refused.
//
// GGUF (version 2 and 3, little endian) is the model format of llama.cpp: a header of typed keys, a table of tensors, then
// their data. It has no checksum, so weights that rotted look sound; only the digest of the whole file tells. Read reads
// the header alone, in memory bounded by MaxHeader, whatever the file claims. It keeps nothing and is safe for concurrent use.
package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strings"

	"github.com/arw-project/arw/abi"
)

// Bounds of what is read.
const (
	MaxHeader  = 256 << 20 // bytes of header: vocabularies of large models take some ten megabytes
	maxKeys    = 1 << 16
	maxTensors = 1 << 17
	maxString  = 16 << 20
	maxDims    = 4
	keepString = 64 << 10 // of one value that is kept
)

// Model is what a header says. Zero values were not said.
type Model struct {
	Version      uint32 `json:"version"`
	Architecture string `json:"architecture"`
	Name         string `json:"name,omitempty"`
	License      string `json:"license,omitempty"`
	Quantisation string `json:"quantisation,omitempty"` // "Q4_K_M", from general.file_type
	Context      uint64 `json:"context,omitempty"`      // tokens the model was trained for
	Width        uint64 `json:"width,omitempty"`        // of an embedding
	Layers       uint64 `json:"layers,omitempty"`
	Heads        uint64 `json:"heads,omitempty"`
	KVHeads      uint64 `json:"kv_heads,omitempty"`
	Vocabulary   uint64 `json:"vocabulary,omitempty"`
	Tensors      int    `json:"tensors"`
	Parameters   uint64 `json:"parameters"`
	Template     bool   `json:"chat_template"` // it brings one
	DataAt       int64  `json:"data_at"`       // where the tensors' data begins
	DataEnd      int64  `json:"data_end"`      // the least size of a whole file
}

// CacheBytes is the memory that a context of n tokens takes for keys and values of 16 bits each; 0 when the header does not
// say enough.
func (m *Model) CacheBytes(n uint64) uint64 {
	if m.Heads == 0 {
		return 0
	}
	heads := m.KVHeads
	if heads == 0 {
		heads = m.Heads
	}
	return satMul(satMul(satMul(2*2, n), m.Layers), m.Width/m.Heads*heads)
}

func satMul(a, b uint64) uint64 {
	if a != 0 && b > math.MaxUint64/a {
		return math.MaxUint64
	}
	return a * b
}

// Types of values.
const (
	typeString = 8
	typeArray  = 9
)

// sizes of the fixed types; 0 is none.
var sizes = [13]int{0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

// Read reads the header of a file of size bytes; a negative size is unknown, and then the data is not checked to be all
// there. Errors: Corrupt for a file that is no GGUF, is cut off or does not add up; Incompatible for another version; r's own.
func Read(r io.Reader, size int64) (*Model, error) {
	p := &parser{r: bufio.NewReaderSize(io.LimitReader(r, MaxHeader), 64<<10), align: 32, m: &Model{}}
	if err := p.header(); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, abi.Errorf(abi.Corrupt, "read GGUF header: the file ends at byte %d, inside its header", p.at)
		}
		return nil, err
	}
	if size >= 0 && p.m.DataEnd > size {
		return nil, abi.Errorf(abi.Corrupt, "read GGUF header: the file has %d bytes, its tensors need %d", size, p.m.DataEnd).
			WithHint("it was cut off; fetch it again")
	}
	return p.m, nil
}

type parser struct {
	r      *bufio.Reader
	at     int64
	align  uint64
	m      *Model
	counts map[string]uint64 // numbers by key
}

func wrong(format string, args ...any) error {
	return abi.Errorf(abi.Corrupt, "read GGUF header: "+format, args...)
}

func (p *parser) header() error {
	var head [24]byte
	if err := p.full(head[:]); err != nil {
		return err
	}
	if string(head[:4]) != "GGUF" {
		return wrong("the file begins with %q, not with \"GGUF\"", head[:4])
	}
	p.m.Version = binary.LittleEndian.Uint32(head[4:])
	if p.m.Version != 2 && p.m.Version != 3 {
		return abi.Errorf(abi.Incompatible, "read GGUF header: version %d is not 2 or 3", p.m.Version)
	}
	tensors, keys := binary.LittleEndian.Uint64(head[8:]), binary.LittleEndian.Uint64(head[16:])
	if tensors > maxTensors || keys > maxKeys {
		return wrong("%d tensors and %d keys, at most %d and %d", tensors, keys, maxTensors, maxKeys)
	}
	p.counts = map[string]uint64{}
	for range keys {
		if err := p.pair(); err != nil {
			return err
		}
	}
	p.take()
	return p.tensors(int(tensors))
}

func (p *parser) full(b []byte) error {
	n, err := io.ReadFull(p.r, b)
	p.at += int64(n)
	return err
}

func (p *parser) u32() (uint32, error) {
	var b [4]byte
	err := p.full(b[:])
	return binary.LittleEndian.Uint32(b[:]), err
}

func (p *parser) u64() (uint64, error) {
	var b [8]byte
	err := p.full(b[:])
	return binary.LittleEndian.Uint64(b[:]), err
}

// text reads a string; what is longer than keep is read over and not kept.
func (p *parser) text(keep int) (string, error) {
	n, err := p.u64()
	if err != nil {
		return "", err
	}
	if n > maxString {
		return "", wrong("a text of %d bytes at byte %d", n, p.at)
	}
	if int(n) > keep {
		return "", p.skip(n)
	}
	b := make([]byte, n)
	err = p.full(b)
	return string(b), err
}

func (p *parser) skip(n uint64) error {
	if n > MaxHeader {
		return wrong("a value of %d bytes at byte %d", n, p.at)
	}
	done, err := io.CopyN(io.Discard, p.r, int64(n))
	p.at += done
	return err
}

// pair reads one key and its value.
func (p *parser) pair() error {
	key, err := p.text(keepString)
	if err != nil {
		return err
	}
	kind, err := p.u32()
	if err != nil {
		return err
	}
	switch {
	case kind == typeString:
		s, err := p.text(keepString)
		if err != nil {
			return err
		}
		p.string(key, s)
		return nil
	case kind == typeArray:
		return p.array(key)
	case int(kind) < len(sizes) && sizes[kind] > 0:
		var b [8]byte
		if err := p.full(b[:sizes[kind]]); err != nil {
			return err
		}
		if kind != 6 && kind != 12 { // floats count nothing
			p.counts[key] = binary.LittleEndian.Uint64(b[:])
		}
		return nil
	}
	return wrong("key %.60q has a value of type %d", key, kind)
}

func (p *parser) array(key string) error {
	kind, err := p.u32()
	if err != nil {
		return err
	}
	n, err := p.u64()
	if err != nil {
		return err
	}
	if n > MaxHeader {
		return wrong("key %.60q has %d values", key, n)
	}
	p.counts[key+"#"] = n
	if kind == typeString {
		for range n {
			if _, err := p.text(0); err != nil {
				return err
			}
		}
		return nil
	}
	if int(kind) >= len(sizes) || sizes[kind] == 0 {
		return wrong("key %.60q has values of type %d", key, kind)
	}
	return p.skip(n * uint64(sizes[kind]))
}

func (p *parser) string(key, s string) {
	switch key {
	case "general.architecture":
		p.m.Architecture = s
	case "general.name":
		p.m.Name = s
	case "general.license":
		p.m.License = s
	case "tokenizer.chat_template":
		p.m.Template = true
	}
}

// take moves what was counted to where it belongs.
func (p *parser) take() {
	m, a := p.m, p.m.Architecture+"."
	m.Context, m.Width, m.Layers = p.counts[a+"context_length"], p.counts[a+"embedding_length"], p.counts[a+"block_count"]
	m.Heads, m.KVHeads = p.counts[a+"attention.head_count"], p.counts[a+"attention.head_count_kv"]
	m.Vocabulary = p.counts["tokenizer.ggml.tokens#"]
	if t, ok := p.counts["general.file_type"]; ok && t < uint64(len(fileTypes)) {
		m.Quantisation = fileTypes[t]
	}
	if a, ok := p.counts["general.alignment"]; ok {
		p.align = a
	}
}

// tensors reads the table: where the data ends is the largest end of a tensor whose type is known.
func (p *parser) tensors(n int) error {
	if p.m.Architecture == "" {
		return wrong("it has no general.architecture")
	}
	if p.align == 0 || p.align > 1<<20 || p.align&(p.align-1) != 0 {
		return wrong("general.alignment %d is no power of two", p.align)
	}
	var end uint64
	seen := make(map[string]bool, n)
	for range n {
		name, err := p.text(keepString)
		if err != nil {
			return err
		}
		if name == "" || seen[name] {
			return wrong("two tensors are named %.60q, or one has no name", name)
		}
		seen[name] = true
		last, err := p.tensor(name)
		if err != nil {
			return err
		}
		end = max(end, last)
	}
	at := (uint64(p.at) + p.align - 1) / p.align * p.align
	if end > math.MaxInt64-at {
		return wrong("its tensors end beyond any file")
	}
	p.m.Tensors, p.m.DataAt, p.m.DataEnd = n, int64(at), int64(at+end)
	return nil
}

func (p *parser) tensor(name string) (end uint64, err error) {
	dims, err := p.u32()
	if err != nil {
		return 0, err
	}
	if dims > maxDims {
		return 0, wrong("tensor %.60q has %d dimensions", name, dims)
	}
	elements := uint64(1)
	for range dims {
		d, err := p.u64()
		if err != nil {
			return 0, err
		}
		if elements = satMul(elements, d); elements > math.MaxInt64 {
			return 0, wrong("tensor %.60q is larger than any file", name)
		}
	}
	kind, err := p.u32()
	if err != nil {
		return 0, err
	}
	offset, err := p.u64()
	if err != nil {
		return 0, err
	}
	if offset%p.align != 0 {
		return 0, wrong("tensor %.60q begins at %d, not at a multiple of %d", name, offset, p.align)
	}
	p.m.Parameters += elements
	var bytes uint64
	if b, ok := blocks[kind]; ok {
		if elements%b.elements != 0 {
			return 0, wrong("tensor %.60q of %d elements is not made of blocks of %d", name, elements, b.elements)
		}
		bytes = satMul(elements/b.elements, b.bytes)
	}
	if bytes > math.MaxInt64 || offset > math.MaxInt64-bytes {
		return 0, wrong("tensor %.60q ends beyond any file", name)
	}
	return offset + bytes, nil
}

// block is how a tensor's type packs its elements.
type block struct{ elements, bytes uint64 }

// blocks by ggml type; a type that is not here is newer than this list and its size unknown.
var blocks = map[uint32]block{
	0: {1, 4}, 1: {1, 2}, 2: {32, 18}, 3: {32, 20}, 6: {32, 22}, 7: {32, 24}, 8: {32, 34}, 9: {32, 36}, 10: {256, 84}, 11: {256, 110},
	12: {256, 144}, 13: {256, 176}, 14: {256, 210}, 15: {256, 292}, 24: {1, 1}, 25: {1, 2}, 26: {1, 4}, 27: {1, 8}, 28: {1, 8}, 30: {1, 2},
}

// fileTypes are llama.cpp's names of general.file_type.
var fileTypes = strings.Fields("F32 F16 Q4_0 Q4_1 ? ? ? Q8_0 Q5_0 Q5_1 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ2_XXS IQ2_XS Q2_K_S IQ3_XS IQ3_XXS IQ1_S IQ4_NL IQ3_S IQ3_M IQ2_S IQ2_M IQ4_XS IQ1_M BF16")
