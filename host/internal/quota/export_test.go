package quota

import (
	"context"
	"strconv"
)

// Fill makes counters that have used nothing.
func (b *Book) Fill(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range n {
		k := key{"p", "project " + strconv.Itoa(i)}
		b.counters[k] = &counter{key: k, at: b.clock.Mono()}
	}
}

// Sweep forgets windows that are over.
func (b *Book) Sweep(ctx context.Context) error { return b.sweep(ctx) }
