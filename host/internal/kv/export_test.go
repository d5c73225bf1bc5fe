package kv

// Limit replaces the size limit of the spaces, so that a test need not write 512 MiB.
func (s *Store) Limit(n int64) { s.limit = n }
