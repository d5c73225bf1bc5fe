// Command research is the pack arw/research: it reads the folders it is lent, keeps their passages with where they stand,
// finds the ones that answer a question, and asks a model to answer from them.
//
// Everything it keeps lies in its key space, below the project's prefix "p/<project>/":
//
//	meta              counters, the ids of passages that are gone, and the folders (JSON)
//	run/<dir>         how far an unfinished ingest of a folder got (JSON)
//	f/<path>          a file: size, time, SHA-256, and the ids of its passages (JSON)
//	d/<id>            a passage (see appendPassage); id is 8 hex digits
//	s/<term>/<chunk>  postings of a term that one batch added (see appendPosting); chunk is 8 hex digits
//
// Each batch of writes leaves a consistent index: a call that is cut off anywhere loses at most what it had not written,
// and the next call goes on from there.
package main

import "github.com/arw-project/arw/sdk/go/guest"

func main() {
	guest.Tool("research.ingest", ingest)
	guest.Tool("research.search", search)
	guest.Tool("research.answer", answer)
	guest.Tool("research.corpora", corpora)
	guest.Tool("research.forget", forget)
	guest.Prepare[recipe]()
}
