package rewrite

// CountIn makes every function count in a local (true) or in the global (false).
func (o Options) CountIn(local bool) Options {
	o.counter = counterGlobal
	if local {
		o.counter = counterLocal
	}
	return o
}
