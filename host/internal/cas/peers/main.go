// Command peers asks whether blobs of JSON should lie compressed: it takes a folder of them, trains a zstd dictionary on every
// second one, and compares the others as they are, in zstd, and in zstd with the dictionary: bytes, blocks of a file system,
// and time beside a read with its check. It prints a table for docs/benchmarks.in.md. A module of its own, so that the
// host need not know the library.
package main

import (
	"crypto/sha256"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/dict"
	"github.com/klauspost/compress/zstd"
)

// block is what the usual file systems give a file at least.
const block = 4096

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: peers FOLDER")
	}
	names, err := filepath.Glob(filepath.Join(os.Args[1], "*"))
	check(err)
	var train, test [][]byte
	var files []string
	for i, name := range names {
		data, err := os.ReadFile(name)
		check(err)
		if i%2 == 0 {
			train = append(train, data)
			continue
		}
		test, files = append(test, data), append(files, name)
	}
	trained, err := dict.BuildZstdDict(train, dict.Options{MaxDictSize: 32 << 10, HashBytes: 6, ZstdLevel: zstd.SpeedDefault})
	check(err)
	fmt.Printf("%d blobs train a dictionary of %d bytes, %d others are measured.\n\n", len(train), len(trained), len(test))
	fmt.Println("| blobs | kept as | bytes | 4 KiB blocks | write, beside plain | read, beside plain |")
	fmt.Println("|---|---|---|---|---|---|")
	for _, limit := range []struct {
		name     string
		from, to int
	}{{"below 4 KiB", 0, block}, {"4 KiB and more", block, 1 << 30}} {
		var some [][]byte
		var where []string
		for i, data := range test {
			if len(data) >= limit.from && len(data) < limit.to {
				some, where = append(some, data), append(where, files[i])
			}
		}
		table(limit.name, some, where, trained)
	}
}

func table(what string, blobs [][]byte, files []string, trained []byte) {
	plainIn, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	check(err)
	plainOut, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	check(err)
	dictIn, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderDict(trained))
	check(err)
	dictOut, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderDicts(trained))
	check(err)
	read, hash := perBlob(len(blobs), func(i int) { data, err := os.ReadFile(files[i]); check(err); sha256.Sum256(data) }),
		perBlob(len(blobs), func(i int) { sha256.Sum256(blobs[i]) })
	row(what, "it is", blobs, 0, 0)
	for _, way := range []struct {
		name string
		in   *zstd.Encoder
		out  *zstd.Decoder
	}{{"zstd", plainIn, plainOut}, {"zstd, dictionary", dictIn, dictOut}} {
		packed := make([][]byte, len(blobs))
		write := perBlob(len(blobs), func(i int) { packed[i] = way.in.EncodeAll(blobs[i], nil) })
		unpack := perBlob(len(blobs), func(i int) { _, err := way.out.DecodeAll(packed[i], nil); check(err) })
		row(what, way.name, packed, float64(write+hash)/float64(hash), float64(read+unpack)/float64(read))
	}
}

func row(what, name string, blobs [][]byte, write, read float64) {
	bytes, blocks := 0, 0
	for _, b := range blobs {
		bytes += len(b)
		blocks += (len(b) + block - 1) / block
	}
	if write == 0 {
		fmt.Printf("| %d %s | as %s | %d | %d | 1 | 1 |\n", len(blobs), what, name, bytes, blocks)
		return
	}
	fmt.Printf("| | %s | %d | %d | %.1f× its hash | %.2f× |\n", name, bytes, blocks, write, read)
}

// perBlob is the time of one, of the best of five rounds.
func perBlob(n int, do func(i int)) time.Duration {
	best := time.Duration(1 << 62)
	for range 5 {
		start := time.Now()
		for i := range n {
			do(i)
		}
		best = min(best, time.Since(start))
	}
	return best / time.Duration(max(n, 1))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
