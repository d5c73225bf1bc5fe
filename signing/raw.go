package signing

import "crypto"

// Signer is the key as the standard library has it, for signatures that are not Sigstore's: the metadata of an index.
func (k *Key) Signer() crypto.Signer { return k.private }
