package registry

// For the tests alone: the parsers, and the size from which a blob goes in pieces.

func ReadPack(raw []byte) (files int, err error) {
	o := Options{}.withDefaults()
	_, f, err := o.readPack(raw)
	return len(f), err
}

func CompareVersions(a, b string) int { return compareVersions(a, b) }

const ChunkSize = chunkSize

func Defaults() Options { return Options{}.withDefaults() }
