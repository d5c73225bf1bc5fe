package registry

import "net"

// For the tests alone: the parsers, and the size from which a blob goes in pieces.

func ReadPack(raw []byte) (files int, err error) {
	o := Options{}.withDefaults()
	_, f, err := o.readPack(raw)
	return len(f), err
}

const ChunkSize = chunkSize

func Defaults() Options { return Options{}.withDefaults() }

// MaySend reports whether a registry at one address may send us to another.
func MaySend(from, to string) bool {
	g := &guard{host: "registry"}
	return g.judge("registry:443", net.JoinHostPort(from, "443")) == nil && g.judge("elsewhere:443", net.JoinHostPort(to, "443")) == nil
}
