package dnsguard

// Kept counts what a detector remembers.
func (d *Detector) Kept() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.asked) + len(d.shapes) + len(d.kin) + len(d.gone) + len(d.public) + len(d.told)
}
