package lease

import (
	"time"

	"github.com/arw-project/arw/abi"
)

// HolderOf makes a holder of one unlimited lease without a database.
func HolderOf(c abi.Capability, only string) (*Holder, error) {
	b := &Book{
		base: time.Now(), wake: make(chan struct{}, 1),
		leases: map[string]*entry{}, holders: map[holderKey]*Holder{}, touched: map[*Holder]bool{},
	}
	var scope []string
	if only != "" {
		scope = []string{only}
	}
	e, err := b.newEntry("", Grant{Pack: "a/b", Digest: "sha256:" + zeros, Capability: c, Scope: scope, TTL: time.Hour, By: "test"})
	if err != nil {
		return nil, err
	}
	b.add(e)
	b.arrange()
	return b.Holder("a/b", "sha256:"+zeros), nil
}

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"
