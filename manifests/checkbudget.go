package manifests

// budget checks how much of a capability is asked for; 0 leaves a side to policy.
func (c *checker) budget(where at, raw rawBudget) Budget {
	b := Budget{Calls: raw.Calls, Bytes: int64(raw.Bytes), Tokens: raw.Tokens, Money: raw.Money}
	for _, side := range []struct {
		key string
		n   int64
	}{{"calls", b.Calls}, {"tokens", b.Tokens}, {"usd_micros", b.Money}} {
		if side.n < 0 || side.n > maxExact {
			c.bad(where.key(side.key), "", "expected 0 to %d, found %d", int64(maxExact), side.n)
		}
	}
	return b
}
