package main

import (
	"cmp"
	"slices"
	"strings"

	"github.com/arw-project/arw/sdk/go/guest"
)

// maxLoose is how many batches may stand beside one another before the postings of every term are joined: a search reads
// as many values per term as there are batches that hold it.
const maxLoose = 24

// merge joins the postings of each term into one value and drops what is gone, when there are enough batches. It works
// term by term, each whole in one batch of writes, and goes on in the next call where this one ends. It reports whether
// nothing is left to do.
func (g *ingester) merge() (done bool, err error) {
	if g.meta.Loose <= maxLoose {
		return true, nil
	}
	prefix := g.prefix + "s/"
	var at struct {
		After string `json:"after"`
		Dead  []span `json:"dead"` // when the merge began: these are gone from all postings once it ends
		On    bool   `json:"on"`
	}
	_ = g.get("merge", &at)
	if !at.On {
		at.On, at.Dead = true, slices.Clone(g.meta.Dead)
	}
	for written := 0; written < maxCallBytes; {
		keys, more, err := g.kv.List(prefix, at.After, 1000)
		if err != nil {
			return false, err
		}
		if more { // the last term of the page may go on in the next one
			keys = wholeTerms(keys)
		}
		if err := g.mergePage(keys); err != nil {
			return false, err
		}
		if len(keys) > 0 {
			at.After = keys[len(keys)-1].Name
		}
		written += g.batch.Size()
		if !more {
			g.meta.Loose = 0
			g.meta.Dead = slices.DeleteFunc(g.meta.Dead, func(s span) bool { return slices.Contains(at.Dead, s) })
			g.batch.Delete(g.prefix + "merge")
			return true, g.flush()
		}
		if err := g.put(&g.batch, "merge", at); err != nil {
			return false, err
		}
		if err := g.flush(); err != nil {
			return false, err
		}
	}
	return false, nil
}

// termOf cuts the batch's number off a postings key.
func termOf(key string) string { return key[:strings.LastIndexByte(key, '/')] }

// wholeTerms leaves out the last term of a page, unless it is the only one.
func wholeTerms(keys []guest.Key) []guest.Key {
	last := termOf(keys[len(keys)-1].Name)
	i := len(keys)
	for i > 0 && termOf(keys[i-1].Name) == last {
		i--
	}
	if i == 0 {
		return keys
	}
	return keys[:i]
}

// mergePage joins the terms of one page.
func (g *ingester) mergePage(keys []guest.Key) error {
	for len(keys) > 0 {
		term := termOf(keys[0].Name)
		n := 1
		for n < len(keys) && termOf(keys[n].Name) == term {
			n++
		}
		if err := g.mergeTerm(keys[:n]); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

// mergeTerm joins one term's values under its newest key.
func (g *ingester) mergeTerm(keys []guest.Key) error {
	if len(keys) == 1 && len(g.meta.Dead) == 0 {
		return nil
	}
	var list []posting
	for _, k := range keys {
		raw, err := g.kv.Get(k.Name)
		if err != nil {
			return err
		}
		if list, err = g.readPostings(list, raw); err != nil {
			return err
		}
	}
	for _, k := range keys[:len(keys)-1] {
		g.batch.Delete(k.Name)
	}
	newest := keys[len(keys)-1].Name
	if len(list) == 0 {
		g.batch.Delete(newest)
		return nil
	}
	slices.SortFunc(list, func(a, b posting) int { return cmp.Compare(a.id, b.id) })
	g.batch.Put(newest, appendPostings(nil, list))
	return nil
}
