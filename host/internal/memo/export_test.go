package memo

import "context"

// Bound runs what Run does once a minute.
func (m *Memo) Bound(ctx context.Context) { m.bound(ctx) }

// Waiting is how many calls wait for equal ones.
func (m *Memo) Waiting() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, f := range m.flights {
		n += f.wait
	}
	return n
}
