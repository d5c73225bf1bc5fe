package queue

import "context"

// Drain holds the queue and returns when nothing is leased, or with ctx's error when that came first; the queue stays held.
func Drain(ctx context.Context, q Queue, also Also) error {
	if err := q.Hold(ctx, true, also); err != nil {
		return err
	}
	return Quiet(ctx, q)
}

// Quiet returns when nothing is leased, or with ctx's error when that came first.
func Quiet(ctx context.Context, w Worker) error {
	for {
		changed := w.Changed()
		if w.Stats().Leased == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
