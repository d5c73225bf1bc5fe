package layout

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"io"
	"strings"

	"github.com/arw-project/arw/abi"
)

// algorithms are the digests the image specification registers, with the length of their hexadecimal form.
var algorithms = map[string]struct {
	new  func() hash.Hash
	size int
}{
	"sha256": {sha256.New, 2 * sha256.Size},
	"sha512": {sha512.New, 2 * sha512.Size},
}

// splitDigest checks a digest, which becomes a path, and gives its parts.
func splitDigest(digest string) (alg, sum string, err error) {
	alg, sum, _ = strings.Cut(digest, ":")
	a, ok := algorithms[alg]
	if !ok || len(sum) != a.size || strings.Trim(sum, "0123456789abcdef") != "" {
		return "", "", abi.Errorf(abi.Invalid, "read digest %q: not a digest this registry knows", digest).
			WithHint("write sha256: or sha512: and the sum in lower-case hexadecimal")
	}
	return alg, sum, nil
}

// blobPath is where the bytes of a digest lie in their repository.
func blobPath(digest string) (string, error) {
	alg, sum, err := splitDigest(digest)
	if err != nil {
		return "", err
	}
	return blobsDir + "/" + alg + "/" + sum, nil
}

// digestOf is the sha256 digest of some bytes.
func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// hashes reports whether data has the digest, whose form has been checked.
func hashes(data []byte, digest string) bool {
	alg, sum, err := splitDigest(digest)
	if err != nil {
		return false
	}
	h := algorithms[alg].new()
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil)) == sum
}

// hashAll reads everything and reports whether it has the digest.
func hashAll(src io.Reader, digest string) (bool, error) {
	alg, sum, err := splitDigest(digest)
	if err != nil {
		return false, err
	}
	h := algorithms[alg].new()
	if _, err := io.CopyBuffer(onlyWriter{h}, src, make([]byte, 256<<10)); err != nil {
		return false, err
	}
	return hex.EncodeToString(h.Sum(nil)) == sum, nil
}

// onlyWriter hides a writer's other methods, so that the copy uses our buffer.
type onlyWriter struct{ io.Writer }
