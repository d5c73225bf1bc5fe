package journal

// Kept is how many records, and bytes of their bodies, are held in memory for followers.
func (j *Journal) Kept() (n, bytes int) {
	j.pub.mu.RLock()
	defer j.pub.mu.RUnlock()
	for _, r := range j.pub.recent {
		if r != nil {
			n++
			bytes += len(r.Body)
		}
	}
	return n, bytes
}

// RepeatedName gives the fuzz test the parser of bodies.
func RepeatedName(b []byte) bool {
	_, twice := repeatedName(b)
	return twice
}

// Rewrite gives the fuzz test the rewriter of bodies, with the number of places that were hit.
func Rewrite(body []byte, secret string) ([]byte, int) {
	out, hits := rewrite(body, finder(secret))
	return out, len(hits)
}
