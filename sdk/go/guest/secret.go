package guest

import (
	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest/codec"
)

// Secrets are values that the operator stored under names. The pack uses them and never sees one. Needs
// [capabilities.secret] and a lease for the name.
type Secrets struct{ c *Call }

// Secrets gives the named secrets.
func (c *Call) Secrets() Secrets { return Secrets{c} }

// MAC authenticates at most 1 MiB with a key of kind hmac: the 32 bytes of HMAC-SHA-256.
func (s Secrets) MAC(name string, data []byte) ([]byte, error) {
	return s.c.fetch(hostSecretMAC(s.c, name, data, s.c.scratch[:]))
}

// Sign signs at most 1 MiB with a key pair: Ed25519 as RFC 8032 has it, or ECDSA on P-256 over SHA-256 as ASN.1.
func (s Secrets) Sign(name string, data []byte) ([]byte, error) {
	return s.c.fetch(hostSecretSign(s.c, name, data, s.c.scratch[:]))
}

// Public gives the public half of a key pair, PKIX in DER.
func (s Secrets) Public(name string) ([]byte, error) {
	return s.c.fetch(hostSecretPublic(s.c, name, s.c.scratch[:]))
}

var (
	unpackJSON   = codec.For[abi.ArchiveUnpack]()
	unpackedJSON = codec.For[abi.ArchiveUnpacked]()
)

// Unpack unpacks an archive of a leased folder into a new folder of another, wholly or not at all; the host bounds it.
// Needs [capabilities.archive] and [capabilities.fs] with leases for both paths.
func (c *Call) Unpack(req abi.ArchiveUnpack) (abi.ArchiveUnpacked, error) {
	raw, err := unpackJSON.Append(nil, &req)
	if err != nil {
		return abi.ArchiveUnpacked{}, err
	}
	return fetchJSON(c, hostUnpack(c, raw, c.scratch[:]), unpackedJSON)
}
