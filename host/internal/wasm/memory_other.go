//go:build !linux || !(amd64 || arm64)

package wasm

func newImage(buf []byte, _ bool) *image { return heapImage(buf) }

func (i *image) release() { i.bytes = nil }

func newRoom(bool) room { return &heapRoom{} }
