package db

// Queued is the number of writes waiting for the writer, so that tests can arrange groups without sleeping.
func (d *DB) Queued() int { return len(d.queue) }
